"""Were scalers or vocabularies fitted on what is tested on?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt

from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material
from mer_zoo.data.survey.moments import Moments

__all__ = ["check_scaling", "check_vocabulary"]

EXACT = 2e-3  # of a deviation
MOST, FEW = 0.9, 0.5  # shares of the columns
FEWEST_COLUMNS, FEWEST_WORDS = 3, 5
DENSE = 0.98
Array = npt.NDArray[np.float64]


def check_scaling(material: Material) -> Iterator[Finding | NotChecked]:
    """Find features that are standardised, or brought between two bounds, by what is not training data alone.

    Args:
        material: The corpus.
    """
    if "train" not in material.parts or len(material.parts) < 2:
        yield NotChecked("whether features were scaled by test data", "it takes a train split and another one")
        return
    for kind in material.modalities:
        moments = {name: part.features[kind].moments for name, part in material.parts.items() if kind in part.features}
        tests = [name for name in moments if name.startswith("test")]
        if "train" not in moments or not tests:
            continue
        whole = reduce(add, moments.values())
        for how, share in (("standardised", _standardised), ("brought between two bounds", _bounded)):
            train, every = share(moments["train"]), share(whole)
            tested = [share(moments[name]) for name in tests]
            if train is None or every is None or None in tested:
                continue
            own = min(float(one or 0) for one in tested)
            evidence: dict[str, float | int | str] = {"modality": kind, "train": train, "all": every, "test": own}
            if train < FEW and every >= MOST:
                told = f"{kind} is {how} by all splits together: that holds of {100 * every:.0f} % of its columns over"
                yield Finding(
                    "scaled-by-test",
                    "leak",
                    f"{told} all samples, and of {100 * train:.0f} % over those of train",
                    f"scale {kind} by the mean and deviation, or the bounds, of train alone",
                    evidence,
                )
            elif own >= MOST and how == "standardised" and not _by_sample(material, kind, tests):
                yield Finding(
                    "scaled-by-test",
                    "warning",
                    f"{kind} of {', '.join(tests)} is {how} by itself, in {100 * own:.0f} % of its columns: the test"
                    " split, or each of its recordings, was looked at as a whole",
                    f"scale {kind} of every split by the mean and deviation of train",
                    evidence,
                )


def _by_sample(material: Material, kind: str, tests: Sequence[str]) -> bool:
    """Whether each sample is standardised alone, which looks at no other."""
    means = [np.abs(material.parts[name].features[kind].pooled["mean"]) <= EXACT for name in tests]
    return bool(np.concatenate(means).mean() >= MOST)


def _standardised(moments: Moments) -> float | None:
    """Share of the columns that vary whose mean is 0 and whose deviation is 1."""
    deviation = moments.deviation
    varies = moments.values & (deviation > 0)
    if varies.sum() < FEWEST_COLUMNS or moments.count < 10:
        return None
    exact = (np.abs(moments.mean) <= EXACT) & (np.abs(deviation - 1) <= EXACT)
    return float(exact[varies].mean())


def _bounded(moments: Moments) -> float | None:
    """Share of the columns that vary whose least and largest values are 0 and 1, or -1 and 1, exactly."""
    varies = moments.values
    if varies.sum() < FEWEST_COLUMNS or moments.count < 10:
        return None
    top = np.abs(moments.high - 1) <= 1e-5
    shares = [(top & (np.abs(moments.low - bottom) <= 1e-5))[varies].mean() for bottom in (0.0, -1.0)]
    return float(max(shares))


def check_vocabulary(material: Material) -> Iterator[Finding | NotChecked]:
    """Find token ids that were given out in the order of a vocabulary which test texts had a part in.

    Args:
        material: The corpus.
    """
    tokens = {name: part.draft.tokens for name, part in material.parts.items() if part.draft.tokens is not None}
    tests = [name for name in tokens if name.startswith("test")]
    if "train" not in tokens or not tests:
        if not tokens:
            yield NotChecked("whether a vocabulary was made with test texts", "there are no token ids")
        return
    size = 1 + max(int(own.max()) for own in tokens.values())
    counts = {name: np.bincount(own.reshape(-1), minlength=size) for name, own in tokens.items()}
    whole, train = sum(counts.values(), np.zeros(size, np.int64)), counts["train"]
    used = np.flatnonzero(whole)
    tested = sum((counts[name] for name in tests), np.zeros(size, np.int64))
    only = np.flatnonzero((tested > 0) & (whole == tested))
    regular = used[used > _specials(train)]
    if len(only) < FEWEST_WORDS or len(regular) < DENSE * (regular[-1] - regular[0] + 1):
        return  # no vocabulary of this corpus alone
    highest = int(np.flatnonzero(train).max())
    above = int((only > highest).sum())
    falling = bool((np.diff(whole[regular]) <= 0).all()) and not bool((np.diff(train[regular]) <= 0).all())
    if above >= DENSE * len(only) or falling:
        how = "by frequency in all splits together" if falling else "behind those of train"
        yield Finding(
            "vocabulary-of-test",
            "leak",
            f"{len(only)} of {len(regular)} token ids are of words that only test splits have, and they are numbered"
            f" {how}: the vocabulary was made with test texts",
            "make the vocabulary of train alone, and give all other words the id of unknown ones",
            {"only_test": len(only), "ids": len(regular), "by_frequency": int(falling)},
        )


def _specials(counts: npt.NDArray[np.int64]) -> int:
    """The last id of a short beginning that is no word: padding, and what begins and ends a text."""
    start = counts[:8]
    return int(np.argmax(start)) if len(start) and start.max() > counts[8:].max(initial=0) else -1
