"""MSSD's mathematics: how far what a network makes of an incomplete view is from what it makes of the complete one.

Symbols: a tilde (``h_tilde``) marks what comes of the incomplete view, the plain symbol what comes of the complete one.
Every function returns one value a sample, position or score matrix; what is to be averaged, and over which processes,
is the caller's business.

References:
    Zhong et al., "Towards Robust Multimodal Emotion Recognition under Missing Modalities and Distribution Shifts",
    2025, Equations 17-19.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from mer_zoo.functional.precision import widen
from mer_zoo.functional.variants import Variant

__all__ = ["attention_divergence", "joint_distance", "reconstruction_error"]

# Elements handled at once: on a CPU the few temporaries then stay in its cache, on a GPU they are small beside the
# scores.
_CHUNK = {"cpu": 2**17}
_LARGE_CHUNK = 2**24
_LOG2_E = math.log2(math.e)


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
    return F.smooth_l1_loss(widen(fake), widen(original), reduction="none").mean(-1)


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
    return 1 - F.cosine_similarity(widen(h_tilde), widen(h.detach()), dim=-1)


def attention_divergence(s_tilde: Tensor, s: Tensor, variant: Variant = "released") -> Tensor:
    r"""Divergence of attention, a sum over the rows i of scores (Eq. 18).

    With p = softmax(S_i) and p~ = softmax(S~_i), ``paper`` is :math:`KL(\tilde{p} \,\|\, p) = \sum_j \tilde{p}_j \log
    (\tilde{p}_j / p_j)`, ``released`` :math:`KL(p \,\|\, \tilde{p}) = \sum_j p_j \log (p_j / \tilde{p}_j)`.

    No gradient flows to ``s``. That of ``released`` for ``s_tilde``, :math:`\tilde{p} - p`, is computed anew in the
    backward pass, so that beside the scores no tensor of their size is kept. It cannot be differentiated a second time.

    Args:
        s_tilde: (N, T, T) scores before the softmax, of the incomplete view; finite, a hidden key has a large negative
            one.
        s: (N, T, T), of the complete view.
        variant: Which of the two.

    Returns:
        (N,), at least float32.

    Example:
        >>> same = torch.randn(4, 3, 3)
        >>> attention_divergence(same + 1, same).abs().max() < 1e-5
        tensor(True)
    """
    if variant == "paper":
        log_p_tilde, log_p = widen(s_tilde).log_softmax(-1), widen(s.detach()).log_softmax(-1)
        return (log_p_tilde.exp() * (log_p_tilde - log_p)).sum((1, 2))
    result: Tensor = _RowDivergence.apply(s_tilde, s.detach())
    return result


class _RowDivergence(torch.autograd.Function):
    """The divergence and its gradient, a few matrices at a time; in powers of two, which are faster than those of e."""

    @staticmethod
    @override
    def forward(ctx: Any, s_tilde: Tensor, s: Tensor) -> Tensor:
        result = s_tilde.new_empty(len(s_tilde), dtype=_wide_type(s_tilde))
        maxima, totals = result.new_empty(2, 2, *s_tilde.shape[:2], 1)
        for part in _parts(s_tilde):
            for i, x in enumerate((s_tilde[part], s[part])):
                maxima[i, part] = x.amax(-1, keepdim=True)
                powers = _powers(x, maxima[i, part])
                totals[i, part] = powers.sum(-1, keepdim=True)
            # sum_j p_j (S_j - S~_j) + logsumexp S~ - logsumexp S
            distance = (widen(s[part]) - widen(s_tilde[part])).mul_(powers).sum(-1, keepdim=True) / totals[1, part]
            distance += maxima[0, part] - maxima[1, part] + (totals[0, part] / totals[1, part]).log()
            result[part] = distance.sum((1, 2))
        ctx.save_for_backward(s_tilde, s, maxima, totals)
        return result

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        s_tilde, s, maxima, totals = ctx.saved_tensors
        result, factors = torch.empty_like(s_tilde), grad[:, None, None] / totals
        for part in _parts(s_tilde):
            p_tilde, p = (_powers(x[part], maxima[i, part]).mul_(factors[i, part]) for i, x in enumerate((s_tilde, s)))
            torch.sub(p_tilde, p, out=result[part])
        return result, None


def _parts(s: Tensor) -> Iterator[slice]:
    """Matrices to be handled at once."""
    size = max(_CHUNK.get(s.device.type, _LARGE_CHUNK) // max(s.shape[1] * s.shape[2], 1), 1)
    for start in range(0, len(s), size):
        yield slice(start, start + size)


def _powers(s: Tensor, maxima: Tensor) -> Tensor:
    """exp(S - m)."""
    return (s - maxima).mul_(_LOG2_E).exp2_()


def _wide_type(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
