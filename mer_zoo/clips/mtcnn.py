"""Faces in a picture by three small networks, each of which looks closer at what the one before let through.

References:
    Zhang, Zhang, Li and Qiao, "Joint face detection and alignment using multi-task cascaded convolutional networks",
    IEEE Signal Processing Letters 23(10), 2016.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.ops import nms

__all__ = ["MTCNN"]

STRIDE, CELL = 2, 12  # of the first network: between its outputs, and what each sees
SMALLER = 0.709  # of the pyramid: the area halves
THRESHOLDS = (0.6, 0.7, 0.7)
CLOSER, CLOSEST = 24, 48  # pixels that the second and third network see
MOST = 400  # candidates that are looked at closer, so that a picture of noise takes no longer than others

Frame = npt.NDArray[np.uint8]


class _Stage(nn.Sequential):
    """Convolutions with pooling between them, and what they lead to; named as the published weights are.

    Args:
        widths: Channels of the convolutions.
        kernels: Their sizes.
        pools: Size of the pooling behind each, with a stride of 2; 0 for none.
        flat: Inputs and outputs of the dense layer behind them; none for a network that slides over a picture.
    """

    def __init__(
        self, widths: Sequence[int], kernels: Sequence[int], pools: Sequence[int], flat: tuple[int, int] | None = None
    ) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        before = 3
        for place, (width, kernel, pool) in enumerate(zip(widths, kernels, pools, strict=True), 1):
            parts[f"conv{place}"] = nn.Conv2d(before, width, kernel)
            parts[f"prelu{place}"] = nn.PReLU(width)
            if pool:
                parts[f"pool{place}"] = nn.MaxPool2d(pool, 2, ceil_mode=True)
            before = width
        if flat is not None:
            place = len(widths) + 1
            parts["flatten"] = _FlattenColumns()
            parts[f"dense{place}"] = nn.Linear(*flat)
            parts[f"prelu{place}"] = nn.PReLU(flat[1])
        super().__init__(parts)


class _FlattenColumns(nn.Module):
    """(N, C, H, W) to (N, W H C), the order that the published weights were trained in."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 2, 1).flatten(1)


class _Network(nn.Module):
    """A stage with its heads: whether it is a face, how the box is to be moved, and maybe where the five points are."""

    def __init__(self, stage: _Stage, heads: Sequence[tuple[str, nn.Module]]) -> None:
        super().__init__()
        for name, part in stage.named_children():
            self.add_module(name, part)
        self.names, self.heads = [name for name, _ in stage.named_children()], [name for name, _ in heads]
        for name, part in heads:
            self.add_module(name, part)

    def forward(self, x: Tensor) -> list[Tensor]:
        """The probability of a face, and the outputs of the other heads.

        Args:
            x: (N, 3, H, W) from -1 to 1.
        """
        for name in self.names:
            x = self.get_submodule(name)(x)
        is_face, *others = (self.get_submodule(name)(x) for name in self.heads)
        return [is_face.softmax(1)[:, 1], *others]


def _proposal() -> _Network:
    stage = _Stage((10, 16, 32), (3, 3, 3), (2, 0, 0))
    return _Network(stage, [("conv4_1", nn.Conv2d(32, 2, 1)), ("conv4_2", nn.Conv2d(32, 4, 1))])


def _refinement() -> _Network:
    stage = _Stage((28, 48, 64), (3, 3, 2), (3, 3, 0), (576, 128))
    return _Network(stage, [("dense5_1", nn.Linear(128, 2)), ("dense5_2", nn.Linear(128, 4))])


def _output() -> _Network:
    stage = _Stage((32, 64, 64, 128), (3, 3, 3, 2), (3, 3, 2, 0), (1152, 256))
    heads = [("dense6_1", nn.Linear(256, 2)), ("dense6_2", nn.Linear(256, 4)), ("dense6_3", nn.Linear(256, 10))]
    return _Network(stage, heads)


class MTCNN(nn.Module):
    """Proposal, refinement and output network, with random weights until others are loaded.

    Args:
        smallest: Pixels of the smallest face that is looked for.

    Example:
        >>> boxes, scores, points = MTCNN()(np.zeros((60, 80, 3), np.uint8))
        >>> boxes.shape[1], tuple(points.shape[1:])
        (4, (5, 2))
    """

    def __init__(self, smallest: int = 20) -> None:
        super().__init__()
        self.smallest = smallest
        self.proposal, self.refinement, self.output = _proposal(), _refinement(), _output()

    @torch.inference_mode()
    def forward(self, picture: Frame) -> tuple[Tensor, Tensor, Tensor]:
        """Find faces.

        Args:
            picture: (H, W, 3) red, green, blue.

        Returns:
            N boxes (N, 4) as left, top, right, bottom in pixels, their probabilities (N,) and points (N, 5, 2): the
            eyes, the nose, the corners of the mouth.
        """
        x = (torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() - 127.5) / 128
        boxes = _squares(self._propose(x))
        scores, moves = self._closer(self.refinement, x, boxes, CLOSER)
        kept = (scores > THRESHOLDS[1]).nonzero()[:, 0]
        kept = kept[nms(boxes[kept], scores[kept], 0.7)]
        boxes = _squares(_moved(boxes[kept], moves[kept]))
        scores, moves, points = self._closer(self.output, x, boxes, CLOSEST)
        kept = scores > THRESHOLDS[2]
        boxes, scores = boxes[kept], scores[kept]
        sizes = (boxes[:, 2:] - boxes[:, :2] + 1)[:, None]
        placed = boxes[:, None, :2] - 1 + sizes * points[kept].reshape(-1, 2, 5).mT
        boxes = _moved(boxes, moves[kept])
        best = _apart(boxes, scores)
        return boxes[best], scores[best], placed[best]

    def _propose(self, x: Tensor) -> Tensor:
        """(N, 4) candidates of all sizes."""
        height, width = x.shape[-2:]
        scale = CELL / self.smallest
        boxes, scores, moves = [x.new_zeros(0, 4)], [x.new_zeros(0)], [x.new_zeros(0, 4)]
        while min(height, width) * scale >= CELL:
            size = (math.floor(height * scale + 1), math.floor(width * scale + 1))
            likely, moved = self.proposal(interpolate(x, size, mode="area"))
            rows, columns = (likely[0] > THRESHOLDS[0]).nonzero(as_tuple=True)
            corner = torch.stack([columns, rows], 1) * STRIDE + 1.0
            found = torch.cat([(corner / scale).floor(), ((corner + CELL - 1) / scale).floor()], 1)
            own = likely[0, rows, columns]
            kept = nms(found, own, 0.5)
            boxes.append(found[kept])
            scores.append(own[kept])
            moves.append(moved[0, :, rows, columns].T[kept])
            scale *= SMALLER
        found = torch.cat(boxes)
        best = nms(found, torch.cat(scores), 0.7)[:MOST]
        sides = (found[:, 2:] - found[:, :2])[best]
        return found[best] + torch.cat(moves)[best] * sides.repeat(1, 2)

    @staticmethod
    def _closer(network: _Network, x: Tensor, boxes: Tensor, size: int) -> list[Tensor]:
        """What a network says of what is in the boxes, as far as they lie in the picture."""
        height, width = x.shape[-2:]
        seen = [x.new_zeros(0, 3, size, size)]
        for left, top, right, bottom in boxes.trunc().long().tolist():
            # boxes count pixels from 1 on, and hold the last
            cut = x[:, :, max(0, top - 1) : min(bottom, height), max(0, left - 1) : min(right, width)]
            seen.append(interpolate(cut, (size, size), mode="area") if cut.numel() else x.new_zeros(1, 3, size, size))
        found: list[Tensor] = network(torch.cat(seen))
        return found


def _moved(boxes: Tensor, moves: Tensor) -> Tensor:
    """Boxes with their edges moved by parts of their sides."""
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    return boxes + moves * sides.repeat(1, 2)


def _squares(boxes: Tensor) -> Tensor:
    """The squares around the middles of boxes, as long as their longer side."""
    sides = boxes[:, 2:] - boxes[:, :2]
    side = sides.amax(1, keepdim=True)
    corner = boxes[:, :2] + (sides - side) / 2
    return torch.cat([corner, corner + side], 1)


def _apart(boxes: Tensor, scores: Tensor, most: float = 0.7) -> Tensor:
    """The boxes, best first, of which none covers most of a smaller one that is better."""
    left = scores.argsort(descending=True)
    kept = []
    area = (boxes[:, 2:] - boxes[:, :2] + 1).clamp(min=0).prod(1)
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        corner = torch.maximum(boxes[best, :2], boxes[left, :2])
        other = torch.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = (other - corner + 1).clamp(min=0).prod(1)
        left = left[shared <= most * torch.minimum(area[best], area[left])]
    return torch.stack(kept) if kept else left
