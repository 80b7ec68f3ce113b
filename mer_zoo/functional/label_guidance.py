"""CUMDF's network: common knowledge of two modalities, label embeddings, and the attention that they guide.

Symbols: L, A, V modalities, m any of them, X' a convolved sequence, X~ an extracted one, e the label embedding, E_y its table, B batch,
T steps of the common time axis, d width, C classes. Sequences are zero at padding.

References:
    "Label-Guided Enhancement: A Distillation Framework for Uncertainty-Aware Multimodal Emotion Recognition", anonymous
    manuscript. Equation numbers are the manuscript's.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["common_knowledge", "expected_embedding", "guide", "guided_attention", "label_embedding", "masked_softmax"]


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


def common_knowledge(x: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
    r"""What a modality has in common with another (Eq. 3).

    :math:`M = X'_L X_A'^\top`, :math:`S = \mathrm{softmax}(\tanh M)`, :math:`R = S X'_A`, result :math:`[R ; R \odot X'_L]`.

    Args:
        x: (B, T, d), X' of the modality.
        other: (B, S, d), X' of the other one.
        other_mask: (B, S) bool, its real steps.

    Returns:
        (B, T, 2 d).

    Example:
        >>> x, other = torch.tensor([[[2.0]]]), torch.tensor([[[3.0], [0.0]]])
        >>> common_knowledge(x, other, torch.tensor([[True, False]])).tolist()
        [[[3.0, 6.0]]]
    """
    m = x @ other.transpose(1, 2)
    s = masked_softmax(m.tanh(), other_mask[:, None])
    r = s @ other
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


def guide(x: Tensor, e: Tensor, w_e: Tensor, b_e: Tensor) -> Tensor:
    r"""Let the label choose the channels, :math:`Z = \tilde{X} \odot (W_e e + b_e)` at every step (Eq. 6).

    Args:
        x: (B, T, d), X~.
        e: (B, d).
        w_e: (d, d).
        b_e: (d,).

    Returns:
        (B, T, d).

    Example:
        >>> guide(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[3.0]]), torch.eye(1), torch.ones(1)).tolist()
        [[[4.0], [8.0]]]
    """
    return x * torch.nn.functional.linear(e, w_e, b_e)[:, None]


def guided_attention(
    e: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
    weights: tuple[Tensor, Tensor, Tensor, Tensor],
    heads: int,
) -> Tensor:
    r"""Attention of the label to two modalities, keys of one and values of the other (Eqs. 7, 8).

    Head h: :math:`\mathrm{softmax}((W_Q^h e)^\top (W_K^h Z_1)^\top / \sqrt{d_h}) \, W_V^h Z_2`; the heads' concatenation times W_0. There is
    one query only, so the projections are moved from the steps to it and to the mixed vector: T d^2 products become d^2.

    Args:
        e: (B, d) label embedding.
        keys: (B, T, d), Z of the first modality.
        values: (B, T, d), Z of the second one.
        mask: (B, T) bool, real steps; the others get weight 0.
        weights: W_Q, W_K, W_V and W_0, each (d, d), rows in the order of the heads.
        heads: Number of heads; divides d.

    Returns:
        (B, d).

    Example:
        >>> one, z = torch.eye(1), torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> guided_attention(torch.zeros(1, 1), z, z, torch.tensor([[True, True, False]]), (one,) * 4, heads=1).item()
        2.0
    """
    w_q, w_k, w_v, w_0 = weights
    by_head = (heads, -1, e.shape[-1])
    q = torch.einsum("hkd,bd->bhk", w_q.view(by_head), e)
    asked = torch.einsum("bhk,hkd->bhd", q, w_k.view(by_head))
    scores = asked @ keys.transpose(1, 2) * q.shape[-1] ** -0.5
    mixed = masked_softmax(scores, mask[:, None]) @ values
    found = torch.einsum("bhd,hkd->bhk", mixed, w_v.view(by_head)).flatten(1)
    return found @ w_0.T
