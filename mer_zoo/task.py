"""The tasks: what the logits mean, how they are scored, and how labels become targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection
from typing_extensions import override

from mer_zoo.arguments import Recorded
from mer_zoo.errors import MERError
from mer_zoo.functional.sentiment import class_values, expected_score, to_classes
from mer_zoo.metrics import Convention, emotion_metrics, sentiment_metrics

__all__ = ["EMOTIONS", "EmotionDetection", "SentimentClassification", "SentimentRegression", "Task", "build_task"]

EMOTIONS = ("neutral", "happy", "sad", "angry")


POLARITIES = ("negative", "neutral", "positive")
CLASS_NAMES: dict[int, tuple[str, ...]] = {
    2: ("negative", "non-negative"),
    3: POLARITIES,
    **{count: tuple(f"{v:+d}" if v else "0" for v in range(-(count // 2), count // 2 + 1)) for count in (5, 7)},
}


class Task(Recorded, ABC):
    """A task fixes the shape of the logits, their loss, their metrics and their score.

    Attributes:
        shape: Shape of one sample's logits; a model's logits are (B, *shape).
        monitor: The validation metric that early stopping and checkpoints follow by default, and its direction.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> task = SentimentClassification(3)
        >>> task.shape, task.encode(torch.tensor([-2.4, 0.0, 1.0])).tolist()
        ((3,), [0, 1, 2])
    """

    shape: tuple[int, ...]
    monitor: tuple[str, str] = ("val/loss", "min")

    @property
    def num_outputs(self) -> int:
        """Number of outputs of the final classifier of a model for this task."""
        return prod(self.shape)

    @property
    def is_classification(self) -> bool:
        """Whether the last axis of the logits runs over classes; causal wrappers need it."""
        return self.shape[-1] > 1

    @property
    def problems(self) -> Sequence[str]:
        """Names of the problems that the axes before the last run over; one nameless problem where there are none."""
        return [""]

    def reshape(self, flat: Tensor) -> Tensor:
        """Give the (B, num_outputs) outputs of a linear layer the shape (B, *shape)."""
        return flat.view(-1, *self.shape)

    @abstractmethod
    def encode(self, target: Tensor) -> Tensor:
        """Turn labels as they stand in a Batch into what the criterion compares with."""

    @abstractmethod
    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of each sample.

        Args:
            logits: (B, *shape).
            target: Labels as they stand in a Batch.

        Returns:
            (B,) losses; the mean over the batch is left to the caller, who may weight samples.
        """

    def weighted(self, logits: Tensor, target: Tensor, weight: float | Tensor) -> Tensor:
        """Loss of each sample under weights.

        Args:
            logits: (B, *shape).
            target: Labels as they stand in a Batch.
            weight: One number, (B,), or (B, E) where each of E problems has its own.

        Returns:
            (B,) losses.
        """
        if isinstance(weight, Tensor) and weight.dim() > 1:
            raise MERError(f"{type(self).__name__} is one problem; give one weight a sample")
        return weight * self.criterion(logits, target)

    @abstractmethod
    def score(self, logits: Tensor) -> Tensor:
        """Real numbers for ranking and correlation: (B,) sentiment in [-3, 3], or (B, E) probabilities."""

    @abstractmethod
    def name_predictions(self, logits: Tensor) -> list[str]:
        """What is predicted of each sample, in words."""

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh metrics, updated with (logits, target)."""

    @abstractmethod
    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        """Random labels in a Batch's form, for examples and tests."""


class SentimentRegression(Task):
    """Sentiment in [-3, 3] as one real number, trained with the absolute error.

    Args:
        convention: Metric convention, see :mod:`mer_zoo.metrics`.

    Example:
        >>> task = SentimentRegression()
        >>> task.criterion(torch.tensor([[1.0], [0.5]]), torch.tensor([3.0, 0.0])).tolist()
        [2.0, 0.5]
        >>> task.name_predictions(torch.tensor([[1.2], [-0.1], [0.0]]))
        ['positive', 'negative', 'neutral']
    """

    def __init__(self, convention: Convention = "mmsa") -> None:
        self.shape = (1,)
        self.convention: Convention = convention
        self.monitor = ("val/MAE", "min")

    @override
    def encode(self, target: Tensor) -> Tensor:
        return target.float()

    @override
    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        return (logits.squeeze(-1) - self.encode(target)).abs()

    @override
    def score(self, logits: Tensor) -> Tensor:
        return logits.squeeze(-1)

    @override
    def name_predictions(self, logits: Tensor) -> list[str]:
        return [POLARITIES[int(sign) + 1] for sign in self.score(logits).sign()]

    @override
    def metrics(self) -> MetricCollection:
        return sentiment_metrics(None, self.convention)

    @override
    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        return torch.rand(size, generator=generator) * 6 - 3


class SentimentClassification(Task):
    """Sentiment as classes, trained with cross-entropy.

    Args:
        num_classes: 2 (negative, non-negative), 3 (negative, neutral, positive), 5 or 7 (rounded, half to even).
        convention: Metric convention, see :mod:`mer_zoo.metrics`.

    Raises:
        MERError: For another number of classes.

    Example:
        >>> task = SentimentClassification(7)
        >>> task.encode(torch.tensor([-3.0, 0.4, 2.6])).tolist()
        [0, 3, 6]
        >>> logits = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50.0]])
        >>> task.score(logits).item(), task.name_predictions(logits)
        (3.0, ['+3'])
    """

    def __init__(self, num_classes: int = 3, convention: Convention = "mmsa") -> None:
        if num_classes not in (2, 3, 5, 7):
            raise MERError(f"num_classes is {num_classes}; sentiment has 2, 3, 5 or 7 classes")
        self.shape = (num_classes,)
        self.convention: Convention = convention
        self.monitor = (f"val/Acc{num_classes}", "max")

    @override
    def encode(self, target: Tensor) -> Tensor:
        return to_classes(target, self.shape[0])

    @override
    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, self.encode(target), reduction="none")

    @override
    def score(self, logits: Tensor) -> Tensor:
        return expected_score(logits, class_values(self.shape[0]).to(logits))

    @override
    def name_predictions(self, logits: Tensor) -> list[str]:
        names = CLASS_NAMES[self.shape[0]]
        return [names[place] for place in logits.argmax(-1).tolist()]

    @override
    def metrics(self) -> MetricCollection:
        return sentiment_metrics(self.shape[0], self.convention)

    @override
    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        return torch.rand(size, generator=generator) * 6 - 3


class EmotionDetection(Task):
    """Several emotions, each present or absent, trained with one two-class cross-entropy an emotion.

    Args:
        emotions: The names, in the order of the label columns.

    Example:
        >>> task = EmotionDetection()
        >>> task.shape, task.criterion(torch.zeros(1, 4, 2), torch.tensor([[1, 0, 0, 0]])).item()
        ((4, 2), 0.6931...)
        >>> task.name_predictions(torch.tensor([[[0.0, 0.0], [0.0, 1.0], [0.0, 2.0], [1.0, 0.0]]]))
        ['happy + sad']
    """

    def __init__(self, emotions: Sequence[str] = EMOTIONS) -> None:
        self.emotions = tuple(emotions)
        self.shape = (len(self.emotions), 2)
        self.monitor = ("val/F1", "max")

    @property
    @override
    def problems(self) -> Sequence[str]:
        return self.emotions

    @override
    def encode(self, target: Tensor) -> Tensor:
        return target.long()

    @override
    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        return self._losses(logits, target).mean(1)

    @override
    def weighted(self, logits: Tensor, target: Tensor, weight: float | Tensor) -> Tensor:
        if isinstance(weight, Tensor) and weight.dim() == 1:
            weight = weight[:, None]
        return (weight * self._losses(logits, target)).mean(1)

    def _losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """(B, E) loss of each emotion."""
        losses = F.cross_entropy(logits.flatten(0, 1), self.encode(target).flatten(), reduction="none")
        return losses.view(target.shape)

    @override
    def score(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)[..., 1]

    @override
    def name_predictions(self, logits: Tensor) -> list[str]:
        """The emotions that are present, joined by a plus; "none" where none is."""
        present = logits.argmax(-1).tolist()
        named = ([name for name, is_there in zip(self.emotions, row, strict=True) if is_there] for row in present)
        return [" + ".join(names) or "none" for names in named]

    @override
    def metrics(self) -> MetricCollection:
        return emotion_metrics(self.emotions)

    @override
    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 2, (size, len(self.emotions)), generator=generator)


def build_task(name: str, convention: Convention = "mmsa") -> Task:
    """Build a task from its short name.

    Args:
        name: ``regression``, ``two``, ``binary`` (trained on three classes, scored without neutral, as CIDer does),
            ``five``, ``seven`` or ``emotions``.
        convention: Metric convention of the sentiment tasks.

    Raises:
        MERError: For an unknown name.

    Example:
        >>> build_task("seven").shape
        (7,)
    """
    classes = {"two": 2, "binary": 3, "five": 5, "seven": 7}
    if name == "regression":
        return SentimentRegression(convention)
    if name == "emotions":
        return EmotionDetection()
    if name not in classes:
        raise MERError(f"unknown task {name!r}; choose from regression, {', '.join(classes)}, emotions")
    return SentimentClassification(classes[name], convention)
