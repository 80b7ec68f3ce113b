"""Restoring what an incomplete view lost: likeness of representations (SimSiam), and likeness of frames.

A suffix ``_m`` marks the view with missing frames. Every function returns one value a sample or position; what is
averaged, and over which processes, is the caller's business.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.distillation import reconstruction_error
from mer_zoo.functional.precision import widen

__all__ = ["FrameLoss", "attraction", "frame_error"]

FrameLoss = Literal["smooth_l1", "mse"]


def attraction(z: Tensor, p: Tensor, z_m: Tensor, p_m: Tensor) -> Tensor:
    r"""Symmetric attraction of two views, :math:`-\frac{1}{2} (\cos(p_m, z) + \cos(p, z_m))`; none flows to z, z_m.

    Args:
        z: (B, D) projection of the complete view.
        p: (B, D) prediction from it.
        z_m: (B, D) projection of the incomplete view.
        p_m: (B, D) prediction from it.

    Returns:
        (B,) in [-1, 1].

    References:
        Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, Equation 4.

    Example:
        >>> import torch
        >>> a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> attraction(a, b, a, a).item(), attraction(a, a, a, a).item()
        (-0.5, -1.0)
    """
    forward = F.cosine_similarity(widen(p_m), widen(z.detach()), dim=-1)
    backward = F.cosine_similarity(widen(p), widen(z_m.detach()), dim=-1)
    return -(forward + backward) / 2


def frame_error(fake: Tensor, original: Tensor, loss: FrameLoss = "smooth_l1") -> Tensor:
    """Mean error over the channels of each position.

    Args:
        fake: (B, T, D) what was made of the incomplete view.
        original: (B, T, D) what it should be.
        loss: Smooth-L1 or squared error.

    Returns:
        (B, T), at least float32.

    Example:
        >>> import torch
        >>> fake = torch.tensor([[[1.0, 3.0]]])
        >>> frame_error(fake, torch.zeros(1, 1, 2)).item(), frame_error(fake, torch.zeros(1, 1, 2), "mse").item()
        (1.5, 5.0)
    """
    if loss == "smooth_l1":
        return reconstruction_error(fake, original)
    return (widen(fake) - widen(original)).square().mean(-1)
