"""Distance and correlation of predicted and true sentiment."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from mer_zoo.functional.metrics import check_finite
from mer_zoo.metrics.confusion import sentiment_inputs

__all__ = ["Corr", "MeanAbsoluteError", "ScoreMetric"]


class ScoreMetric(Metric, ABC):
    """Base of the metrics of the predicted sentiment itself.

    The scores are kept (4 bytes a sample) and reduced in float64 at the end, so that neither batch size nor the number
    of processes changes the result.

    Args:
        num_logits: Number of class logits, whose expected score is taken; None for a regression score.
        sims: Whether sentiment lies in CH-SIMS' [-1, 1].
    """

    is_differentiable = False
    full_state_update = False
    scores: list[Tensor]
    values: list[Tensor]

    def __init__(self, num_logits: int | None = None, sims: bool = False) -> None:
        super().__init__()
        self.num_logits, self.sims = num_logits, sims
        self.add_state("scores", [], dist_reduce_fx="cat")
        self.add_state("values", [], dist_reduce_fx="cat")

    @abstractmethod
    def reduce(self, score: Tensor, value: Tensor, weights: Tensor) -> Tensor:
        """The metric of (N,) float64 predicted and true sentiments under (N,) weights."""

    @override
    def compute(self) -> Tensor:
        score, value = self.pairs()
        return self.reduce(score, value, torch.ones_like(score)).to(self.device, torch.float32)

    def resampled(self, logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """The metric's values had each sample come as often as told, or had it that weight; the state is left alone.

        Args:
            logits: (B, *task shape).
            target: Labels as for ``update``.
            weights: (S, B) weights, in S resamplings.

        Returns:
            (S,) values, float64 on the CPU.
        """
        _, score, value = sentiment_inputs(logits, target, self.num_logits, self.sims)
        labelled = ~value.isnan()
        pair = score[labelled].cpu().double(), value[labelled].cpu().double()
        return torch.stack([self.reduce(*pair, row) for row in weights[:, labelled].cpu().double()])

    @override
    def update(self, logits: Tensor, target: Tensor) -> None:
        check_finite(logits)
        _, score, value = sentiment_inputs(logits, target, self.num_logits, self.sims)
        labelled = ~value.isnan()
        self.scores.append(score[labelled])
        self.values.append(value[labelled])

    def pairs(self) -> tuple[Tensor, Tensor]:
        """(N,) predicted and (N,) true sentiment of all samples so far, float64 on the CPU (some devices lack it)."""
        if not len(self.scores):
            return torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
        return dim_zero_cat(self.scores).cpu().double(), dim_zero_cat(self.values).cpu().double()


class MeanAbsoluteError(ScoreMetric):
    """Mean absolute error of the sentiment score; NaN without samples, where no number would be a warning.

    Args:
        num_logits: See :class:`ScoreMetric`.
        sims: See :class:`ScoreMetric`.

    Example:
        >>> MeanAbsoluteError()(torch.tensor([[1.0], [0.0]]), torch.tensor([0.5, 0.0])).item()
        0.25
    """

    higher_is_better = False

    @override
    def reduce(self, score: Tensor, value: Tensor, weights: Tensor) -> Tensor:
        return (weights * (score - value).abs()).sum() / weights.sum()


class Corr(ScoreMetric):
    """Pearson correlation of the sentiment score; 0 where predictions or labels do not vary.

    Args:
        num_logits: See :class:`ScoreMetric`.
        sims: See :class:`ScoreMetric`.

    Example:
        >>> round(Corr()(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0.0, 2.0, 4.0])).item(), 6)
        1.0
    """

    higher_is_better = True

    @override
    def reduce(self, score: Tensor, value: Tensor, weights: Tensor) -> Tensor:
        total = weights.sum()
        score, value = score - weights @ score / total, value - weights @ value / total
        scale = ((weights @ score.square()) * (weights @ value.square())).sqrt()
        return (weights * score @ value / scale).clamp(-1, 1) if scale > 0 else score.new_zeros(())
