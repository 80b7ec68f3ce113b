"""What has to be trained and tested for rows of the papers' tables; rows that need the same training share it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mer_zoo.cli.reproduce.rows import Row, corpora_of
from mer_zoo.reports.identities import Identity
from mer_zoo.reports.published import Published

__all__ = ["Experiment", "Training", "plan"]

CLASSES = {"Acc7": ("seven",), "Acc2": ("binary",), "F1": ("binary",)}  # what CIDer trains for each of its metrics
BOTH = ("binary", "seven")  # its table VI gives the mean of the two
IN_SETS = ("contribution_",)  # metrics that take a test with every set of modalities


@dataclass(frozen=True)
class Training:
    """One model on one corpus, but for the seed.

    Attributes:
        source: The paper whose settings are taken.
        nest: The model.
        options: What is set for it beyond its configuration, one by one.
        config: The configuration, see :class:`~mer_zoo.reports.identities.Identity`.
        corpus: What is trained on.
        tested: What is tested on.
        split: IID or OOD.
        alignment: aligned or unaligned.
        task: The task; empty for the configuration's.
    """

    source: str
    nest: str
    options: frozenset[str]
    config: str
    corpus: str
    tested: str
    split: str
    alignment: str
    task: str

    @property
    def kind(self) -> str:
        """The kind of file that it reads, such as ``MOSI:aligned``."""
        return f"{self.corpus}:{self.alignment}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds of files that it reads and is tested on."""
        return tuple(dict.fromkeys((self.kind, f"{self.tested}:{self.alignment}")))

    @property
    def folder(self) -> str:
        """Where its runs lie, a folder a seed."""
        config = self.config.partition("+")[0].strip()
        model = "-".join([*re.findall(r"\w+", self.nest), *sorted(self.options)])
        corpora = self.corpus if self.corpus == self.tested else f"{self.corpus}-to-{self.tested}"
        place = "_".join(filter(None, [corpora, self.alignment, self.split, self.task])).lower()
        return f"{self.source}/{config}/{re.sub(r'[^A-Za-z0-9.]+', '-', model).strip('-')}/{place}"


@dataclass
class Experiment:
    """A training, what it is tested under, and the figures that come of it.

    Attributes:
        training: The training.
        identity: What the paper calls it.
        patterns: What is missing in the tests: ``complete``, ``SMM`` or the pattern of a curve.
        figures: The printed figures.
    """

    training: Training
    identity: Identity
    patterns: list[str]
    figures: list[Published]


def plan(rows: Iterable[Row]) -> list[Experiment]:
    """Gather what rows need.

    Args:
        rows: The rows; those that can't be run need nothing.

    Example:
        >>> from mer_zoo.cli.reproduce.rows import chosen_rows
        >>> for one in plan(chosen_rows("CIDer:V:w/o MACI")):
        ...     print(one.training.folder, one.patterns)
        CIDer/cider/MSSD-CIDerNet/mosi_unaligned_ood_binary ['RMFM']
        CIDer/cider/MSSD-CIDerNet/mosi_unaligned_ood_seven ['RMFM']
    """
    found: dict[Training, Experiment] = {}
    for row in rows:
        for figure in row.figures if not row.reason else ():
            for training in _trainings(row.identity, figure):
                experiment = found.setdefault(training, Experiment(training, row.identity, [], []))
                experiment.figures.append(figure)
                pattern = "SMM" if figure.metric.startswith(IN_SETS) else figure.pattern
                if pattern not in experiment.patterns:
                    experiment.patterns.append(pattern)
    return list(found.values())


def _trainings(identity: Identity, figure: Published) -> Sequence[Training]:
    corpus, tested = corpora_of(figure)
    tasks = CLASSES.get(figure.metric, BOTH) if figure.source == "CIDer" else ("",)
    return [
        Training(
            figure.source,
            identity.nest,
            identity.settings,
            identity.config,
            corpus,
            tested,
            figure.split,
            figure.alignment,
            task,
        )
        for task in tasks
    ]
