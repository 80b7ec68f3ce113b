"""Which samples of a test go together, so that intervals draw them together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.corpus.conversation import NAMED, recordings
from mer_zoo.data.files.groups import read_groups
from mer_zoo.errors import MERError
from mer_zoo.reports.kept_scores import KeptScores

__all__ = ["NONE", "RECORDING", "UNKNOWN", "Clusters", "names_of", "values_by_id"]

RECORDING, NONE = "recording", "none"
UNKNOWN = "unknown"
FEW = 20  # clusters, below which an interval leans on the form of the distribution


def values_by_id(file: str, values: Mapping[str, str], ids: Sequence[str] | None) -> list[str]:
    """What a file says of each sample.

    Args:
        file: The file, for messages.
        values: What it says, by id.
        ids: Ids of the samples; None where a test has not kept them.

    Raises:
        MERError: If a sample is not in it, or the ids are not known.
    """
    if ids is None:
        raise MERError(f"{file} names groups by id, and a run has kept no ids; test it again")
    lacking = [name for name in ids if name not in values]
    if lacking:
        raise MERError(
            f"{file} has no group for {plural(len(lacking), 'sample')} of the test, {lacking[0]!r} for one; give it a"
            " line for each id"
        )
    return [values[name] for name in ids]


def names_of(field: str, test: KeptScores, option: str) -> list[str]:
    """The speakers or dialogues of a test's samples.

    Args:
        field: ``speaker`` or ``dialogue``.
        test: What the test has kept.
        option: Who asks, for the message.

    Raises:
        MERError: If the data told none.
    """
    found = test.names.get(field)
    if found is None or not any(found):
        raise MERError(
            f"{option}: tests have kept no {field}, as the data tell none; test again with a file that has a field"
            f" {field}, or give a CSV file of ids and groups"
        )
    return [name or UNKNOWN for name in found]


class Clusters:
    """The cluster of samples by their ids.

    Args:
        by: ``recording`` is the recording that an id names, ``speaker`` and ``dialogue`` are what the data tell,
            ``none`` takes samples for independent, and anything else is a CSV file with a column ``id`` and another
            one, such as the annotator, or ``FILE.csv:COLUMN``.

    Raises:
        MERError: If the file cannot be read as such.

    Example:
        >>> Clusters().of(["a$_$1", "a$_$2", "b$_$1"]), Clusters("none").of(["a$_$1"])
        (['a', 'a', 'b'], None)
    """

    def __init__(self, by: str = RECORDING) -> None:
        self.by = by
        self.groups = None if by in (RECORDING, NONE, *NAMED) else read_groups(by, "--cluster")

    def of_test(self, test: KeptScores) -> list[str] | None:
        """The cluster of each sample of a test; None where samples are taken for independent.

        Args:
            test: What the test has kept.

        Raises:
            MERError: If what was asked for is not known of a sample.
        """
        return names_of(self.by, test, f"--cluster {self.by}") if self.by in NAMED else self.of(test.ids)

    def of(self, ids: Sequence[str] | None) -> list[str] | None:
        """The cluster of each sample; None where samples are taken for independent, as their ids tell no recording.

        Args:
            ids: Ids of the samples; None where a test has not kept them.

        Raises:
            MERError: If a file of groups was given and a sample is not in it.
        """
        if self.groups is None:
            return recordings(ids) if ids is not None and self.by == RECORDING else None
        return values_by_id(self.by, self.groups, ids)

    def note(self, counts: Collection[int], clustered: bool) -> str:
        """A sentence on what was drawn.

        Args:
            counts: Numbers of clusters, or of samples where these are independent.
            clustered: Whether samples were drawn by clusters.
        """
        if not clustered:
            why = "as asked" if self.by == NONE else "as their ids tell no recording"
            return f"samples are taken for independent, {why}, which makes intervals too narrow where they are not"
        what = f"{self.by}s" if self.by in (RECORDING, *NAMED) else f"groups of {Path(self.by).name}"
        told = f"whole {what} are drawn, of {' and '.join(map(str, sorted(set(counts))))}"
        few = f"; fewer than {FEW} say little about others" if min(counts, default=FEW) < FEW else ""
        return told + few
