"""The guard against samples that stand in two splits, where what is trained on would be tested on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from itertools import combinations
from operator import or_

from mer_zoo.data.corpus.checks import Fault, plural
from mer_zoo.data.corpus.contents import Contents, equal_splits, really_shared
from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.errors import MERError

__all__ = [
    "check_different",
    "check_unseen",
    "id_overlaps",
    "named_samples",
    "overlap_faults",
    "shared_ids",
    "sharing",
]

MAX_OVERLAPS = 16
REMEDY = "keep every sample in one split only (`mer-zoo split-ood` makes new ones)"


def named_samples(split: str, ids: Sequence[str]) -> set[str]:
    """The ids that name one sample each, empty where the ids name something else.

    Numbers that stand in for missing ids say nothing about another corpus, and MulT's files may give the recording
    only, of which several splits may hold clips.

    Args:
        split: Name of the split.
        ids: Its ids.

    Example:
        >>> sorted(named_samples("test", ["a$_$1", "a$_$2", "b$_$1", "b$_$1"]))
        ['a$_$1', 'a$_$2']
        >>> named_samples("test", ["a", "a", "a", "b"]), named_samples("test", ["test_0", "test_1"])
        (set(), set())
    """
    counts = Counter(ids)
    numbered = all(name == f"{split}_{row}" for row, name in enumerate(ids))
    if numbered or 2 * len(counts) <= len(ids):
        return set()
    return {name for name, count in counts.items() if count == 1}


def shared_ids(one: str, ids: Sequence[str], other: str, others: Sequence[str]) -> list[str]:
    """Find the samples that stand in both of two splits, by their ids and in the order of the first.

    Args:
        one: Name of the first split.
        ids: Its ids.
        other: Name of the second.
        others: Its ids.

    Example:
        >>> shared_ids("train", ["a", "b"], "test", ["c", "b"])
        ['b']
    """
    both = named_samples(one, ids) & named_samples(other, others)
    return [name for name in ids if name in both]


def sharing(splits: Mapping[str, Collection[str]]) -> list[tuple[str, str]]:
    """The pairs of splits that have an id in common, found without a look at every pair.

    Args:
        splits: Ids by split.

    Example:
        >>> sharing({"train": {"a", "b"}, "valid": {"c"}, "test": {"b"}})
        [('train', 'test')]
    """
    seen, shared = set[str](), set[str]()
    for ids in splits.values():
        shared |= seen.intersection(ids)
        seen.update(ids)
    owners = dict.fromkeys(shared, 0)
    shares = [shared.intersection(ids) for ids in splits.values()]
    for place, ids in enumerate(shares):
        for name in ids:
            owners[name] |= 1 << place
    met = [reduce(or_, map(owners.__getitem__, ids), 0) for ids in shares]
    pairs = combinations(enumerate(splits), 2)
    return [(one, other) for (place, one), (other_place, other) in pairs if met[place] >> other_place & 1]


def id_overlaps(splits: Mapping[str, Sequence[str]]) -> list[Fault]:
    """List the splits that share samples.

    Args:
        splits: Ids by split.

    Example:
        >>> [fault.message for fault in id_overlaps({"train": ["a", "b"], "test": ["b", "c"]})]
        ['1 sample of train is in test too']
    """
    named = {name: named_samples(name, ids) for name, ids in splits.items()}
    pairs = sharing(named)
    return overlap_faults(splits, {(one, other): named[one] & named[other] for one, other in pairs}, pairs)


def overlap_faults(
    splits: Mapping[str, Sequence[str]],
    shared: Mapping[tuple[str, str], Collection[str]],
    pairs: Sequence[tuple[str, str]],
) -> list[Fault]:
    """Say of pairs of splits what they share.

    Args:
        splits: Ids by split.
        shared: The ids of the samples that the first pairs share.
        pairs: Those that share some.
    """
    faults = []
    for one, other in pairs[:MAX_OVERLAPS]:
        common = shared[one, other]
        both = [name for name in splits[one] if name in common]
        if len(both) == len(splits[one]) == len(splits[other]):
            faults.append(Fault("", "id", f"{one} and {other} hold the same {plural(len(both), 'sample')}", (), REMEDY))
        else:
            verb = "is" if len(both) == 1 else "are"
            message = f"{plural(len(both), 'sample')} of {one} {verb} in {other} too"
            faults.append(Fault("", "id", message, tuple(both), REMEDY))
    if len(pairs) > MAX_OVERLAPS:
        faults.append(Fault("", "id", "further splits share samples", (), REMEDY))
    return faults


def check_unseen(trained: Corpus, tested: Corpus, split: str) -> None:
    """Refuse to test on another corpus' samples that are trained on in this one, as after a re-partition.

    Args:
        trained: The corpus that gives train and valid.
        tested: The corpus to test on.
        split: The split to test on.

    Raises:
        MERError: Naming the splits.

    Example:
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> corpus = generate(SyntheticConfig(train=4, valid=4, test=4))
        >>> check_unseen(corpus, corpus, "test_iid")
        >>> check_unseen(corpus, corpus, "train")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: train of SyntheticMER(...) shares 4 samples with train of ...; train and test on splits
        ...
    """
    for own in sorted({"train", "valid"} & trained.splits.keys()):
        here, there = tested.splits[split], trained.splits[own]
        both = shared_ids(split, here.ids, own, there.ids)
        shared = really_shared(Contents.of(here), Contents.of(there), both) if both else set()
        both = [name for name in both if name in shared]
        if both:
            raise MERError(
                f"{split} of {tested.source} shares {plural(len(both), 'sample')} with {own} of {trained.source} (first"
                f" id "
                f"{both[0]}); train and test on splits that were made together"
            )


def check_different(conditions: Mapping[str, SplitData]) -> None:
    """Refuse test conditions that only seem to be different, as with one file that is there under two names.

    Args:
        conditions: By name the split that a condition tests on, each split once.

    Raises:
        MERError: Naming the conditions.

    Example:
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> test = generate(SyntheticConfig(train=4, valid=4, test=4)).split("test_iid")
        >>> check_different({"iid": test, "ood": test})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: the conditions 'ood' and 'iid' test on the same data; give each its own file
    """
    splits = {name: {"labels": s.labels, "tokens": s.token_ids, **s.features} for name, s in conditions.items()}
    for one, other in equal_splits(splits):
        raise MERError(f"the conditions {other!r} and {one!r} test on the same data; give each its own file")
