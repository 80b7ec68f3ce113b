"""The metrics of each task, every variant under its own name."""

from __future__ import annotations

from collections.abc import Sequence

from torchmetrics import Metric, MetricCollection

from mer_zoo.metrics.confusion import ClassMetric, EmotionMetric, PolarityMetric, Statistic
from mer_zoo.metrics.conventions import Convention, check_classes
from mer_zoo.metrics.nominal import NominalMetric, OneClassMetric
from mer_zoo.metrics.regression import Corr, MeanAbsoluteError

__all__ = ["class_metrics", "emotion_metrics", "sentiment_metrics"]

_POLARITY_F1: dict[Convention, Statistic] = {"mmsa": "f1", "mult": "swapped_f1", "causalmer": "positive_f1"}

# what the outputs can tell apart: five logits cannot name the outermost of seven classes
_CLASSES: dict[int | None, tuple[int, ...]] = {None: (7, 5, 3), 7: (7, 5, 3), 5: (5, 3), 3: (3,), 2: (2,)}


def _collect(groups: Sequence[dict[str, Metric]]) -> MetricCollection:
    # Named groups: found automatically, metrics that merely agree on the first batch would share their state for good.
    return MetricCollection(
        {name: metric for group in groups for name, metric in group.items()},
        compute_groups=[list(group) for group in groups],
    )


def sentiment_metrics(num_classes: int | None = None, convention: Convention = "mmsa") -> MetricCollection:
    """Metrics of sentiment, updated with logits and real-valued labels or classes.

    Args:
        num_classes: None for logits (B, 1) that are the score itself, else 2, 3, 5 or 7 class logits.
        convention: See :mod:`mer_zoo.metrics`.

    Raises:
        MERError: For another number of classes or an unknown convention.

    Example:
        >>> import torch
        >>> metrics = sentiment_metrics()
        >>> metrics.update(torch.tensor([[0.8], [-2.0]]), torch.tensor([1.0, -0.4]))
        >>> {name: round(value.item(), 3) for name, value in metrics.compute().items() if name in ("Acc7", "MAE")}
        {'Acc7': 0.5, 'MAE': 0.9}
    """
    check_classes(num_classes, convention)
    if convention == "scale":
        return _collect([{"MAE": MeanAbsoluteError(), "Corr": Corr()}])
    if convention == "sims":
        return _sims_metrics(num_classes)
    groups: list[dict[str, Metric]] = []
    if num_classes in (None, 5, 7):
        groups.append({"MAE": MeanAbsoluteError(num_classes), "Corr": Corr(num_classes)})
    groups += [_class_group(classes, num_classes, convention) for classes in _CLASSES[num_classes]]
    if num_classes != 2:
        for suffix in ("non0", "has0"):
            has0 = suffix == "has0"
            groups.append(
                {
                    f"Acc2_{suffix}": PolarityMetric(has0, num_classes, convention, "accuracy"),
                    f"F1_{suffix}": PolarityMetric(has0, num_classes, convention, _POLARITY_F1[convention]),
                }
            )
    return _collect(groups)


def _class_group(classes: int, num_logits: int | None, convention: Convention) -> dict[str, Metric]:
    group: dict[str, Metric] = {f"Acc{classes}": ClassMetric(classes, num_logits, "accuracy")}
    if classes == num_logits:
        f1: Statistic = "swapped_f1" if convention == "mult" else "f1"
        group[f"F1_{classes}"] = ClassMetric(classes, num_logits, f1)
        group[f"F1_{classes}_macro"] = ClassMetric(classes, num_logits, "macro_f1")
    return group


def _sims_metrics(num_classes: int | None) -> MetricCollection:
    """What MMSA measures on CH-SIMS; F1 is that of two classes, weighted by how often each is true."""
    groups: list[dict[str, Metric]] = []
    if num_classes in (None, 5):
        groups.append({"MAE": MeanAbsoluteError(num_classes, sims=True), "Corr": Corr(num_classes, sims=True)})
    for classes in (5, 3, 2):
        if num_classes is not None and classes > num_classes:
            continue
        group: dict[str, Metric] = {f"Acc{classes}": ClassMetric(classes, num_classes, "accuracy", sims=True)}
        if classes in (2, num_classes):
            group[f"F1_{classes}"] = ClassMetric(classes, num_classes, "f1", sims=True)
        if classes == num_classes:
            group[f"F1_{classes}_macro"] = ClassMetric(classes, num_classes, "macro_f1", sims=True)
        groups.append(group)
    return _collect(groups)


def emotion_metrics(emotions: Sequence[str]) -> MetricCollection:
    """Accuracy and weighted F1 of each emotion, their averages, and the macro F1, which rare emotions do not flatter.

    Args:
        emotions: Names in the order of the label columns; logits are (B, E, 2), labels (B, E).

    Example:
        >>> import torch
        >>> metrics = emotion_metrics(["happy", "sad"])
        >>> metrics.update(torch.tensor([[[0.0, 1.0], [0.0, 1.0]]]), torch.tensor([[1, 0]]))
        >>> {name: value.item() for name, value in metrics.compute().items()}
        {'Acc': 0.5, 'Acc_happy': 1.0, 'Acc_sad': 0.0, 'F1': 0.5, 'F1_happy': 1.0, 'F1_macro': 0.5, 'F1_sad': 0.0}
    """
    number = len(emotions)
    group: dict[str, Metric] = {}
    for index, name in enumerate(emotions):
        group[f"Acc_{name}"] = EmotionMetric(number, index, "accuracy")
        group[f"F1_{name}"] = EmotionMetric(number, index, "f1")
    group["Acc"] = EmotionMetric(number, None, "accuracy")
    group["F1"] = EmotionMetric(number, None, "f1")
    group["F1_macro"] = EmotionMetric(number, None, "macro_f1")
    return _collect([group])


def class_metrics(names: Sequence[str]) -> MetricCollection:
    """Metrics of one of several classes without an order; none of them changes when the classes are renumbered.

    Args:
        names: Names of the C classes; logits are (B, C), labels (B,).

    Returns:
        Accuracy, F1 weighted by how often each class is true, macro F1, the unweighted average recall (UAR), and
        precision, recall and F1 of each class.

    Example:
        >>> import torch
        >>> metrics = class_metrics(["joy", "anger"])
        >>> metrics.update(torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([1, 0, 0]))
        >>> {name: round(value.item(), 3) for name, value in metrics.compute().items() if "joy" not in name}
        {'Acc': 0.667, 'F1': 0.667, 'F1_anger': 0.667, 'F1_macro': 0.667, 'Precision_anger': 0.5, 'Recall_anger': 1.0,
        'UAR': 0.75}
    """
    number = len(names)
    group: dict[str, Metric] = {
        "Acc": NominalMetric(number, "accuracy"),
        "F1": NominalMetric(number, "f1"),
        "F1_macro": NominalMetric(number, "macro_f1"),
        "UAR": NominalMetric(number, "uar"),
    }
    for label, name in enumerate(names):
        group[f"Precision_{name}"] = OneClassMetric(number, label, "precision")
        group[f"Recall_{name}"] = OneClassMetric(number, label, "recall")
        group[f"F1_{name}"] = OneClassMetric(number, label, "f1")
    return _collect([group])
