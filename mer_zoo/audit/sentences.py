"""Which sentences are said twice, or almost: exact Jaccard similarities, found without a look at every pair."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import combinations

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material
from mer_zoo.data.survey.splits import held_apart

__all__ = ["check_sentences", "similar_pairs"]

ALIKE = 0.8
FEWEST_WORDS = 8  # shorter ones, such as "thank you", are said by everybody
LEAK_SHARE, LEAK_COUNT = 0.01, 3
MOST_CANDIDATES = 2000  # of one sentence; more only where all are made of the same few words


def similar_pairs(sets: Sequence[frozenset[str]], threshold: float = ALIKE) -> list[tuple[int, int, float]]:
    """All pairs of sets whose intersection is a share of their union.

    Two such sets have one of their rarest words in common (the prefix filter), so only these are looked up.

    Args:
        sets: The sets; empty ones have no pair.
        threshold: The least share.

    Returns:
        Places, the smaller one first, and the share.

    References:
        Bayardo, Ma and Srikant, "Scaling up all pairs similarity search", WWW 2007.

    Example:
        >>> similar_pairs([frozenset("abcde"), frozenset("vwxyz"), frozenset("abcd")], 0.8)
        [(0, 2, 0.8)]
    """
    counts = Counter(word for one in sets for word in one)
    ordered = [sorted(one, key=lambda word: (counts[word], word)) for one in sets]
    index: dict[str, list[int]] = defaultdict(list)
    found = []
    for place in sorted(range(len(sets)), key=lambda place: len(sets[place])):
        size = len(sets[place])
        prefix = ordered[place][: size - math.ceil(threshold * size) + 1]
        candidates = dict.fromkeys(other for word in prefix for other in index[word][-MOST_CANDIDATES:])
        for other in candidates:
            if len(sets[other]) >= threshold * size:
                both = len(sets[place] & sets[other])
                share = both / (size + len(sets[other]) - both)
                if share >= threshold:
                    found.append((min(place, other), max(place, other), share))
        for word in prefix:
            index[word].append(place)
    return sorted(found)


@dataclass(frozen=True)
class _Said:
    """A sentence that is long enough to be compared."""

    split: str
    name: str
    words: tuple[str, ...]


def check_sentences(material: Material) -> Iterator[Finding | NotChecked]:
    """Find sentences of one split that another one has too, word for word or almost.

    Args:
        material: The corpus.
    """
    said: list[_Said] = []
    for name, part in material.parts.items():
        words = part.words()
        if words is not None:
            said += [
                _Said(name, at, tuple(own))
                for at, own in zip(part.ids, words, strict=True)
                if len(own) >= FEWEST_WORDS and len(set(own)) > FEWEST_WORDS // 2
            ]
    if not said:
        yield NotChecked(
            "whether sentences are said twice", f"there are no texts or tokens of {FEWEST_WORDS} words or more"
        )
        return
    pairs = [  # sets of few words are alike without being one sentence
        (a, b, share)
        for a, b, share in similar_pairs([frozenset(one.words) for one in said])
        if SequenceMatcher(None, said[a].words, said[b].words, autojunk=False).ratio() >= ALIKE
    ]
    counts = Counter(one.split for one in said)
    for one, other in combinations(material.parts, 2):
        if held_apart(one, other):
            yield from _between(one, other, said, pairs, counts[other])
    within = [(said[a], said[b]) for a, b, _ in pairs if said[a].split == said[b].split]
    if within:
        exact = sum(a.words == b.words for a, b in within)
        first, second = within[0]
        yield Finding(
            "repeated-sentences",
            "note",
            f"{plural(len(within), 'pair')} of samples of one split say the same or almost ({exact} word for word),"
            f" such as {first.name} and {second.name} of {first.split}",
            "see whether they are one clip cut twice, and whether their labels agree",
            {"pairs": len(within), "exact": exact},
        )


def _between(
    one: str, other: str, said: Sequence[_Said], pairs: Sequence[tuple[int, int, float]], size: int
) -> Iterator[Finding]:
    twins: dict[int, tuple[int, bool]] = {}
    for a, b, _ in pairs:
        if {said[a].split, said[b].split} == {one, other}:
            mine, theirs = (a, b) if said[a].split == one else (b, a)
            is_exact = said[mine].words == said[theirs].words
            twins[theirs] = (mine, is_exact or twins.get(theirs, (0, False))[1])
    if not twins:
        return
    exact = sum(1 for _, is_copy in twins.values() if is_copy)
    theirs, (mine, _) = next(iter(twins.items()))
    severe = len(twins) >= max(LEAK_COUNT, LEAK_SHARE * size)
    yield Finding(
        "near-duplicate-sentences",
        "leak" if severe else "note",
        f"{len(twins)} of {size} sentences of {other} with {FEWEST_WORDS} words or more are in {one} too ({exact} word"
        f" for word, the others by {100 * ALIKE:.0f} % of their words), such as {said[theirs].name} and"
        f" {said[mine].name}",
        "keep copies of a sentence in one split only, or say why they are there",
        {"one": one, "other": other, "sentences": len(twins), "exact": exact, "of": size},
    )
