"""Missing patterns that drop single frames and words, in each modality by itself or at the same time steps of all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.missing.drop import protected, steps
from mer_zoo.data.missing.pattern import MissingPattern, check_rate
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import dropped_at, dropped_block, uniform
from mer_zoo.options import check_choice

__all__ = ["MRMS", "RMFM", "STMFM", "TMFM", "AlignedPattern", "TraditionalRMFM"]

RandomRate = Literal["per_sample", "per_position"]
Keep = Literal["frame", "modality", "every"]
# These keep the draws of the rate, and of the modality that remains, apart from those of the positions.
RATE_KEY, MODALITY_KEY = 0x5851F42D4C957F2D, 0x14057B7EF767814F


def _counters(batch: Batch, spec: DataSpec) -> dict[str, Tensor]:
    """A number for every position of every modality in use that no other position of the sample has."""
    places = {name: place for place, name in enumerate(MODALITIES) if name in spec.modalities}
    return {name: steps(batch.modality(name)) * len(MODALITIES) + place for name, place in places.items()}


def _draws(batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
    return {name: uniform(key, batch.index, counter) for name, counter in _counters(batch, spec).items()}


class RMFM(MissingPattern):
    """Random modality frame missing: every position of every modality is missing independently.

    Args:
        rate: Probability that a position is missing; or, for training, ``per_sample`` or ``per_position``, which draw
            the rate itself, uniform in [0, 1), once a sample or anew for each position.

    Raises:
        MERError: If the rate lies outside [0, 1] or is another word.

    References:
        CIDer, Section III and appendix.

    Example:
        >>> RMFM(0.5), RMFM("per_sample")
        (RMFM(rate=0.5), RMFM(rate='per_sample'))
    """

    def __init__(self, rate: float | RandomRate) -> None:
        if isinstance(rate, str) and rate not in ("per_sample", "per_position"):
            raise MERError(f"rate is {rate!r}; give a number in [0, 1], per_sample or per_position")
        self.rate: float | RandomRate = rate if isinstance(rate, str) else check_rate(rate)

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        return {
            name: ~dropped_at(self._rate(batch, counter, key), uniform(key, batch.index, counter))
            for name, counter in _counters(batch, spec).items()
        }

    def _rate(self, batch: Batch, counter: Tensor, key: int) -> float | Tensor:
        if not isinstance(self.rate, str):
            return self.rate
        if self.rate == "per_sample":
            counter = torch.zeros_like(counter[:, :1])
        return uniform(key ^ RATE_KEY, batch.index, counter)


class TraditionalRMFM(MissingPattern):
    """Every position is missing independently, with a probability of its modality's own.

    Args:
        text: Probability that a word is missing.
        audio: Probability that an audio frame is missing.
        vision: Probability that a vision frame is missing.

    Raises:
        MERError: If a rate lies outside [0, 1].

    References:
        CIDer, appendix.

    Example:
        >>> TraditionalRMFM(text=0.2, audio=0.5, vision=1)
        TraditionalRMFM(text=0.2, audio=0.5, vision=1.0)
    """

    rate_arguments = MODALITIES

    def __init__(self, text: float, audio: float, vision: float) -> None:
        self.text, self.audio, self.vision = check_rate(text), check_rate(audio), check_rate(vision)

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        return {name: ~dropped_at(getattr(self, name), draws) for name, draws in _draws(batch, spec, key).items()}


class MRMS(MissingPattern):
    """Frames of each modality are missing at a ratio, but never all of a sample.

    Inferred: the manuscript gives the ratio and the guarantee "at least one modality remains", not the draw, nor what
    of a modality has to remain. Here positions are missing independently, as in :class:`RMFM`, and where nothing but
    [CLS] and [SEP] would be left, the position that was nearest to being kept stays.

    Args:
        ratio: Probability that a position is missing.
        keep: What remains of a sample whatever is drawn: a ``frame``, at least one position; a ``modality``, all
            positions of one that has any, drawn among these; or ``every``, of every modality at least one position.

    Raises:
        MERError: If the ratio lies outside [0, 1], or for another word.

    References:
        "Label-Guided Enhancement" (CUMDF), incompleteness simulation.

    Example:
        >>> MRMS(0.7), MRMS(0.7, keep="every")
        (MRMS(ratio=0.7), MRMS(ratio=0.7, keep='every'))
    """

    rate_arguments = ("ratio",)
    keep: Keep = "frame"

    def __init__(self, ratio: float, keep: Keep = "frame") -> None:
        check_choice("MRMS", "keep", keep, get_args(Keep))
        self.ratio = check_rate(ratio)
        if keep != "frame":  # what the pattern was before it had the option is called, and drawn, as it was
            self.keep = keep

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        free = {name: batch.modality(name).mask for name in spec.modalities}
        if "text" in free:
            free["text"] = free["text"] & ~protected(batch.text, spec)
        draws = _draws(batch, spec, key)
        if self.keep == "every":
            return {name: keep_one(self.ratio, {name: draws[name]}, {name: free[name]})[name] for name in free}
        if self.keep == "frame":
            return keep_one(self.ratio, draws, free)
        places = torch.tensor([MODALITIES.index(name) for name in free], device=batch.index.device)
        there = torch.stack([each.any(1) for each in free.values()], 1)
        chosen = uniform(key ^ MODALITY_KEY, batch.index, places).masked_fill(~there, -1.0).argmax(1)
        whole = {name: (chosen == place)[:, None] for place, name in enumerate(free)}
        return {name: ~dropped_at(self.ratio, draws[name]) | whole[name] for name in free}


def keep_one(ratio: float, draws: Mapping[str, Tensor], free: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep what its draw lets stay, and in each sample at least the position with the largest draw.

    Args:
        ratio: Probability that a position is missing.
        draws: (B, T) uniform draws of each modality.
        free: (B, T) bool of each modality, the positions that may be dropped.

    Returns:
        (B, T) bool of each modality, True where kept.

    Example:
        >>> free = {"audio": torch.ones(1, 2, dtype=torch.bool), "vision": torch.ones(1, 1, dtype=torch.bool)}
        >>> keep_one(1.0, {"audio": torch.tensor([[0.3, 0.9]]), "vision": torch.tensor([[0.5]])}, free)
        {'audio': tensor([[False,  True]]), 'vision': tensor([[False]])}
    """
    kept = {name: ~dropped_at(ratio, value) for name, value in draws.items()}
    nothing = ~torch.cat([free[name] & kept[name] for name in kept], 1).any(1, keepdim=True)
    largest = torch.cat([draws[name].masked_fill(~free[name], -1.0) for name in kept], 1).amax(1, keepdim=True)
    return {name: kept[name] | (nothing & free[name] & (draws[name] == largest)) for name in kept}


class AlignedPattern(MissingPattern, ABC):
    """Base of the patterns that drop the same time steps of all modalities, which must share a time axis.

    A step that keeps [CLS] or [SEP] in the text keeps the frames of audio and vision there too.
    """

    aligned_only = True

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        masks = {name: batch.modality(name).mask for name in spec.modalities}
        if len({mask.shape for mask in masks.values()}) > 1:
            lengths = ", ".join(f"{name} {mask.shape[1]}" for name, mask in masks.items())
            raise MERError(
                f"{self!r} needs one time axis, but this batch has steps {lengths}; trim all modalities alike"
            )
        # a step is real where any modality is: files leave out frames of words that nothing was measured for
        real = torch.stack(list(masks.values())).any(0)
        special = protected(batch.text, spec) if "text" in masks else torch.zeros_like(real)
        keep = ~self.dropped(real & ~special, real.cumsum(1).sub(1).clamp(min=0), batch.index, key)
        return dict.fromkeys(masks, keep)

    @abstractmethod
    def dropped(self, free: Tensor, step: Tensor, index: Tensor, key: int) -> Tensor:
        """Decide which time steps are dropped.

        Args:
            free: (B, T) bool, the steps that may be dropped.
            step: (B, T) int64, the number of each real step, as for :func:`mer_zoo.data.missing.drop.steps`.
            index: (B,) position of each sample in its split.
            key: From :func:`mer_zoo.data.missing.pattern.derive_key`.

        Returns:
            (B, T) bool, nowhere True but at free steps.
        """


class TMFM(AlignedPattern):
    """Temporal modality frame missing: each time step is missing independently, in all modalities at once.

    Args:
        rate: Probability that a step is missing.

    Raises:
        MERError: If the rate lies outside [0, 1]; when called, if the data is not aligned.

    References:
        CIDer, appendix.

    Example:
        >>> TMFM(0.5)
        TMFM(rate=0.5)
    """

    def __init__(self, rate: float) -> None:
        self.rate = check_rate(rate)

    @override
    def dropped(self, free: Tensor, step: Tensor, index: Tensor, key: int) -> Tensor:
        return free & dropped_at(self.rate, uniform(key, index, step))


class STMFM(AlignedPattern):
    """Structural temporal modality frame missing: one block of time steps is missing in all modalities.

    The block has round((n - 2) rate) of a sample's n steps, [CLS] and [SEP] not counted; where the text has none, n
    steps.

    Args:
        rate: Length of the block as a share of the steps that may be dropped.

    Raises:
        MERError: If the rate lies outside [0, 1]; when called, if the data is not aligned.

    References:
        CIDer, appendix.

    Example:
        >>> STMFM(0.5)
        STMFM(rate=0.5)
    """

    def __init__(self, rate: float) -> None:
        self.rate = check_rate(rate)

    @override
    def dropped(self, free: Tensor, step: Tensor, index: Tensor, key: int) -> Tensor:
        return dropped_block(self.rate, free, uniform(key, index, torch.zeros_like(index[:, None])))
