"""Missing patterns that draw, for every sample by itself, a set of modalities which it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.missing.pattern import AVAILABILITY, MissingPattern, check_rate
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import dropped_at, uniform

__all__ = ["AtLeastOne", "BatchSMM", "BatchShares", "DropBy", "RandomSMM", "draw_sets"]

DropBy = Literal["samples", "batches"]
CHOICE_KEY = 0x1B873593CC9E2D51  # keeps the draw of the set apart from the draw of whether there is one
# For a rate in tenths: of ten batches so many keep one modality, and so many two.
SHARES: dict[float, tuple[int, int]] = {
    0: (0, 0),
    1: (1, 1),
    2: (2, 2),
    3: (3, 3),
    4: (5, 2),
    5: (7, 1),
    6: (9, 0),
    7: (10, 0),
}


def draw_sets(key: int, index: Tensor, sets: Sequence[Sequence[bool]]) -> Tensor:
    """Draw one of several sets for each sample, all with the same probability.

    Args:
        key: From :func:`mer_zoo.data.missing.pattern.derive_key`.
        index: (B,) position of each sample in its split.
        sets: For each set whether it has each of n things.

    Returns:
        (B, n) bool, what the sample's set has.

    Example:
        >>> draw_sets(7, torch.arange(6), [[True, False], [False, True]]).sum(1).tolist()
        [1, 1, 1, 1, 1, 1]
    """
    draw = uniform(key, index, torch.zeros(1, dtype=torch.long, device=index.device)).squeeze(1)
    choice = (draw * len(sets)).long().clamp(max=len(sets) - 1)
    return torch.tensor(sets, device=index.device)[choice]


class RandomSMM(MissingPattern):
    """Whole modalities are missing, in a share of the samples: those keep one of the incomplete sets, drawn uniformly.

    Of three modalities there are six such sets; at least one modality stays.

    Args:
        rate: Share of the samples that lose something.

    Raises:
        MERError: If the rate lies outside [0, 1]; when called, if there is only one modality.

    References:
        Guo, Jin, Zhao, "Multimodal Prompt Learning with Missing Modalities for Sentiment Analysis and Emotion
        Recognition", ACL 2024.

    Example:
        >>> RandomSMM(0.7)
        RandomSMM(rate=0.7)
    """

    def __init__(self, rate: float) -> None:
        self.rate = check_rate(rate)

    @override
    def check(self, spec: DataSpec) -> None:
        _check_several(self, spec)

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        used = spec.modalities
        sets = [[name in kept for name in used] for kept in AVAILABILITY if set(kept) < set(used)]
        start = torch.zeros(1, dtype=torch.long, device=batch.index.device)
        complete = ~dropped_at(self.rate, uniform(key, batch.index, start))
        keep = draw_sets(key ^ CHOICE_KEY, batch.index, sets) | complete
        return {name: keep[:, [i]] for i, name in enumerate(used)}


class AtLeastOne(MissingPattern):
    """Whole modalities are missing at random, but each sample keeps one, whose draw is uniform.

    Of n modalities each of the others is missing with probability n rate / (n - 1), so that the rate is the share of
    all modalities of all samples that is missing. It can be no larger than (n - 1) / n, where each sample keeps exactly
    one: a larger rate, such as the 0.7 of the papers for three modalities, is that.

    Args:
        rate: Share of what is missing.

    Raises:
        MERError: If the rate lies outside [0, 1]; when called, if there is only one modality.

    References:
        Lian, Chen, Sun, Liu, Tao, "GCNet: Graph Completion Network for Incomplete Multimodal Learning in
        Conversation", IEEE TPAMI 2023. Its code draws for a whole split or batch until the share is met to 0.005; here
        each sample is drawn by itself, and the share holds in expectation.

    Example:
        >>> AtLeastOne(0.7)
        AtLeastOne(rate=0.7)
    """

    def __init__(self, rate: float) -> None:
        self.rate = check_rate(rate)

    @override
    def check(self, spec: DataSpec) -> None:
        _check_several(self, spec)

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        used = spec.modalities
        one = draw_sets(key ^ CHOICE_KEY, batch.index, [[name == kept for name in used] for kept in used])
        places = torch.tensor([MODALITIES.index(name) for name in used], device=batch.index.device)
        share = min(1.0, self.rate * len(used) / (len(used) - 1))
        keep = one | ~dropped_at(share, uniform(key, batch.index, places))
        return {name: keep[:, [i]] for i, name in enumerate(used)}


def _check_several(pattern: MissingPattern, spec: DataSpec) -> None:
    if len(spec.modalities) < 2:
        raise MERError(
            f"{pattern!r} takes some of several modalities away, but the data is used with {spec.modalities[0]} only"
        )


class BatchSMM(MissingPattern):
    """The same whole modalities are missing in all samples of a batch; which ones stay is drawn, all with equal chance.

    Args:
        number: How many stay.

    Raises:
        MERError: If none is to stay; when called, if the data has fewer.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> batch = Batch.random(DataSpec(), SentimentRegression(), size=3)
        >>> view = BatchSMM(1)(batch, DataSpec(), key=5)
        >>> sum(bool(view.modality(name).observed.any()) for name in DataSpec().modalities)
        1
    """

    rate_arguments = ()

    def __init__(self, number: int) -> None:
        if number < 1:
            raise MERError(f"number of modalities that stay is {number}, but must be at least 1")
        self.number = number

    @override
    def check(self, spec: DataSpec) -> None:
        if len(spec.modalities) < self.number:
            raise MERError(f"{self!r} keeps more modalities than the {', '.join(spec.modalities)} of the data")

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        sets = [[name in chosen for name in spec.modalities] for chosen in combinations(spec.modalities, self.number)]
        first = torch.zeros(1, dtype=torch.long, device=batch.index.device)
        keep = draw_sets(key, first, sets)
        return {name: keep[:, [i]] for i, name in enumerate(spec.modalities)}


class BatchShares:
    """How many modalities the batches of an epoch keep by the code of DiCMoR and IMDer: first one, then two, then all.

    The shares add up to the rate for a number of batches that ten divides, see ``SHARES``; other numbers are rounded to
    one, of five or fewer nothing is missing, and what is met differs from the rate.

    Args:
        rate: 0, or one of 0.1, 0.2, ... 0.7.

    Raises:
        MERError: For another rate; when called, if the number of batches is not known.

    References:
        Wang, Cui, Li, "Distribution-Consistent Modal Recovering for Incomplete Multimodal Learning", ICCV 2023, the
        authors' code.

    Example:
        >>> shares = BatchShares(0.4)
        >>> shares.batches = 10
        >>> [shares.kept(number) for number in range(10)]
        [1, 1, 1, 1, 1, 2, 2, 3, 3, 3]
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.batches = check_rate(rate), 0
        if round(10 * rate, 6) not in SHARES:
            raise MERError(f"drop_rate is {rate}, but shares of batches are given for 0, 0.1, 0.2, ... 0.7; choose one")

    def kept(self, number: int) -> int:
        """How many modalities the batch of a number keeps, counted over epochs."""
        ones, twos = (tenths * round(self.batches / 10) for tenths in SHARES[round(10 * self.rate, 6)])
        place = number % self.batches
        return 1 if place < ones else 2 if place < ones + twos else 3

    def __repr__(self) -> str:
        return f"BatchShares(rate={self.rate})"

    def __call__(self, number: int) -> MissingPattern:
        """What is missing in the batch of a number."""
        if not self.batches:
            raise MERError("the number of batches of an epoch is not known yet; fit the model, or call prepare")
        return BatchSMM(self.kept(number))
