"""``mer-zoo validate-data``: every fault of a corpus, and what is in it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.arrays import StoredArray, open_at
from mer_zoo.data.corpus.checks import Fault, plural
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.corpus.meaning import Meaning, converted
from mer_zoo.data.files.about import compare_labels
from mer_zoo.data.files.features import NanPolicy, scan_split
from mer_zoo.data.files.formats import Draft, SplitDraft, read_draft
from mer_zoo.data.files.labels import count_labels
from mer_zoo.data.labelling import tasks_for
from mer_zoo.data.store.store import is_store, open_store
from mer_zoo.errors import MERError

__all__ = ["Report", "examine", "main", "validate"]


@dataclass
class Report:
    """What is in a corpus and what is wrong with it.

    Args:
        splits: Rows of split, samples, labels, and the shape of a sample of each modality.
        faults: All of them.
        notes: What was noticed, but is no fault.
        labels: What the labels mean, and which tasks they are for, or what has to be told.
    """

    splits: list[tuple[str, ...]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    labels: str = ""


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


def examine(path: Path, nan: NanPolicy = "error") -> Report:
    """Read a whole corpus without writing anything.

    Args:
        path: A file or folder in any format of docs/data.md, or a store.
        nan: Whether NaN and infinity in features are faults or accepted as zero.
    """
    try:
        draft = _draft_store(path) if is_store(path) else read_draft(path)
        scans = [scan_split(name, split, nan) for name, split in draft.splits.items()]
    except MERError as error:
        return Report(faults=[Fault("", "", str(error))])
    return Report(
        [_row(name, split, draft.meaning) for name, split in draft.splits.items()],
        draft.faults + [fault for scan in scans for fault in scan.faults],
        [*draft.notes, *_lacking(draft), *(note for scan in scans for note in scan.notes)],
        _labels_told(draft),
    )


def _labels_told(draft: Draft) -> str:
    if draft.question:
        return f"not clear: {draft.question}"
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


def main(args: list[str]) -> int:
    """Print what is in a corpus and every fault.

    Args:
        args: Arguments of ``mer-zoo validate-data``.

    Returns:
        The exit code, 1 if there are faults.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo validate-data", description="List what is in a corpus, and every fault.", allow_abbrev=False
    )
    parser.add_argument("path", type=Path, help="a corpus file or folder, see docs/data.md")
    parser.add_argument("--nan", choices=["error", "zero"], default="error", help="whether NaN is a fault or read as 0")
    options = parser.parse_args(args)
    report = examine(options.path.expanduser(), options.nan)
    console = Console()
    if report.splits:
        table = Table("split", "samples", "labels", *MODALITIES, "tokens", title=escape(str(options.path)))
        for row in report.splits:
            table.add_row(*map(escape, row))
        console.print(table)
    if report.labels:
        console.print(f"labels: {report.labels}", markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    for fault in report.faults:
        console.print(f"fault: {fault}", markup=False, highlight=False, soft_wrap=True)
        if len(fault.ids) > 3:
            console.print(f"  all {len(fault.ids)}: {' '.join(map(ascii, fault.ids))}", markup=False, soft_wrap=True)
    console.print(plural(len(report.faults), "fault") if report.faults else "no faults", highlight=False)
    return 1 if report.faults else 0


def _row(name: str, split: SplitDraft, meaning: Meaning | None) -> tuple[str, ...]:
    arrays = [*(split.features.get(key) for key in MODALITIES), split.tokens]
    shapes = ["-" if array is None else " x ".join(map(str, array.shape[1:])) for array in arrays]
    names = () if meaning is None else meaning.names
    return (name, str(len(split.ids)), count_labels(split.labels, names), *shapes)


def _draft_store(path: Path) -> Draft:
    """Describe a store in the terms of a source, so that the same checks apply."""
    corpus = open_store(path, str(path))
    splits = {name: _draft_split(path, name, corpus) for name in corpus.splits}
    draft = Draft(splits, corpus.aligned, notes=list(corpus.notes), told=corpus.meaning)
    compare_labels(draft)
    return draft


def _draft_split(path: Path, name: str, corpus: Corpus) -> SplitDraft:
    split = corpus.splits[name]
    features = {}
    for key in split.features:
        file = path / f"{name}.{key}.npy"
        features[key] = StoredArray.from_npy(partial(open_at, file, 0), file.stat().st_size, str(file))
    return SplitDraft(
        split.ids,
        split.raw_text,
        features,
        tokens=split.token_ids,
        token_spans=split.spans["text"],
        labels=split.labels,
        conversation=split.conversation,
        unimodal=dict(split.unimodal),
    )
