"""CUMDF's network: common knowledge of two modalities, label embeddings, and the attention that they guide.

Symbols: L, A, V modalities, m any of them, X' a convolved sequence, X~ an extracted one, e the label embedding, E_y its
table, B batch, T steps of the common time axis, d width, C classes. Sequences are zero at padding.

References:
    "Label-Guided Enhancement: A Distillation Framework for Uncertainty-Aware Multimodal Emotion Recognition", anonymous
    manuscript. Equation numbers are the manuscript's.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "Squash",
    "common_knowledge",
    "expected_embedding",
    "guided_attention",
    "guided_weights",
    "label_embedding",
    "masked_softmax",
    "pooled_norm",
    "with_product",
]

Squash = Literal["tanh", "tan"]


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the real steps; over all steps where none is real, so that nothing becomes NaN.

    Args:
        scores: (..., T).
        mask: Bool, broadcasts to the scores, True at real steps.

    Returns:
        (..., T).

    Example:
        >>> masked_softmax(torch.zeros(2, 2), torch.tensor([[True, False], [False, False]])).tolist()
        [[1.0, 0.0], [0.5, 0.5]]
    """
    seen = mask | ~mask.any(-1, keepdim=True)
    return scores.masked_fill(~seen, -torch.inf).softmax(-1)


def common_knowledge(x: Tensor, other: Tensor, other_mask: Tensor, squash: Squash = "tanh") -> Tensor:
    r"""What a modality has in common with another (Eqs. 3, 4).

    :math:`M = X'_L X_A'^\top`, :math:`S = \mathrm{softmax}(\tanh M)`, :math:`R = S X'_A`, result :math:`[R ; R \odot
    X'_L]`.

    Args:
        x: (B, T, d), X' of the modality.
        other: (B, S, d), X' of the other one.
        other_mask: (B, S) bool, its real steps.
        squash: ``tanh``, or ``tan`` as it is printed once, which is not bounded.

    Returns:
        (B, T, 2 d).

    Example:
        >>> x, other = torch.tensor([[[2.0]]]), torch.tensor([[[3.0], [0.0]]])
        >>> common_knowledge(x, other, torch.tensor([[True, False]])).tolist()
        [[[3.0, 6.0]]]
    """
    m = x @ other.transpose(1, 2)
    s = masked_softmax(m.tan() if squash == "tan" else m.tanh(), other_mask[:, None])
    return with_product(s @ other, x)


def with_product(r: Tensor, x: Tensor) -> Tensor:
    r"""What was found R beside its product with the X' that it was found for, :math:`[R ; R \odot X']` (Eq. 4).

    Args:
        r: (B, T, d).
        x: (B, T, d).

    Returns:
        (B, T, 2 d).

    Example:
        >>> with_product(torch.tensor([[[3.0]]]), torch.tensor([[[2.0]]])).tolist()
        [[[3.0, 6.0]]]
    """
    return torch.cat([r, r * x], -1)


def label_embedding(classes: Tensor, table: Tensor) -> Tensor:
    """Embedding of known labels, e = E_y[label] (Eq. 5).

    Args:
        classes: (B,) classes, or (B, E) of several emotions, over which the mean is taken.
        table: E_y, (C, d) or (E, C, d).

    Returns:
        (B, d).

    Example:
        >>> table = torch.tensor([[[0.0], [1.0]], [[0.0], [5.0]]])
        >>> label_embedding(torch.tensor([[1, 1], [0, 1]]), table).tolist()
        [[3.0], [2.5]]
    """
    if table.dim() == 2:
        return table[classes]
    return table[torch.arange(len(table), device=table.device), classes].mean(1)


def expected_embedding(logits: Tensor, table: Tensor) -> Tensor:
    r"""Embedding of labels that are not known, :math:`e = \sum_c p_c E_y[c]` with :math:`p = \mathrm{softmax}(z)`.

    Inferred: the manuscript does not say what stands for the label at test time.

    Args:
        logits: z, (B, C), or (B, E, C) of several emotions, over which the mean is taken.
        table: E_y, (C, d) or (E, C, d).

    Returns:
        (B, d).

    Example:
        >>> expected_embedding(torch.zeros(1, 2), torch.tensor([[1.0], [3.0]])).tolist()
        [[2.0]]
    """
    p = logits.softmax(-1)
    if table.dim() == 2:
        return p @ table
    return torch.einsum("bec,ecd->bd", p, table.to(p)) / len(table)


def guided_weights(
    e: Tensor, gate: Tensor, x_keys: Tensor, mask: Tensor, w_q: Tensor, w_k: Tensor, heads: int
) -> Tensor:
    r"""Weights with which the label attends to the steps of a modality (Eqs. 6, 7); see :func:`guided_attention`.

    Args:
        e: (B, d) label embedding.
        gate: (B, d), g.
        x_keys: (B, T, d), X~ of the modality.
        mask: (B, T) bool, real steps; the others get weight 0.
        w_q: W_Q, (d, d), rows in the order of the heads.
        w_k: W_K, likewise.
        heads: Number of heads; divides d.

    Returns:
        (B, heads, T).

    Example:
        >>> one, x, mask = torch.eye(1), torch.tensor([[[1.0], [3.0]]]), torch.ones(1, 2, dtype=torch.bool)
        >>> guided_weights(torch.zeros(1, 1), torch.ones(1, 1), x, mask, one, one, heads=1).tolist()
        [[[0.5, 0.5]]]
    """
    by_head = (heads, -1, e.shape[-1])
    q = torch.einsum("hkd,bd->bhk", w_q.view(by_head), e)
    asked = torch.einsum("bhk,hkd->bhd", q, w_k.view(by_head)) * gate[:, None]
    scores = asked @ x_keys.transpose(1, 2) * q.shape[-1] ** -0.5
    return masked_softmax(scores, mask[:, None])


def guided_attention(
    e: Tensor,
    gate: Tensor,
    x_keys: Tensor,
    x_values: Tensor,
    mask: Tensor,
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    heads: int,
) -> Tensor:
    r"""Attention of the label to two modalities, keys of one and values of the other (Eqs. 6-8).

    :math:`Z_m = \tilde{X}_m \odot g` with the gate :math:`g = W_e e + b_e`. Head h: :math:`\mathrm{softmax}((W_Q^h
    e)^\top (W_K^h Z_1)^\top / \sqrt{d_h}) \, W_V^h Z_2`; the heads' concatenation times W_0. There is one query and one
    gate a sample, so gate and projections are moved from the steps to the query and to the mixed vector: neither Z nor
    keys nor values are formed.

    Args:
        e: (B, d) label embedding.
        gate: (B, d), g.
        x_keys: (B, T, d), X~ of the first modality.
        x_values: (B, T, d), X~ of the second one.
        mask: (B, T) bool, real steps; the others get weight 0.
        weights: W_Q, W_K, W_V and W_0, each (d, d), rows in the order of the heads.
        heads: Number of heads; divides d.

    Returns:
        (B, d).

    Example:
        >>> one, x = torch.eye(1), torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> mask = torch.tensor([[True, True, False]])
        >>> guided_attention(torch.zeros(1, 1), one, x, x, mask, (one,) * 4, heads=1).item()
        2.0
    """
    w_q, w_k, w_v, w_0 = weights
    attention = guided_weights(e, gate, x_keys, mask, w_q, w_k, heads)
    mixed = attention @ x_values * gate[:, None]
    found = torch.einsum("bhd,hkd->bhk", mixed, w_v.view(heads, -1, e.shape[-1])).flatten(1)
    return found @ w_0.T


def pooled_norm(x: Tensor, gate: Tensor, update: Tensor, mask: Tensor, eps: float = 1e-5) -> Tensor:
    r"""Mean over time :math:`\frac{1}{T} \sum_t \mathrm{LayerNorm}(Z_t + u)`, :math:`Z = \tilde{X} \odot g` (Eq. 9).

    Gate and update are the same at every step, so the moments of each sum, and then the mean, are products of X~ with a
    few vectors: no normalised sequence is formed. Gain and shift of the LayerNorm are left to the caller, who applies
    them to the mean.

    Args:
        x: (B, T, d), X~.
        gate: (B, d), g.
        update: (B, d), u.
        mask: (B, T) bool, real steps.
        eps: Added to the variance.

    Returns:
        (B, d), at least float32; zeros where no step is real.

    Example:
        >>> x, mask = torch.tensor([[[1.0, 3.0], [9.0, 0.0]]]), torch.tensor([[True, False]])
        >>> pooled_norm(x, torch.ones(1, 2), torch.zeros(1, 2), mask).round(decimals=3).tolist()
        [[-1.0, 1.0]]
    """
    kind = torch.promote_types(x.dtype, torch.float32)  # differences of moments need the digits
    x, gate, update = x.to(kind), gate.to(kind), update.to(kind)
    with torch.autocast(x.device.type, enabled=False):
        d = x.shape[-1]
        mean = (x @ gate[..., None]).squeeze(-1) / d + update.mean(-1, keepdim=True)
        cross = (x @ (gate * update)[..., None]).squeeze(-1)
        square = (x.square() @ gate.square()[..., None]).squeeze(-1)
        second = (square + 2 * cross) / d + update.square().mean(-1, keepdim=True)
        scale = torch.rsqrt((second - mean.square()).clamp(min=0) + eps) * mask / mask.sum(1, keepdim=True).clamp(min=1)
        pooled = gate * (scale[:, None] @ x).squeeze(1)
        result: Tensor = pooled + update * scale.sum(1, keepdim=True) - (scale * mean).sum(1, keepdim=True)
        return result
