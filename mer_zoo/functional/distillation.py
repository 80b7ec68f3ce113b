"""MSSD's mathematics: how far what a network makes of an incomplete view is from what it makes of the complete one.

Symbols: a tilde (``h_tilde``) marks what comes of the incomplete view, the plain symbol what comes of the complete one. Every function
returns one value a sample, position or score matrix; what is to be averaged, and over which processes, is the caller's business.

References:
    Zhong et al., "Towards Robust Multimodal Emotion Recognition under Missing Modalities and Distribution Shifts", 2025,
    Equations 17-19.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

__all__ = ["attention_divergence", "joint_distance", "reconstruction_error"]

# Elements handled at once: on a CPU the few temporaries then stay in its cache, on a GPU they are small beside the scores.
_CHUNK = {"cpu": 2**17}
_LARGE_CHUNK = 2**24


def reconstruction_error(fake: Tensor, original: Tensor) -> Tensor:
    r"""Smooth-L1 distance, :math:`\frac{1}{d} \sum_k \ell(\tilde{x}_{tk} - x_{tk})`, of every position.

    :math:`\ell(u) = u^2 / 2` where :math:`|u| < 1`, else :math:`|u| - 1/2`.

    Args:
        fake: (B, T, d) what a decoder makes of the incomplete view.
        original: (B, T, d) what it should be.

    Returns:
        (B, T), at least float32.

    Example:
        >>> reconstruction_error(torch.tensor([[[0.5, 3.0]]]), torch.zeros(1, 1, 2)).item()
        1.3125
    """
    return F.smooth_l1_loss(_wide(fake), _wide(original), reduction="none").mean(-1)


def joint_distance(h_tilde: Tensor, h: Tensor) -> Tensor:
    r"""Cosine distance :math:`1 - \cos(\tilde{h}, h)` of joint representations; no gradient flows to ``h``.

    Args:
        h_tilde: (B, D), of the incomplete view.
        h: (B, D), of the complete view.

    Returns:
        (B,) in [0, 2], at least float32.

    Example:
        >>> joint_distance(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])).tolist()
        [0.0, 1.0]
    """
    return 1 - F.cosine_similarity(_wide(h_tilde), _wide(h.detach()), dim=-1)


def attention_divergence(s_tilde: Tensor, s: Tensor) -> Tensor:
    r"""Divergence of attention, :math:`\sum_i KL(softmax(S_i) \,\|\, softmax(\tilde{S}_i))` over the rows i of a score matrix.

    No gradient flows to ``s``. The gradient for ``s_tilde``, :math:`softmax(\tilde{S}_i) - softmax(S_i)`, is found on the way, so that
    beside the scores only one tensor of their size is kept.

    Args:
        s_tilde: (N, T, T) scores before the softmax, of the incomplete view; finite, a hidden key has a large negative one.
        s: (N, T, T), of the complete view.

    Returns:
        (N,), at least float32.

    Example:
        >>> same = torch.randn(4, 3, 3)
        >>> attention_divergence(same + 1, same).abs().max() < 1e-5
        tensor(True)
    """
    result: Tensor = _RowDivergence.apply(s_tilde, s.detach())
    return result


class _RowDivergence(torch.autograd.Function):
    """The divergence with its gradient, a few matrices at a time."""

    @staticmethod
    @override
    def forward(ctx: Any, s_tilde: Tensor, s: Tensor) -> Tensor:
        result = s_tilde.new_empty(len(s_tilde), dtype=_wide_type(s_tilde))
        gradient = torch.empty_like(s_tilde) if ctx.needs_input_grad[0] else None
        limit = _CHUNK.get(s_tilde.device.type, _LARGE_CHUNK)
        size = max(limit // max(s_tilde[0].numel(), 1), 1) if len(s_tilde) else 1
        for start in range(0, len(s_tilde), size):
            part = slice(start, start + size)
            log_q = F.log_softmax(_wide(s_tilde[part]), -1)
            log_p = F.log_softmax(_wide(s[part]), -1)
            p = log_p.exp()
            result[part] = log_p.sub_(log_q).mul_(p).sum((1, 2))
            if gradient is not None:
                gradient[part] = log_q.exp_().sub_(p)
        ctx.save_for_backward(gradient)
        return result

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grad[:, None, None]).to(gradient.dtype), None


def _wide_type(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _wide(x: Tensor) -> Tensor:
    """At least float32: half precision loses the small differences that are measured here."""
    return x.to(_wide_type(x))
