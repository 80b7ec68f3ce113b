"""LG-MMT, CUMDF's label-guided multimodal masked transformer, and the common time axis that it needs.

What the manuscript leaves open is inferred: where the label comes from when it is not known (:class:`LabelGuidance`),
that each pair of modalities has an attention of its own while W_e is shared, that the feed-forward part is four times
as wide, and that b_e starts at 1, so that the sequences pass unchanged but for what the label adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.functional.label_guidance import (
    expected_embedding,
    guided_attention,
    guided_weights,
    label_embedding,
    pooled_norm,
)
from mer_zoo.functional.precision import match_type
from mer_zoo.layers.sequence import masked_mean, masked_resample
from mer_zoo.task import Task

__all__ = ["LGMMT", "LabelGuidance", "common_axis", "common_mask", "label_classes", "label_shape"]


def label_shape(task: Task) -> tuple[int, ...]:
    """Shape of the embedded labels: the task's, or seven rounded scores for a single-output regression (inferred).

    Example:
        >>> from mer_zoo.task import EmotionDetection, SentimentRegression
        >>> label_shape(EmotionDetection()), label_shape(SentimentRegression())
        ((4, 2), (7,))
    """
    return task.graded_shape


def label_classes(task: Task, target: Tensor) -> Tensor:
    """Classes (B,) or (B, E) of the labels as they stand in a Batch; see :func:`label_shape`.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> label_classes(SentimentRegression(), torch.tensor([-3.0, 0.4])).tolist()
        [0, 3]
    """
    return task.grades(target)


def common_mask(masks: Mapping[str, Tensor], aligned: bool) -> Tensor:
    """Real steps of the time axis on which all modalities are brought: the first one's, that is the text's.

    On aligned data a step is real if any modality is real there. On others, a sample with nothing in the first modality
    has one step, so that what the others say is not lost.

    Args:
        masks: (B, T_m) bool of each modality.
        aligned: Whether the modalities share one time axis.

    Returns:
        (B, T) bool.

    Example:
        >>> text, audio = torch.tensor([[True, False], [False, False]]), torch.ones(2, 3, dtype=torch.bool)
        >>> common_mask({"text": text, "audio": audio}, aligned=False).tolist()
        [[True, False], [True, False]]
    """
    first, *others = masks.values()
    if aligned and all(mask.shape == first.shape for mask in others):
        return torch.stack([first, *others]).any(0)
    rest = torch.cat(others, 1).any(1, keepdim=True)
    start = torch.arange(first.shape[1], device=first.device) == 0
    return first | (~first.any(1, keepdim=True) & rest & start)


def common_axis(
    sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor], target: Tensor, shared: Sequence[str]
) -> dict[str, Tensor]:
    """Bring sequences to one time axis.

    Args:
        sequences: (B, T_m, d_m) of each modality.
        masks: (B, T_m) bool, their real steps.
        target: (B, T) bool, from :func:`common_mask`.
        shared: Modalities whose steps already are those of the axis; the others are averaged into as many bins.

    Returns:
        (B, T, d_m) each, zero at padding.

    Example:
        >>> x, real = torch.tensor([[[1.0], [3.0]]]), torch.ones(1, 2, dtype=torch.bool)
        >>> common_axis({"audio": x}, {"audio": real}, real[:, :1], shared=[])["audio"].item()
        2.0
    """
    return {
        name: torch.where(masks[name][..., None], x, 0.0) if name in shared else masked_resample(x, masks[name], target)
        for name, x in sequences.items()
    }


class LabelGuidance(nn.Module):
    """The label embedding e: of the true label, or the expectation over the classes that a linear head finds likely.

    Args:
        task: Which labels there are.
        pooled_dim: Width of what the head reads.
        dim: Width d of the embedding.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> guidance = LabelGuidance(SentimentClassification(3), pooled_dim=4, dim=2)
        >>> guidance(torch.zeros(5, 4)).shape
        torch.Size([5, 2])
    """

    def __init__(self, task: Task, pooled_dim: int, dim: int) -> None:
        super().__init__()
        self.task, self.shape = task, label_shape(task)
        self.table = nn.Parameter(torch.randn(*self.shape, dim))
        self.head = nn.Linear(pooled_dim, self.table.numel() // dim)

    @override
    def forward(self, pooled: Tensor, target: Tensor | None = None, hidden: Tensor | None = None) -> Tensor:
        """Embed (B, d) the labels.

        Args:
            pooled: (B, pooled_dim).
            target: Labels as they stand in a Batch, where they may be known; None asks the head.
            hidden: (B,) bool, samples whose label is not to be known all the same.
        """
        if target is None:
            return self._expected(pooled)
        known = label_embedding(label_classes(self.task, target), self.table)
        return known if hidden is None else torch.where(hidden[:, None], self._expected(pooled), known)

    def _expected(self, pooled: Tensor) -> Tensor:
        return expected_embedding(self.head(pooled).view(-1, *self.shape), self.table)


class GuidedAttention(nn.Module):
    """One pair's attention and feed-forward part, H = LayerNorm(Z_1 + FFN(heads W_0)) (Eqs. 7-9).

    Args:
        dim: Width d.
        heads: Number of heads; divides the width.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.w_q, self.w_k, self.w_v, self.w_0 = (nn.Parameter(torch.empty(dim, dim)) for _ in range(4))
        self.ffn = nn.Sequential(nn.Linear(dim, 4 * dim), nn.ReLU(), nn.Linear(4 * dim, dim))
        self.norm = nn.LayerNorm(dim)
        for weight in (self.w_q, self.w_k, self.w_v, self.w_0):
            nn.init.xavier_uniform_(weight)

    @override
    def forward(self, e: Tensor, gate: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Mean (B, d) of H over real steps; e and gate are (B, d), keys X~_1 and values X~_2 (B, T, d), mask (B, T)."""
        found = guided_attention(e, gate, keys, values, mask, (self.w_q, self.w_k, self.w_v, self.w_0), self.heads)
        pooled = match_type(pooled_norm(keys, gate, self.ffn(found), mask, self.norm.eps), values)
        return torch.where(mask.any(1, keepdim=True), pooled * self.norm.weight + self.norm.bias, 0.0)

    def weights(self, e: Tensor, gate: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Weights (B, heads, T) of the steps."""
        return guided_weights(e, gate, keys, mask, self.w_q, self.w_k, self.heads)


class LGMMT(nn.Module):
    """Label-guided multimodal masked transformer: sequences of the modalities to one joint representation (Eqs. 5-9).

    Args:
        task: Which labels there are.
        modalities: Names of the modalities, at least two; every pair of them meets.
        dim: Width d of the sequences.
        heads: Number of heads; divides the width.
        guided: Whether to do all this; without, the joint representation is the pooled sequences, side by side (the
            ablation).
        out_dropout: Dropout of the joint representation, see :meth:`drop`.

    Attributes:
        feature_dim: Width of the joint representation, d for each pair (or, without guidance, modality).

    Raises:
        MERError: For fewer than two modalities, or heads that do not divide the width.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> fusion = LGMMT(SentimentClassification(3), ["text", "audio", "vision"], dim=8, heads=2)
        >>> x, mask = torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)
        >>> fusion({"text": x, "audio": x, "vision": x}, mask).shape
        torch.Size([2, 24])
    """

    def __init__(
        self,
        task: Task,
        modalities: Sequence[str],
        dim: int,
        heads: int = 4,
        guided: bool = True,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if len(modalities) < 2:
            raise MERError(
                f"LG-MMT lets pairs of modalities meet, but there is {', '.join(modalities) or 'none'} only; use at"
                f" least two"
            )
        if heads < 1 or dim % heads:
            raise MERError(f"{heads} heads do not divide a width of {dim}; choose a number of heads that divides it")
        if not 0 <= out_dropout < 1:
            raise MERError(f"out_dropout is {out_dropout}; give a probability in [0, 1)")
        self.modalities, self.dim, self.out_dropout, self.guided = tuple(modalities), dim, out_dropout, guided
        self.pairs = nn.ModuleDict()
        self.feature_dim = len(self.modalities) * dim
        if guided:
            self.guidance = LabelGuidance(task, self.feature_dim, dim)
            self.gate = nn.Linear(dim, dim)
            nn.init.ones_(self.gate.bias)
            self.pairs.update({f"{a}_{b}": GuidedAttention(dim, heads) for a, b in combinations(modalities, 2)})
            self.feature_dim = len(self.pairs) * dim

    @override
    def forward(
        self,
        x: Mapping[str, Tensor],
        mask: Tensor,
        target: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Joint representation (B, feature_dim), the mean of H over time.

        Args:
            x: (B, T, d) of each modality, zero at padding.
            mask: (B, T) bool, real steps.
            target: Labels, where they may be known; see :class:`LabelGuidance`. Without guidance they are not read.
            hidden: (B,) bool, samples whose label is not to be known all the same.
        """
        pooled = torch.cat([masked_mean(x[name], mask) for name in self.modalities], 1)
        if not self.guided:
            return pooled
        e = self.guidance(pooled, target, hidden)
        gate = self.gate(e)
        met = [self.pairs[f"{a}_{b}"](e, gate, x[a], x[b], mask) for a, b in combinations(self.modalities, 2)]
        return torch.cat(met, 1)

    def attention(self, x: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """Weights (B, heads, T) with which each pair, such as text_audio, attends to the first one's steps.

        They are those of labels that are not known. Without guidance there are none.

        Args:
            x: (B, T, d) of each modality, zero at padding.
            mask: (B, T) bool, real steps.
        """
        if not self.guided:
            return {}
        e = self.guidance(torch.cat([masked_mean(x[name], mask) for name in self.modalities], 1))
        gate, found = self.gate(e), {}
        for name, pair in self.pairs.items():
            assert isinstance(pair, GuidedAttention)
            found[name] = pair.weights(e, gate, x[name.partition("_")[0]], mask)
        return found

    def drop(self, h: Tensor) -> Tensor:
        """Dropout of a joint representation on its way to a classifier."""
        return dropout(h, self.out_dropout, self.training)

    def penalised(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """W_Q, W_K and W_V of every pair, for the penalty (Eq. 17)."""
        pairs = [pair for pair in self.pairs.values() if isinstance(pair, GuidedAttention)]
        return [(pair.w_q, pair.w_k, pair.w_v) for pair in pairs]
