"""Pictures without weights, in numpy: brightness, contrast and movement of the cells of a grid, and colour."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["DIM", "describe_frame"]

CELLS = 4
DIM = 3 * CELLS**2 + 2
FLOOR = 1e-3

Array = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]


def describe_frame(frame: Frame, before: Frame | None = None) -> Array:
    """Describe a frame, and how it differs from the one before.

    Args:
        frame: (H, W, 3) red, green, blue; H and W divisible by 4.
        before: The frame before, if there is one.

    Returns:
        (50,): of 4 x 4 cells the brightness (0 to 1), the logarithm of its deviation, the logarithm of the mean change;
        then how blue and how red the whole is. The logarithms keep a black picture apart from none.

    Example:
        >>> black = np.zeros((8, 8, 3), np.uint8)
        >>> described = describe_frame(black)
        >>> described.shape, described[0].item(), round(described[16].item(), 1)
        ((50,), 0.0, -6.9)
    """
    x = frame.astype(np.float32) / 255
    luma = _luma(frame)
    past = luma if before is None else _luma(before)
    cells, change = _cells(luma), _cells(np.abs(luma - past))
    parts = [cells.mean(-1), np.log(cells.std(-1) + FLOOR), np.log(change.mean(-1) + FLOOR)]
    colour = [(x[..., channel] - luma).mean() for channel in (2, 0)]
    described: Array = np.concatenate([*parts, colour]).astype(np.float32)
    return described


def _luma(frame: Frame) -> Array:
    luma: Array = (frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)) / np.float32(255)
    return luma


def _cells(x: Array) -> Array:
    """(H, W) as (16, pixels of a cell)."""
    height, width = x.shape[0] // CELLS, x.shape[1] // CELLS
    parted: Array = x.reshape(CELLS, height, CELLS, width).swapaxes(1, 2).reshape(CELLS**2, -1)
    return parted
