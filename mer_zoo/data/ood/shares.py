"""How many samples of each class each of the new splits gets: equal shares, or positive shares that differ.

The label shift S is the positive share of the samples that are not neutral in test_ood less that in train. The splits
keep their sizes and their neutral samples; positive samples of the one and negative ones of the other change places. As
the corpus has the positive samples that it has, both shares follow from the shift: with a share p of n samples, n_t of
them in the test split, training and validation have p - S n_t / n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.ood.allocation import allocate
from mer_zoo.data.ood.partition import Ints
from mer_zoo.errors import MERError

__all__ = ["LABEL_SHIFTS", "SPLITS", "label_shift_of", "positive_share", "share_out"]

SPLITS = ("train", "valid", "test_ood")
RARE = 0.005  # share of a split that a class has to have
# The released OOD sets of CIDer. P(Y) in training is released: .488/.043/.470 on MOSI, .266/.183/.551 on MOSEI. What is
# in the test splits is inferred from Tables XVII and XVIII at a missing rate of 1, where networks give one answer: the
# more frequent one of training, negative and positive, is right for 43.4 and 40.7 %.
LABEL_SHIFTS = {
    "cider-mosi": (1 - 0.434) - 0.470 / (0.488 + 0.470),
    "cider-mosei": 0.407 - 0.551 / (0.266 + 0.551),
}


def label_shift_of(wanted: float | str) -> float:
    """The label shift that a number or the name of a preset stands for.

    Args:
        wanted: A number, as text or not, or one of ``LABEL_SHIFTS``.

    Raises:
        MERError: For another name, or a number outside [-1, 1].

    Example:
        >>> [round(label_shift_of(name), 3) for name in ("cider-mosi", "cider-mosei", "-0.2")]
        [0.075, -0.267, -0.2]
    """
    try:
        shift = float(LABEL_SHIFTS.get(str(wanted), wanted))
    except ValueError:
        shift = math.nan
    if not -1 <= shift <= 1:
        raise MERError(f"label_shift is {wanted}; give a number from -1 to 1, or one of {', '.join(LABEL_SHIFTS)}")
    return shift


def positive_share(counts: Ints) -> float:
    """Share of positive samples among those that are not neutral.

    Args:
        counts: (C,) samples of each class, from negative over neutral, in the middle, to positive.

    Example:
        >>> positive_share(np.array([1, 5, 3]))
        0.75
    """
    middle = len(counts) // 2
    negative, positive = int(counts[:middle].sum()), int(counts[middle + 1 :].sum())
    return positive / max(negative + positive, 1)


def share_out(
    classes: Ints,
    origin: Ints,
    names: Sequence[str],
    least: int | None,
    label_shift: float,
    source: str,
    coarser: str = "",
) -> Ints:
    """How many samples of each class each split gets: its share, or more or less by the label shift, but enough.

    Args:
        classes: (N,) class of each sample.
        origin: (N,) split of each sample, which sets the sizes of the new ones.
        names: C names of the classes.
        least: Samples of each class that each split has to have; 0.5 % of it, at least 1, when left out.
        label_shift: See the text of the module.
        source: Where the samples come from, for errors.
        coarser: What gives larger classes, for errors.

    Returns:
        (C, S) numbers of samples.

    Raises:
        MERError: If a class has too few samples, or the corpus cannot give the label shift.

    Example:
        >>> classes, origin = np.array([0] * 30 + [1] * 10 + [2] * 20), np.array([0, 0, 0, 1, 2, 2] * 10)
        >>> share_out(classes, origin, ["negative", "neutral", "positive"], None, 0.3, "a corpus").tolist()
        [[18, 5, 7], [5, 2, 3], [7, 3, 10]]
    """
    sizes = np.bincount(origin, minlength=len(SPLITS))
    totals = np.bincount(classes, minlength=len(names))
    enough = np.maximum(1, np.ceil(RARE * sizes).astype(np.int64)) if least is None else np.full(len(SPLITS), least)
    reserved = _reserved(totals, sizes, enough)
    lacking = np.flatnonzero(totals < reserved.sum(1))
    if len(lacking) or (sizes < reserved.sum(0)).any():
        label = int(lacking[0]) if len(lacking) else int(totals.argmin())
        wanted = ", ".join(f"{count} in {name}" for name, count in zip(SPLITS, enough, strict=True))
        lower = ", or lower --min-per-class" if totals[label] >= len(SPLITS) else ""  # which is 1 at least
        raise MERError(
            f"{source} has {plural(int(totals[label]), 'sample')} of class {names[label]}, too few for {wanted}; "
            f"{coarser}add samples{lower}"
        )
    shares = _filled(totals, sizes, reserved)
    return _shifted(shares, enough, label_shift, source) if label_shift else shares


def _shifted(shares: Ints, enough: Ints, label_shift: float, source: str) -> Ints:
    """Exchange positive samples of some splits for negative ones of others until the shares differ by the shift."""
    middle = len(shares) // 2
    groups = (slice(0, middle), slice(middle + 1, None))
    negative, positive = (shares[group].sum(0) for group in groups)
    charged = negative + positive
    test = len(SPLITS) - 1
    share = positive.sum() / charged.sum()
    trained = share - label_shift * charged[test] / charged.sum()
    wanted = np.array([trained] * test + [trained + label_shift])
    moved = np.rint(wanted * charged).astype(np.int64)
    moved[1] = positive.sum() - moved[0] - moved[test]
    least = middle * enough
    if (moved < least).any() or (charged - moved < least).any():
        # the shares of all splits are lines in the shift, so that each gives a bound
        slopes = np.array([-charged[test] / charged.sum()] * test + [1 - charged[test] / charged.sum()])
        ends = np.sort([(least / charged - share) / slopes, (1 - least / charged - share) / slopes], axis=0)
        low, high = ends[0].max(), ends[1].min()
        raise MERError(
            f"{source} cannot give a label shift of {label_shift:+.3f}: with {100 * share:.1f} % of"
            f" {charged.sum()} samples positive and splits of its sizes it can be from {low:+.3f} to {high:+.3f};"
            " ask for less, or lower --min-per-class"
        )
    shifted: Ints = shares.copy()
    for group, sizes in zip(groups, (charged - moved, moved), strict=True):
        totals = shares[group].sum(1)
        shifted[group] = _filled(totals, sizes, _reserved(totals, sizes, enough))
    return shifted


def _reserved(totals: Ints, sizes: Ints, enough: Ints) -> Ints:
    """(C, S) what each split has to get of the classes that are too rare to be shared out by the splits' sizes.

    What is put aside for a class leaves less room for others, which may become too rare by that.
    """
    reserved: Ints = np.zeros((len(totals), len(sizes)), np.int64)
    for _ in totals:
        lacking = (_filled(totals, sizes, reserved) < enough).any(1)
        if not lacking.any():
            break
        reserved = np.outer(lacking | reserved.any(1), enough)
        if (totals < reserved.sum(1)).any() or (sizes < reserved.sum(0)).any():
            break
    return reserved


def _filled(totals: Ints, sizes: Ints, reserved: Ints) -> Ints:
    """(C, S) the reserved samples, and the others in the proportions of the splits' sizes."""
    filled: Ints = reserved + allocate(totals - reserved.sum(1), (sizes - reserved.sum(0)).tolist())
    return filled
