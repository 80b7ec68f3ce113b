"""Every fault of a corpus, what makes figures on it doubtful, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.checks import Fault, plural
from mer_zoo.data.corpus.meaning import Meaning, converted
from mer_zoo.data.drafting import draft_any
from mer_zoo.data.files.features import NanPolicy
from mer_zoo.data.files.formats import Draft, SplitDraft
from mer_zoo.data.files.labels import count_labels
from mer_zoo.data.labelling import tasks_for
from mer_zoo.data.outcomes import Outcome, outcomes
from mer_zoo.data.survey.columns import check_columns
from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.lengths import check_lengths
from mer_zoo.data.survey.material import Material, read_material
from mer_zoo.data.survey.probes import samples_of
from mer_zoo.data.survey.splits import check_groups
from mer_zoo.data.survey.telling import check_telling
from mer_zoo.errors import MERError

__all__ = ["Report", "examine", "validate"]

KEPT = 2000  # samples of a split that probes see
SAY = (
    "say what they mean by --labels, --label_range, --label_names, as the lines above ask; fit has them as data.labels"
)


@dataclass
class Report:
    """What is in a corpus and what is wrong with it.

    Args:
        splits: Rows of split, samples, labels, the shape of a sample of each modality, and of its tokens.
        lengths: Rows of split, and fewest, middle and most steps of each modality and words.
        outcomes: What each task makes of the labels.
        faults: All of them; the corpus cannot be used with any.
        warnings: What makes figures on it doubtful.
        notes: What was noticed, but is neither.
        not_checked: What was not looked at, and why.
        labels: What the labels mean, and which tasks they are for, or what has to be told.
    """

    splits: list[tuple[str, ...]] = field(default_factory=list)
    lengths: list[tuple[str, ...]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)
    labels: str = ""

    @property
    def exit_code(self) -> int:
        """0 where nothing was found but notes, else 1."""
        return int(bool(self.faults or self.warnings))

    @property
    def closing(self) -> str:
        """How much was found.

        Example:
            >>> Report().closing, Report(warnings=[Finding("few", "warning", "so", "do")]).closing
            ('no faults', '1 warning')
        """
        found = {"fault": len(self.faults), "warning": len(self.warnings)}
        return ", ".join(plural(count, word) for word, count in found.items() if count) or "no faults"


def validate(path: str | Path, nan: NanPolicy = "error") -> list[Fault]:
    """List every fault of a corpus.

    Args:
        path: A file or folder in any format of docs/data.md, or a store.
        nan: Whether NaN and infinity in features are faults or accepted as zero.

    Returns:
        The faults, none for a sound corpus; a file that cannot be read at all is one fault.

    Example:
        >>> import numpy as np
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "clips.npz"
        >>> np.savez(file, **{"test/audio": np.ones((2, 5, 3)), "test/regression_labels": np.array([0.5, 7.0])})
        >>> [fault.split for fault in validate(file)]
        ['test']
    """
    return examine(Path(path), nan).faults


def examine(
    path: Path, nan: NanPolicy = "error", told: Meaning | None = None, roles: Mapping[str, str] | None = None
) -> Report:
    """Read a whole corpus once, without writing anything.

    Args:
        path: A file or folder in any format of docs/data.md, a store, or the name SyntheticMER.
        nan: Whether NaN and infinity in features are faults or accepted as zero.
        told: What the user says about the meaning of its labels.
        roles: Which splits of a file are taken for train, valid or a test split instead of those of these names.
    """
    try:
        draft = draft_any(path, told, roles)
        material = read_material(draft, str(path), nan=nan, kept=KEPT)
    except MERError as error:
        return Report(faults=[Fault("", "", str(error))])
    parts = material.parts.values()
    report = Report(
        [_row(name, split, draft.meaning) for name, split in draft.splits.items()],
        [_lengths(material, name) for name in material.parts],
        faults=draft.faults + [fault for part in parts for fault in part.faults],
        notes=[*draft.notes, *(note for part in parts for note in part.notes)],
        labels=_labels_told(draft),
    )
    if report.faults:
        report.not_checked = [NotChecked("what splits share and what tells the label", "faults come first")]
        return report
    report.notes += _lacking(draft)
    if not draft.question:
        report.outcomes = outcomes(draft, str(path), told)
    if draft.question or (report.outcomes and all(one.refusal for one in report.outcomes)):
        report.warnings.append(Finding("no-task", "warning", "no task can be trained on these labels", SAY))
    for found in _look(material, draft.meaning):
        if isinstance(found, NotChecked):
            report.not_checked.append(found)
        elif found.severity == "note":
            report.notes.append(f"{found.message}; {found.remedy}")
        else:
            report.warnings.append(found)
    return report


def _look(material: Material, meaning: Meaning | None) -> Iterator[Finding | NotChecked]:
    for part in material.parts.values():  # whole numbers may be written as floats, and be classes
        if part.draft.labels is not None and meaning is not None:
            part.draft.labels = converted(part.draft.labels, meaning)
    yield from check_groups(material)
    if meaning is None and any(part.draft.labels is not None for part in material.parts.values()):
        yield NotChecked("what tells the label", "it is not clear what labels mean")
    else:
        samples = samples_of(material) if meaning is not None else {}
        yield from check_telling(material, samples)
        yield from check_lengths(material, samples)
    yield from check_columns(material)


def _labels_told(draft: Draft) -> str:
    if draft.question:
        return f"not clear: {draft.question}"
    if draft.faults and draft.meaning is None:
        return ""  # there may be faulty ones, and a faulty file serves nothing
    if draft.meaning is None or all(split.labels is None for split in draft.splits.values()):
        return "none, so the file serves predict alone" if draft.splits else ""
    return f"{draft.meaning}, for data.task {tasks_for(draft.meaning)}"


def _lacking(draft: Draft) -> list[str]:
    """Classes and emotions that no training sample has."""
    train = draft.splits.get("train")
    if train is None or train.labels is None or draft.meaning is None or not draft.meaning.names:
        return []
    labels = converted(train.labels, draft.meaning)
    counts = labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=len(draft.meaning.names))
    lacking = [name for name, count in zip(draft.meaning.names, counts, strict=False) if not count]
    return [f"no training sample is {', '.join(lacking)}"] if lacking else []


def _row(name: str, split: SplitDraft, meaning: Meaning | None) -> tuple[str, ...]:
    arrays = [*(split.features.get(key) for key in MODALITIES), split.tokens]
    shapes = ["-" if array is None else " x ".join(map(str, array.shape[1:])) for array in arrays]
    names = () if meaning is None else meaning.names
    return (name, str(len(split.ids)), count_labels(split.labels, names), *shapes)


def _lengths(material: Material, name: str) -> tuple[str, ...]:
    steps, words = material.parts[name].steps(), material.parts[name].words()
    counts = [*map(steps.get, MODALITIES), None if words is None else np.array(list(map(len, words)))]
    return (name, *("-" if found is None else _extent(found.tolist()) for found in counts))


def _extent(counts: Sequence[int]) -> str:
    """Fewest, median and most."""
    return f"{min(counts)} / {np.median(counts):g} / {max(counts)}"
