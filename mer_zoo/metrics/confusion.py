"""Accuracies and F1 scores: every one of them is read off a confusion matrix, the only state that is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from mer_zoo.functional.metrics import (
    accuracy,
    check_finite,
    f1_per_class,
    macro_f1,
    sample_confusion,
    unweighted_recall,
    weighted_f1,
)
from mer_zoo.functional.sentiment import class_values, expected_score, to_classes
from mer_zoo.metrics.conventions import Convention

__all__ = [
    "ClassMetric",
    "ConfusionMetric",
    "EmotionMetric",
    "PolarityMetric",
    "Statistic",
    "sentiment_inputs",
]

Statistic = Literal["accuracy", "f1", "swapped_f1", "macro_f1", "positive_f1", "uar"]


def _swapped_f1(confusion: Tensor) -> Tensor:
    return weighted_f1(confusion.mT)


def _positive_f1(confusion: Tensor) -> Tensor:
    return f1_per_class(confusion)[..., 1]


_STATISTICS: dict[Statistic, Callable[[Tensor], Tensor]] = {
    "accuracy": accuracy,
    "f1": weighted_f1,
    "swapped_f1": _swapped_f1,
    "macro_f1": macro_f1,
    "positive_f1": _positive_f1,
    "uar": unweighted_recall,
}


def sentiment_inputs(
    logits: Tensor, target: Tensor, num_classes: int | None, sims: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Bring logits and labels of any sentiment task to one form.

    Args:
        logits: (B, 1) scores if ``num_classes`` is None, else (B, num_classes).
        target: (B,) or (B, 1) real sentiment, or integer classes.
        num_classes: Number of classes of the logits.
        sims: Whether sentiment lies in CH-SIMS' [-1, 1].

    Returns:
        (B, C) float32 logits, (B,) predicted sentiment and (B,) true sentiment, NaN where there is no label.

    Example:
        >>> sentiment_inputs(torch.zeros(2, 3), torch.tensor([2, 0]), 3)[2].tolist()
        [1.0, -1.0]
    """
    logits, target = logits.detach().float(), target.flatten()
    if num_classes is not None and not target.is_floating_point():
        target = class_values(num_classes, sims).to(target.device)[target.long()]
    if num_classes is None:
        return logits, logits.squeeze(-1), target.float()
    return logits, expected_score(logits, class_values(num_classes, sims).to(logits)), target.float()


class ConfusionMetric(Metric, ABC):
    """Base of the metrics that a confusion matrix determines.

    Metrics whose predictions and truths agree keep equal counts, so that a collection may share them.

    Args:
        num_classes: Rows of the matrix.
        statistic: ``accuracy``; ``f1`` weighted by the true classes; ``swapped_f1`` weighted by the predicted classes;
            ``macro_f1`` over the classes seen; ``positive_f1`` of class 1; ``uar``, the recall averaged over the
            classes that have samples. All are 0 without samples.
        problems: Number of separate problems, one matrix each.
        problem: Which of them to report; None for their average.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Tensor

    def __init__(self, num_classes: int, statistic: Statistic, problems: int = 1, problem: int | None = None) -> None:
        super().__init__()
        self.num_classes, self.statistic, self.problem = num_classes, statistic, problem
        counts = torch.zeros(problems, num_classes, num_classes, dtype=torch.int64)
        self.add_state("confusion", counts, dist_reduce_fx="sum")

    @abstractmethod
    def classes(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted and true classes, (B,) or (B, problems); a true class of -1 where the sample does not count."""

    @override
    def update(self, logits: Tensor, target: Tensor) -> None:
        check_finite(logits)
        prediction, truth = self.classes(logits, target)
        self.confusion += sample_confusion(prediction, truth, self.num_classes).sum(0)

    @override
    def compute(self) -> Tensor:
        return self._reduce(self.confusion).to(self.device, torch.float32)

    def resampled(self, logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """The metric's values had each sample come as often as told, or had it that weight; the state is left alone.

        Args:
            logits: (B, *task shape).
            target: Labels as for ``update``.
            weights: (S, B) how often each sample comes, in S resamplings; (S, B, problems) where it differs between
                problems.

        Returns:
            (S,) values, float64 on the CPU.
        """
        pairs = sample_confusion(*self.classes(logits, target), self.num_classes)
        problems = self.confusion.shape[0]
        pairs = pairs.view(len(pairs), problems, -1).double()
        if weights.dim() == 2:
            return self._reduce((weights.double() @ pairs.flatten(1)).view(-1, *self.confusion.shape))
        confusion = torch.einsum("sbg,bgp->sgp", weights.double(), pairs)
        return self._reduce(confusion.view(-1, *self.confusion.shape))

    def majority(self) -> Tensor:
        """The metric's value on the samples seen, had the most frequent true class been predicted for all of them."""
        support = self.confusion.sum(-1)
        constant = torch.zeros_like(self.confusion)
        column = support.argmax(-1)[:, None, None].expand(-1, self.num_classes, 1)
        return self._reduce(constant.scatter(-1, column, support[..., None])).to(self.device, torch.float32)

    def _reduce(self, confusion: Tensor) -> Tensor:
        # in float64, so that weights of one and counts give the same, and on the CPU: not all devices have it
        values = _STATISTICS[self.statistic](confusion.cpu().double())
        return values.mean(-1) if self.problem is None else values[..., self.problem]


class ClassMetric(ConfusionMetric):
    """Agreement in sentiment class.

    With as many logits as classes the prediction is their argmax; otherwise the predicted score is clipped and rounded
    (half to even) as the label is. Three classes are the signs.

    Args:
        num_classes: Classes that are told apart: 2, 3, 5 or 7.
        num_logits: Number of class logits; None for a regression score.
        statistic: See :class:`ConfusionMetric`.
        sims: Whether sentiment lies in [-1, 1] and has CH-SIMS' classes, see
            :func:`~mer_zoo.functional.sentiment.to_classes`.

    Example:
        >>> metric = ClassMetric(7, None, "accuracy")
        >>> metric(torch.tensor([[0.5], [2.6]]), torch.tensor([0.0, 2.0])).item()
        0.5
    """

    def __init__(self, num_classes: int, num_logits: int | None, statistic: Statistic, sims: bool = False) -> None:
        super().__init__(num_classes, statistic)
        self.num_logits, self.sims = num_logits, sims

    @override
    def classes(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        logits, score, value = sentiment_inputs(logits, target, self.num_logits, self.sims)
        if self.num_logits == self.num_classes:
            prediction = logits.argmax(-1)
        else:
            # a diverged model's NaN has no class; as a neutral score it still counts as one sample
            prediction = to_classes(score.nan_to_num(), self.num_classes, self.sims)
        truth = to_classes(value.nan_to_num(), self.num_classes, self.sims)
        return prediction, truth.masked_fill(value.isnan(), -1)


class PolarityMetric(ConfusionMetric):
    """Positive against negative sentiment.

    Args:
        has0: Whether neutral samples (label 0) count.
        num_logits: Number of class logits; None for a regression score.
        convention: Who counts zero where, see :mod:`mer_zoo.metrics`.
        statistic: See :class:`ConfusionMetric`.

    Example:
        >>> metric = PolarityMetric(True, None, "mmsa", "accuracy")
        >>> metric(torch.tensor([[0.5], [-1.0]]), torch.tensor([0.0, 2.0])).item()
        0.5
    """

    def __init__(self, has0: bool, num_logits: int | None, convention: Convention, statistic: Statistic) -> None:
        # third class: a neutral prediction, right for no sample
        super().__init__(3, statistic)
        self.has0, self.num_logits, self.convention = has0, num_logits, convention

    @override
    def classes(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        logits, score, value = sentiment_inputs(logits, target, self.num_logits)
        strict = not self.has0 or self.convention == "mult"
        truth = value > 0 if strict else value >= 0
        if self.convention == "causalmer" and self.num_logits is not None:
            prediction = logits.argmax(-1) >= self.num_logits // 2
        elif self.num_logits == 3 and self.has0:
            prediction = logits[:, 2] > logits[:, 0]
        elif self.num_logits == 3:
            prediction = logits.new_tensor([0, 2, 1])[logits.argmax(-1)]
        else:
            prediction = score > 0 if strict else score >= 0
        ignored = value.isnan() if self.has0 else value.isnan() | (value == 0)
        return prediction.long(), truth.long().masked_fill(ignored, -1)


class EmotionMetric(ConfusionMetric):
    """Presence of emotions, each a problem of two classes.

    Args:
        emotions: Number of emotions E.
        emotion: Which emotion to report; None for the average over all.
        statistic: See :class:`ConfusionMetric`.

    Example:
        >>> metric = EmotionMetric(2, None, "accuracy")
        >>> metric(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), torch.tensor([[1, 0]])).item()
        0.5
    """

    def __init__(self, emotions: int, emotion: int | None, statistic: Statistic) -> None:
        super().__init__(2, statistic, emotions, emotion)

    @override
    def classes(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return logits.detach().argmax(-1), target.nan_to_num().long().masked_fill(target.isnan(), -1)
