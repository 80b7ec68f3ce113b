"""Which group a sample is of, as a source of bias: its recording, speaker or dialogue, or what a file says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mer_zoo.batch import Batch
from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.corpus.conversation import NAMED, recordings
from mer_zoo.data.files.groups import read_groups
from mer_zoo.errors import MERError

__all__ = ["Groups"]


class Groups:
    """Names of the groups of samples.

    Args:
        of: ``speaker`` or ``dialogue``, which batches tell; or a CSV file with a column ``id`` and another one, or a
            mapping from id to group; None for the recording that an id tells.
        option: What the option is called by which they are given, for messages.

    Attributes:
        of: Groups by id; None where ids are not looked up.
        field: What batches tell; None where they are not asked.

    Raises:
        MERError: If the file cannot be read as such.

    Example:
        >>> Groups().names(["a$_$1", "b$_$1"]), Groups({"x": 0}).names(["x", "y"])
        (['a', 'b'], ['0', ''])
    """

    def __init__(self, of: str | Path | Mapping[Any, Any] | None = None, option: str = "groups") -> None:
        self.option = option
        if isinstance(of, Mapping):
            self.of: Mapping[str, str] | None = {str(name): str(group) for name, group in of.items()}
        else:
            self.of = None if of is None or of in NAMED else read_groups(of, option)
        self.field = of if isinstance(of, str) and of in NAMED else None

    def names(self, ids: Sequence[str]) -> list[str]:
        """The group of each sample by its id, empty where it is not known."""
        if self.of is None:
            return recordings(ids) or [""] * len(ids)
        return [self.of.get(name, "") for name in ids]

    def of_batch(self, batch: Batch) -> list[str]:
        """The group of each sample of a batch, empty where it is not known."""
        unknown = [""] * len(batch)
        return self.names(batch.ids or unknown) if self.field is None else batch.names.get(self.field, unknown)

    def check(self, ids: Sequence[str], names: Sequence[str] | None = None) -> list[str]:
        """The groups of samples that must have one.

        Args:
            ids: Their ids.
            names: Their groups, where batches have told them.

        Raises:
            MERError: If one has none.
        """
        names = self.names(ids) if names is None else list(names)
        lacking = [name for name, group in zip(ids, names, strict=True) if not group]
        if lacking and self.field is not None:
            of = "" if len(lacking) == len(ids) else f" of {plural(len(lacking), 'sample')}"
            raise MERError(
                f"the data do not tell the {self.field}{of} by which groups are to be made; give the file a field"
                f" {self.field}, or set {self.option} to a CSV file with the columns id and group"
            )
        if lacking and self.of is None:
            raise MERError(
                f"ids such as {lacking[0]!r} do not tell the recording; set {self.option} to a CSV file with the"
                " columns id and group"
            )
        if lacking:
            raise MERError(
                f"{plural(len(lacking), 'training sample')} have no group, {lacking[0]!r} for one; give {self.option} a"
                " line for each id"
            )
        return names
