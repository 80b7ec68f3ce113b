"""Composite attention of CIDer: one score matrix, a softmax of its own for every combination of modalities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.layers.dropout import dropout

__all__ = ["HIDDEN_SCORE", "composite_attention", "composite_blocks"]

HIDDEN_SCORE = -1e9  # finite, so that a softmax and a divergence over hidden entries stay free of NaN


def composite_blocks(letters: Iterable[str]) -> list[str]:
    """Names of all combinations of modalities, the largest first.

    Args:
        letters: One letter a modality, in the order of their sequences.

    Example:
        >>> composite_blocks("lav"), composite_blocks("la"), composite_blocks("v")
        (['lav', 'la', 'lv', 'av', 'l', 'a', 'v'], ['la', 'l', 'a'], ['v'])
    """
    given = list(letters)
    return ["".join(block) for size in range(len(given), 0, -1) for block in combinations(given, size)]


def composite_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Mapping[str, int],
    dropout_p: float = 0.0,
    key_mask: Tensor | None = None,
    return_scores: bool = False,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Attend within every combination of modalities of one concatenated sequence.

    With S = q k^T / sqrt(d), the output of a block such as "la" is softmax(S[la, la]) v[la]: rows and columns of the other
    modalities are left out.

    Args:
        q: (B, heads, T, d) queries, not scaled yet.
        k: (B, heads, T, d) keys.
        v: (B, heads, T, d) values.
        lengths: Letter of each modality to its number of steps, in the order of concatenation; they sum to T.
        dropout_p: Probability of dropping an attention weight, in the block of all modalities only; pass 0 in evaluation.
        key_mask: (B, T) bool, True at real steps; None if all are. Padding is seen by nobody; a block without a real step
            gives zeros.
        return_scores: Whether S is wanted.

    Returns:
        Block name to its output (B, heads, T_block, d), in the order of :func:`composite_blocks`; and S (B * heads, T, T) in
        float32, row b * heads + h, or None. In S, the rows and columns of padding hold ``HIDDEN_SCORE`` throughout.

    References:
        Zhong et al., "Towards Robust Multimodal Emotion Recognition under Missing Modalities and Distribution Shifts", 2025,
        Equations 7-11.

    Example:
        >>> x = torch.randn(2, 4, 8, 5)
        >>> blocks, scores = composite_attention(x, x, x, {"l": 5, "a": 3}, return_scores=True)
        >>> {name: tuple(block.shape) for name, block in blocks.items()}, scores.shape
        ({'la': (2, 4, 8, 5), 'l': (2, 4, 5, 5), 'a': (2, 4, 3, 5)}, torch.Size([8, 8, 8]))
    """
    spans: dict[str, tuple[int, int]] = {}
    start = 0
    for letter, length in lengths.items():
        spans[letter] = (start, length)
        start += length
    with torch.autocast(q.device.type, enabled=False):  # half precision is too coarse for what enters an exponential
        scores = (q.float() * q.shape[-1] ** -0.5) @ k.float().transpose(-1, -2)
    if key_mask is not None:
        real = key_mask[:, None, :, None] & key_mask[:, None, None]
        scores = scores.masked_fill(~real, HIDDEN_SCORE)
    outputs: dict[str, Tensor] = {}
    for block in composite_blocks(lengths):
        weights = F.softmax(_keep(_keep(scores, block, spans, 2), block, spans, 3), -1)
        if len(block) == len(lengths):
            weights = dropout(weights, dropout_p)
        outputs[block] = weights.to(v.dtype) @ _keep(v, block, spans, 2)
        if key_mask is not None:
            outputs[block] = outputs[block] * _keep(key_mask, block, spans, 1)[:, None, :, None]
    return outputs, scores.flatten(0, 1) if return_scores else None


def _keep(x: Tensor, block: str, spans: Mapping[str, tuple[int, int]], dim: int) -> Tensor:
    """The steps of a block's modalities along one dimension."""
    parts = [x.narrow(dim, *spans[letter]) for letter in block]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)
