"""Where hearing costs a network its answers: by what is wrong in a sentence, its voice, and the words that are lost."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from benchmarks.studies.frame import Record
from benchmarks.studies.spoken_clips import Clip, Heard
from benchmarks.studies.spoken_words import spelt, word_errors
from benchmarks.studies.table import Answers, Column, difference, interval, spread
from mer_zoo.data.corpus.corpus import SplitData
from mer_zoo.reports.tables import ABSENT, Table

SIGNS = Column("Acc2_non0", ("shown",))
BINS = {"none": (0.0, 0.0), "up to 20 % of its words": (0.0, 20.0), "20 to 40 %": (20.0, 40.0), "more": (40.0, 1e9)}
FREQUENT, SEEN, TELLING = 50, 5, 2.5  # words; sentences that have a word; how far its scores lie from others, in errors
HESITATIONS = frozenset(("um", "uh", "umm", "uhh", "hmm", "oh", "er", "ah"))


def telling_words(split: SplitData) -> frozenset[str]:
    """Words whose sentences have another mean score than those without, beyond 2.5 standard errors.

    Args:
        split: The training split.
    """
    assert split.labels is not None
    scores: dict[str, list[float]] = defaultdict(list)
    for text, score in zip(split.raw_text, split.labels, strict=True):
        for word in set(text.split()):
            scores[word].append(float(score))
    mean, deviation = statistics.fmean(map(float, split.labels)), statistics.pstdev(map(float, split.labels))
    return frozenset(
        word
        for word, own in scores.items()
        if len(own) >= SEEN and abs(statistics.fmean(own) - mean) > TELLING * deviation / len(own) ** 0.5
    )


def kinds_of(split: SplitData) -> dict[str, frozenset[str]]:
    """Kinds of words by the training split, the first of which a word is of counts."""
    counts = Counter(word for text in split.raw_text for word in text.split())
    frequent = frozenset(word for word, _ in counts.most_common(FREQUENT))
    return {
        "hesitations": HESITATIONS,
        "tell the sign": telling_words(split) - frequent,
        "the 50 most frequent": frequent,
        "others of the training split": frozenset(counts),
    }


def lost_words(said: Sequence[str], heard: Sequence[str]) -> list[str]:
    """Words that are not among those that were heard.

    Example:
        >>> lost_words("so very very good".split(), "a very good goat".split())
        ['so', 'very']
    """
    return list((Counter(said) - Counter(heard)).elements())


def words_table(clips: Sequence[Clip], heard: Mapping[str, Heard], train: SplitData) -> Table:
    """Which words are lost."""
    kinds = kinds_of(train)
    said_words: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for clip in clips:
        said = spelt(clip.text).split()
        for words, counts in ((said, said_words), (lost_words(said, spelt(heard[clip.name].text).split()), lost)):
            counts.update(next((kind for kind, own in kinds.items() if word in own), "no word of it") for word in words)
    total = sum(lost.values())
    rows = [
        [kind, str(said_words[kind]), f"{100 * lost[kind] / said_words[kind]:.1f}", f"{100 * lost[kind] / total:.1f}"]
        for kind in (*kinds, "no word of it")
        if said_words[kind]
    ]
    return Table("lost words", ["words", "said", "lost (%)", "of all lost (%)"], rows)


def only(records: Sequence[Record], condition: str, kept: Collection[str] | None = None) -> Answers:
    """Answers on some samples under one condition, so that they can be compared with those under another.

    Args:
        records: One a seed.
        condition: Its name.
        kept: Names of the samples; None for all.
    """
    shown = []
    for record in records:
        names = record["ids"][condition]
        places = [place for place, name in enumerate(names) if kept is None or name in kept]
        parts = record["choices"]["MAE"]["splits"][condition]
        classes = "".join(parts["classes"][place] for place in places)
        told: dict[str, Any] = {
            "truth": {"shown": "".join(record["truth"][condition][place] for place in places)},
            "ids": {"shown": [names[place] for place in places]},
            "choices": {"MAE": {"splits": {"shown": {**parts, "classes": classes}}}},
        }
        shown.append({**record, **told})
    return Answers(shown, "MAE")


def groups_of(clips: Sequence[Clip], heard: Mapping[str, Heard], train: SplitData) -> dict[str, dict[str, list[Clip]]]:
    """The sentences by what is wrong in them, by what of them is lost, and by voice."""
    telling = telling_words(train)
    found: dict[str, dict[str, list[Clip]]] = {"wrong": {name: [] for name in BINS}, "lost": {}, "voice": {}}
    for clip in clips:
        said, own = (spelt(text).split() for text in (clip.text, heard[clip.name].text))
        rate = 100 * word_errors(said, own) / len(said)
        name = next(name for name, (low, high) in BINS.items() if low < rate <= high or rate == high == low)
        found["wrong"][name].append(clip)
        lost = lost_words(said, own)
        kind = "a word that tells the sign" if telling & set(lost) else "other words" if lost else "none"
        found["lost"].setdefault(kind, []).append(clip)
        found["voice"].setdefault(clip.voice, []).append(clip)
    return {title: dict(sorted(own.items())) if title != "wrong" else own for title, own in found.items()}


def losses_table(
    network: str,
    records: Sequence[Record],
    conditions: tuple[str, str],
    clips: Sequence[Clip],
    heard: Mapping[str, Heard],
    train: SplitData,
) -> Table:
    """Acc2 on what was said and heard, by group of sentences, and how much of the whole loss each group has.

    Args:
        network: What is tested.
        records: Of its seeds.
        conditions: Names of what was said and of what was heard.
        clips: The sentences of the test.
        heard: What was heard of them.
        train: The training split.
    """
    whole = _row(records, conditions, clips, heard, None)
    rows = [[network, "all", "", *whole[0], ABSENT]]
    for title, groups in groups_of(clips, heard, train).items():
        for name, own in groups.items():
            if not own:
                continue
            cells, loss = _row(records, conditions, own, heard, {clip.name for clip in own})
            rows.append([network, title, name, *cells, str(round(100 * loss / whole[1])) if whole[1] else ABSENT])
    header = ["network", "sentences by", "of which", "clips", "word error rate (%)", "said", "heard", "heard - said"]
    note = "Acc2_non0 in percent; intervals count recordings and seeds."
    return Table("where the loss is", [*header, "of the loss (%)"], rows, [note], names=3)


def _row(
    records: Sequence[Record],
    conditions: tuple[str, str],
    clips: Sequence[Clip],
    heard: Mapping[str, Heard],
    kept: Collection[str] | None,
) -> tuple[list[str], float]:
    """Cells, and how many answers more are wrong."""
    said, other = (only(records, condition, kept) for condition in conditions)
    pairs = [(spelt(clip.text).split(), spelt(heard[clip.name].text).split()) for clip in clips]
    rate = 100 * sum(word_errors(*pair) for pair in pairs) / sum(len(words) for words, _ in pairs)
    counted = float(said.gains(next(iter(said.records)), SIGNS)[1].sum())
    before, after = said.accuracy(SIGNS), other.accuracy(SIGNS)
    several = len({clip.name.partition("$_$")[0] for clip in clips}) > 1
    found = interval(difference(other, said, SIGNS)) if several else ABSENT
    loss = counted * (statistics.fmean(after) - statistics.fmean(before))
    return [str(len(clips)), f"{rate:.1f}", spread(before), spread(after), found], loss
