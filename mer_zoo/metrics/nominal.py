"""Agreement in one of several classes without an order, and how well each of them is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from typing_extensions import override

from mer_zoo.functional.metrics import f1_per_class, precision_per_class, recall_per_class
from mer_zoo.metrics.confusion import ConfusionMetric, Statistic

__all__ = ["NominalMetric", "OfClass", "OneClassMetric"]

OfClass = Literal["precision", "recall", "f1"]
_OF_CLASS: dict[OfClass, Callable[[Tensor], Tensor]] = {
    "precision": precision_per_class,
    "recall": recall_per_class,
    "f1": f1_per_class,
}


def _nominal(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return logits.detach().argmax(-1), target.flatten().nan_to_num(nan=-1).long()


class NominalMetric(ConfusionMetric):
    """Agreement in one of several classes without an order.

    Args:
        num_classes: Number of classes C; logits are (B, C), labels (B,) whole numbers, -1 or NaN where there is none.
        statistic: See :class:`ConfusionMetric`.

    Example:
        >>> import torch
        >>> metric = NominalMetric(3, "uar")
        >>> metric(torch.eye(3), torch.tensor([0, 0, 2])).item()
        0.75
    """

    def __init__(self, num_classes: int, statistic: Statistic) -> None:
        super().__init__(num_classes, statistic)

    @override
    def classes(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return _nominal(logits, target)


class OneClassMetric(ConfusionMetric):
    """How well one of several classes without an order is found.

    Args:
        num_classes: See :class:`NominalMetric`.
        label: The class.
        measure: ``precision``, ``recall`` or ``f1`` of that class against all others.

    Example:
        >>> import torch
        >>> metric = OneClassMetric(3, 0, "recall")
        >>> metric(torch.eye(3), torch.tensor([0, 0, 2])).item()
        0.5
    """

    def __init__(self, num_classes: int, label: int, measure: OfClass) -> None:
        super().__init__(num_classes, "accuracy")
        self.label, self.measure = label, measure

    @override
    def classes(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        return _nominal(logits, target)

    @override
    def _reduce(self, confusion: Tensor) -> Tensor:
        return _OF_CLASS[self.measure](confusion.cpu().double())[..., 0, self.label]
