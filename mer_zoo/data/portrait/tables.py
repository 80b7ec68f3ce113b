"""Tables of a corpus: its statistics in one, as papers print them, then labels, lengths, features and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import chain
from operator import add

import numpy as np

from mer_zoo.batch import MODALITIES
from mer_zoo.data.outcomes import Outcome
from mer_zoo.data.portrait.facts import ALL, Facts, SplitFacts
from mer_zoo.data.survey.moments import Moments
from mer_zoo.reports.tables import ABSENT, Table

__all__ = ["tables_of"]


def tables_of(facts: Facts) -> list[Table]:
    """All tables of a corpus.

    Args:
        facts: What was counted.

    Returns:
        The table of statistics first.
    """
    labels = [_labels(facts, one) for one in facts.outcomes if one is not facts.coarsest or one.lacking]
    others = [_lengths(facts), _features(facts), _words(facts)]
    return [_statistics(facts), *labels, *(table for table in others if table is not None)]


def _statistics(facts: Facts) -> Table:
    """Samples, who and what they are of, and the coarsest classes, by split: the first table of a paper."""
    splits = list(facts.splits.values())
    rows = [["samples", *(str(split.samples) for split in splits), str(sum(split.samples for split in splits))]]
    names: dict[str, Callable[[SplitFacts], list[str] | None]] = {
        "recordings": lambda split: split.recordings,
        "dialogues": lambda split: None if split.dialogues == split.recordings else split.dialogues,
        "speakers": lambda split: split.speakers,
    }
    for what, of in names.items():
        told = [of(split) for split in splits]
        if any(own is not None for own in told):
            cells = [ABSENT if own is None else str(len({*own} - {""})) for own in told]
            rows.append([what, *cells, str(len({*chain.from_iterable(own or [] for own in told)} - {""}))])
    if not all(split.labels == split.samples for split in splits):
        counts = [split.labels for split in splits]
        rows.append(["with a label", *map(str, [*counts, sum(counts)])])
    if any(split.heard is not None for split in splits):
        known = [ABSENT if split.heard is None else str(split.heard) for split in splits]
        rows.append(["with a heard text", *known, str(sum(split.heard or 0 for split in splits))])
    first = facts.coarsest
    if first is not None:
        rows += _class_rows(facts, first)
    rows += [_row(what, facts, _mean) for what in ("words", *MODALITIES) if _counts(facts, what)]
    if facts.has_text:
        said = [None if split.words is None else {*chain.from_iterable(split.words)} for split in splits]
        sizes = [ABSENT if words is None else str(len(words)) for words in said]
        rows.append(["vocabulary", *sizes, str(len(set[str]().union(*(words or () for words in said))))])
    notes = [*facts.notes]
    if first is not None and first.task == "emotions":
        notes.append("A sample may have several of the emotions, or none.")
    if facts.meaning:
        notes.append(f"Labels: {facts.meaning}.")
    notes.append(f"Words and steps: mean a sample.{' The modalities share one time axis.' if facts.aligned else ''}")
    return Table(f"Statistics of {facts.source}", ["", *facts.splits, ALL], rows, notes)


def _class_rows(facts: Facts, outcome: Outcome) -> list[list[str]]:
    """A row a class: how many samples have it, and their share."""
    names = list(dict.fromkeys(chain.from_iterable(outcome.counts.values())))
    sizes = {name: split.samples for name, split in facts.splits.items() if name in outcome.counts}
    rows = []
    for name in names:
        counts = {split: outcome.counts[split].get(name, 0) for split in sizes}
        cells = [_share(counts[split], sizes[split]) if split in sizes else ABSENT for split in facts.splits]
        rows.append([name, *cells, _share(sum(counts.values()), sum(sizes.values()))])
    return rows


def _labels(facts: Facts, outcome: Outcome) -> Table:
    if outcome.scores:
        of = outcome.scores.get
        rows = [
            [what, *(ABSENT if (found := of(name)) is None else f"{found[place]:.3g}" for name in facts.splits)]
            for place, what in enumerate(("lowest", "mean", "highest", "deviation"))
        ]
        return Table("Scores", ["", *facts.splits], rows)
    notes = [f"{sentence[0].upper()}{sentence[1:]}." for sentence in outcome.lacking]
    return Table(f"Labels under data.task {outcome.task}", ["", *facts.splits, ALL], _class_rows(facts, outcome), notes)


def _lengths(facts: Facts) -> Table | None:
    rows = []
    for what in ("words", *MODALITIES):
        if _counts(facts, what):
            absent = any(0 in counts for counts in _counts(facts, what).values())
            shown = {how: show for how, show in _SHOWN.items() if how != "absent" or absent}
            rows += [_row(f"{what}, {how}", facts, show, what) for how, show in shown.items()]
    notes = ["Words of transcripts, and steps that are no padding; an absent sample has no steps."]
    return Table("Lengths", ["", *facts.splits, ALL], rows, notes) if rows else None


def _features(facts: Facts) -> Table | None:
    rows = []
    for key, (steps, width) in facts.shapes.items():
        moments = [split.moments[key] for split in facts.splits.values() if key in split.moments]
        rows.append([key, str(steps), ABSENT if width is None else str(width), *_sizes(moments)])
    header = ["", "steps", "dimension", "lowest", "mean", "deviation", "highest", "constant columns"]
    notes = ["Steps: those that every sample is padded to. Values of the steps that are no padding, in all splits."]
    return Table("Features", header, rows, notes) if rows else None


def _sizes(moments: Sequence[Moments]) -> list[str]:
    """Bounds, mean and deviation over all columns, and how many columns are constant."""
    found = [one for one in moments if one.count]
    if not found:
        return [ABSENT] * 5
    whole = reduce(add, found)
    mean = float(whole.mean.mean())
    deviation = float(np.sqrt(max(float((whole.square / whole.count).mean()) - mean**2, 0.0)))
    numbers = float(whole.low.min()), mean, deviation, float(whole.high.max())
    return [*(f"{number:.3g}" for number in numbers), str(int((whole.low == whole.high).sum()))]


def _words(facts: Facts) -> Table | None:
    told = {name: split.words for name, split in facts.splits.items() if split.words is not None}
    if not told:
        return None
    known = set(chain.from_iterable(told.get("train", [])))
    said = {name: list(chain.from_iterable(words)) for name, words in told.items()}
    said[ALL] = list(chain.from_iterable(said.values()))
    samples = {name: len(words) for name, words in told.items()}
    samples[ALL] = sum(samples.values())
    empty = {name: sum(not own for own in words) for name, words in told.items()}
    empty[ALL] = sum(empty.values())
    what = "words" if facts.has_text else "token ids"
    figures = {
        what: {name: str(len(words)) for name, words in said.items()},
        "vocabulary": {name: str(len({*words})) for name, words in said.items()},
        "samples without any": {name: _share(count, samples[name]) for name, count in empty.items()},
    }
    if "train" in told and len(told) > 1:
        figures["not in train"] = {
            name: _share(sum(word not in known for word in words), len(words))
            for name, words in said.items()
            if name not in ("train", ALL)
        }
    columns = [*facts.splits, ALL]
    rows = [[label, *(cells.get(name, ABSENT) for name in columns)] for label, cells in figures.items()]
    return Table("Words" if facts.has_text else "Token ids", ["", *columns], rows)


def _counts(facts: Facts, what: str) -> dict[str, list[int]]:
    """Lengths of the samples of each split: words, or steps of a modality; nothing where no split has any."""
    found = {}
    for name, split in facts.splits.items():
        if what == "words" and split.words is not None and facts.has_text:
            found[name] = [len(words) for words in split.words]
        elif what in split.steps:
            found[name] = split.steps[what].tolist()
    return found


def _row(label: str, facts: Facts, show: Callable[[Sequence[int]], str], what: str = "") -> list[str]:
    counts = _counts(facts, what or label)
    every = list(chain.from_iterable(counts.values()))
    named = label if what else {"words": "words"}.get(label, f"steps of {label}")
    return [named, *(show(counts[name]) if counts.get(name) else ABSENT for name in facts.splits), show(every)]


def _mean(counts: Sequence[int]) -> str:
    return f"{np.mean(counts):.1f}"


_SHOWN: dict[str, Callable[[Sequence[int]], str]] = {
    "mean": _mean,
    "median": lambda counts: f"{np.median(counts):g}",
    "fewest to most": lambda counts: f"{min(counts)} to {max(counts)}",
    "absent": lambda counts: _share(sum(count == 0 for count in counts), len(counts)),
}


def _share(count: int, of: int) -> str:
    """A count with its share in per cent.

    Example:
        >>> _share(3, 12), _share(0, 0)
        ('3 (25.0 %)', '0')
    """
    return f"{count} ({100 * count / of:.1f} %)" if of else str(count)
