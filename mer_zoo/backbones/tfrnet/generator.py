"""The generator of TFR-Net: the frames that a modality has lost, and how wrong they are."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.distributed import distributed_mean, global_sum
from mer_zoo.functional.moments import central_moment_discrepancy
from mer_zoo.functional.padding import left_align, undo_left_align
from mer_zoo.functional.precision import widen
from mer_zoo.functional.restoration import frame_error
from mer_zoo.layers.dropouts import NO_DROPOUTS, Dropouts
from mer_zoo.layers.sequence import zero_padding
from mer_zoo.layers.transformer import TransformerEncoder

__all__ = ["Generator", "reconstruction_loss"]

_MOMENTS = 3
_EPS = 1e-4


class Generator(nn.Module):
    """Make the frames of a modality out of what is known of it: channels attend to each other, then a linear map.

    A channel is the vector of its values at all steps, so that the length of the sequences is the width of the encoder.

    Args:
        dim: Channels of what is known.
        output_dim: Width of a frame.
        length: Largest number of steps T.
        heads: Most heads of the encoder; the largest number up to it that divides T is taken.
        depth: Its layers.
        dropouts: Its dropouts.
        over_batch: Whether each channel attends to the same channel of the samples before it in the batch, padding
            seen, as in the released code.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[True, True, False], [True] * 3])
        >>> generator = Generator(4, 2, length=6, heads=4, depth=1)
        >>> generator.heads, generator(torch.randn(2, 3, 4), mask).shape
        (3, torch.Size([2, 3, 2]))
    """

    def __init__(
        self,
        dim: int,
        output_dim: int,
        length: int,
        heads: int,
        depth: int,
        dropouts: Dropouts = NO_DROPOUTS,
        over_batch: bool = False,
    ) -> None:
        super().__init__()
        self.length, self.over_batch = length, over_batch
        self.heads = next(count for count in range(min(heads, length), 0, -1) if length % count == 0)
        self.encoder = TransformerEncoder(length, self.heads, depth, dropouts, causal=over_batch)
        self.linear = nn.Linear(dim, output_dim)

    def encode(self, x: Tensor, mask: Tensor) -> Tensor:
        """What the channels (B, T, d) say once they have seen each other, likewise (B, T, d)."""
        scale, longer = math.sqrt(self.length), x.shape[1] - self.length
        if self.over_batch:
            by_channel: Tensor = self.encoder(scale * x.permute(2, 0, 1))
            return by_channel.permute(1, 2, 0)
        aligned, _, order = left_align(zero_padding(x, mask), mask)
        channels = F.pad(aligned.transpose(1, 2), (0, -longer))
        encoded = F.pad(self.encoder(scale * channels), (0, longer)).transpose(1, 2)
        return undo_left_align(encoded, order)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Frames (B, T, D) of what is known (B, T, d), of use at real steps.

        Args:
            x: (B, T, d).
            mask: (B, T) bool, real steps.
        """
        frames: Tensor = self.linear(self.encode(x, mask))
        return frames


def reconstruction_loss(made: Tensor, frames: Tensor, lost: Tensor, similarity: float, all_rows: bool) -> Tensor:
    """Smooth-L1 error of the lost frames, and the distance of their central moments up to the third.

    Args:
        made: (B, T, D) what was generated.
        frames: (B, T, D) what it should be.
        lost: (B, T) bool, which frames are lost.
        similarity: Weight of the distance, which is divided by the number of lost values as the error is.
        all_rows: Whether the moments are those of all rows, zeros where nothing is lost; otherwise of the lost ones.

    Returns:
        Scalar, 0 where nothing is lost.

    Example:
        >>> import torch
        >>> made, lost = torch.ones(1, 2, 1), torch.tensor([[True, False]])
        >>> reconstruction_loss(made, torch.zeros(1, 2, 1), lost, similarity=0.0, all_rows=False).item()
        0.5
    """
    weights = lost.to(widen(made).dtype)
    error = distributed_mean(frame_error(made, frames), weights)
    if not similarity:
        return error
    x, y = (zero_padding(widen(each), lost).flatten(0, 1) for each in (made, frames))
    distance = central_moment_discrepancy(x, y, _MOMENTS, None if all_rows else weights.flatten())
    return error + similarity * distance / (global_sum(weights.sum() * made.shape[2]) + _EPS)
