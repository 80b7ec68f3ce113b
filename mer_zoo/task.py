"""The tasks: what the logits mean, how they are scored, and how labels become targets.

More than 300 lines, because each task stands beside the contract that it keeps, and documents what it takes.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from mer_zoo.arguments import Recorded
from mer_zoo.data.corpus.meaning import IEMOCAP_EMOTIONS, MAX_CLASSES, MOSI_RANGE, SIMS_RANGE, LabelKind
from mer_zoo.errors import MERError
from mer_zoo.functional.calibration import bin_probabilities, tempered
from mer_zoo.functional.sentiment import class_values, expected_score, to_classes
from mer_zoo.metrics.conventions import Convention, check_classes

if TYPE_CHECKING:  # it takes seconds to import, and labels are encoded without it
    from torchmetrics import MetricCollection

__all__ = [
    "EMOTIONS",
    "TASKS",
    "EmotionDetection",
    "NominalClassification",
    "SentimentClassification",
    "SentimentRegression",
    "Task",
    "build_task",
    "check_names",
]

EMOTIONS = IEMOCAP_EMOTIONS
GRADES = 7  # classes of a score, for what needs classes where the task has none
_NAME = re.compile(r"[^\W_][\w .&+-]{0,39}")  # part of metrics' names, which stand in tables, file names and logs
_TAKEN = ("macro",)  # F1_macro is not the F1 of a class

POLARITIES = ("negative", "neutral", "positive")
CLASS_NAMES: dict[int, tuple[str, ...]] = {
    2: ("negative", "non-negative"),
    3: POLARITIES,
    **{count: tuple(f"{v:+d}" if v else "0" for v in range(-(count // 2), count // 2 + 1)) for count in (5, 7)},
}
_SIMS_NAMES: dict[int, tuple[str, ...]] = {
    2: ("not positive", "positive"),
    3: POLARITIES,
    5: ("negative", "weakly negative", "neutral", "weakly positive", "positive"),
}
_SENTIMENT_CLASSES = {"two": 2, "binary": 3, "five": 5, "seven": 7}
TASKS = ("regression", *_SENTIMENT_CLASSES, "classes", "emotions")
"""Names that :func:`build_task` knows."""


def check_names(what: str, names: Sequence[str]) -> tuple[str, ...]:
    """Refuse names that could not stand in the name of a metric, or not tell two things apart.

    Args:
        what: Whose names they are, for the message.
        names: The names.

    Raises:
        MERError: Naming the first that won't do.

    Example:
        >>> check_names("classes", ["joy", "anger"])
        ('joy', 'anger')
        >>> check_names("classes", ["joy", "a/b"])
        Traceback (most recent call last):
        mer_zoo.errors.MERError: 'a/b' is no name of classes; take up to 40 letters, digits, spaces or . & + - , ...
    """
    if len(names) > MAX_CLASSES:
        raise MERError(f"{len(names)} {what} are named, and a task has at most {MAX_CLASSES}")
    for place, name in enumerate(names):
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name != name.strip() or name in _TAKEN:
            raise MERError(
                f"{str(name)[:60]!r} is no name of {what}; take up to 40 letters, digits, spaces or . & + - , beginning"
                " with a letter or digit, and not macro"
            )
        if name in names[:place]:
            raise MERError(f"two {what} are called {name!r}; give each a name of its own")
    return tuple(names)


class Task(Recorded, ABC):
    """A task fixes the shape of the logits, their loss, their metrics and their score.

    Attributes:
        shape: Shape of one sample's logits; a model's logits are (B, *shape).
        monitor: The validation metric that early stopping and checkpoints follow by default, and its direction.
        is_ordinal: Whether classes or scores have an order, so that the distance of two of them means something.
        label_kind: What the task takes labels for, so that others are refused; None takes them as they are.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> task = SentimentClassification(3)
        >>> task.shape, task.encode(torch.tensor([-2.4, 0.0, 1.0])).tolist()
        ((3,), [0, 1, 2])
    """

    shape: tuple[int, ...]
    monitor: tuple[str, str] = ("val/loss", "min")
    is_ordinal: bool = False
    label_kind: LabelKind | None = None

    @property
    def name(self) -> str:
        """The short name of :func:`build_task`; of another task its class."""
        return type(self).__name__

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes that the last axis of the logits runs over; none where the logits are a score."""
        return [str(place) for place in range(self.shape[-1])] if self.is_classification else []

    @property
    def is_single_label(self) -> bool:
        """Whether a sample has one of the classes, so that the logits are (B, C)."""
        return self.is_classification and len(self.shape) == 1

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

    @property
    def graded_shape(self) -> tuple[int, ...]:
        """Shape of what a sample's :meth:`grades` index: the task's own classes, or seven grades of a score."""
        return self.shape if self.is_classification else (GRADES,)

    def grades(self, target: Tensor) -> Tensor:
        """Classes (B,) or (B, E) of labels as they stand in a Batch, also where the task itself has none."""
        return self.encode(target) if self.is_classification else to_classes(self.encode(target), GRADES)

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

    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss of each sample in each problem.

        Args:
            logits: (B, *shape).
            target: Labels as they stand in a Batch.

        Returns:
            (B,), or (B, E) for E problems.
        """
        return self.criterion(logits, target)

    @abstractmethod
    def score(self, logits: Tensor) -> Tensor:
        """Real numbers for ranking and correlation: (B,) sentiment, (B, E) or (B, C) probabilities."""

    @abstractmethod
    def name_predictions(self, logits: Tensor) -> list[str]:
        """What is predicted of each sample, in words."""

    def name_targets(self, target: Tensor) -> list[str]:
        """The labels of a Batch in the words of :meth:`name_predictions`; empty for a sample without one."""
        known = ~target.isnan() if target.dim() == 1 else (target >= 0).all(1)
        given = target.clamp(min=0) if target.dim() > 1 else torch.where(known, target, 0)
        logits = F.one_hot(self.encode(given), self.shape[-1]) if self.is_classification else given[:, None]
        named = self.name_predictions(logits.float())
        return [name if is_known else "" for name, is_known in zip(named, known.tolist(), strict=True)]

    def answers(self, logits: Tensor) -> dict[str, Tensor]:
        """What logits say, by name: the probability (B,) of each class or emotion, or the score of a regression."""
        if not self.is_classification:
            return {"score": self.score(logits)}
        if self.is_single_label:
            return dict(zip(self.class_names, logits.softmax(-1).unbind(-1), strict=True))
        return dict(zip(self.problems, self.score(logits).unbind(-1), strict=True))

    @property
    def outcomes(self) -> Sequence[str]:
        """Names of the classes that :meth:`probabilities` runs over; of a score the two sides of zero."""
        return self.class_names

    def classify(self, target: Tensor) -> Tensor:
        """The (B, ...) classes of labels as they stand in a Batch, for each problem."""
        return self.encode(target)

    def probabilities(self, logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """Probabilities of the classes of each problem.

        Args:
            logits: (B, *shape).
            temperature: By how much the logits are too large: one number, or one for each sample and problem.

        Returns:
            (B, ..., C) probabilities.
        """
        return tempered(logits, temperature)

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """Fresh metrics, updated with (logits, target)."""

    @abstractmethod
    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        """Random labels in a Batch's form, for examples and tests."""

    def unknown_target(self, size: int) -> Tensor:
        """What stands in a Batch for labels that there are not: NaN, or -1 for each of several problems."""
        problems = self.shape[:-1]
        return torch.full((size, *problems), -1) if problems else torch.full((size,), torch.nan)


class SentimentRegression(Task):
    """Sentiment as one real number, trained with the absolute error.

    Args:
        convention: Metric convention, see :mod:`mer_zoo.metrics`; ``sims`` is of labels in [-1, 1].
        limits: Smallest and largest label; by default those of the convention, else -3 and 3.

    Example:
        >>> task = SentimentRegression()
        >>> task.criterion(torch.tensor([[1.0], [0.5]]), torch.tensor([3.0, 0.0])).tolist()
        [2.0, 0.5]
        >>> task.name_predictions(torch.tensor([[1.2], [-0.1], [0.0]]))
        ['positive', 'negative', 'neutral']
    """

    is_ordinal = True
    label_kind = "sentiment"

    def __init__(self, convention: Convention = "mmsa", limits: tuple[float, float] | None = None) -> None:
        self.shape = (1,)
        self.convention: Convention = convention
        self.limits = limits or (SIMS_RANGE if convention == "sims" else MOSI_RANGE)
        self.monitor = ("val/MAE", "min")

    @property
    @override
    def name(self) -> str:
        return "regression"

    @override
    def encode(self, target: Tensor) -> Tensor:
        return target.float()

    @override
    def grades(self, target: Tensor) -> Tensor:
        (low, high), target = self.limits, self.encode(target)
        if self.limits != MOSI_RANGE:
            target = (target - (low + high) / 2) * (2 * MOSI_RANGE[1] / (high - low))
        return to_classes(target, GRADES)

    @override
    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        return (logits.squeeze(-1) - self.encode(target)).abs()

    @override
    def score(self, logits: Tensor) -> Tensor:
        return logits.squeeze(-1)

    @override
    def name_predictions(self, logits: Tensor) -> list[str]:
        score = self.score(logits)
        if self.convention == "scale":  # where zero need not be neutral
            return [f"{value:.3g}" for value in score.tolist()]
        places = to_classes(score, 3, sims=True) if self.convention == "sims" else score.sign().long() + 1
        return [POLARITIES[place] for place in places.tolist()]

    @property
    @override
    def outcomes(self) -> Sequence[str]:
        return CLASS_NAMES[2]

    @override
    def classify(self, target: Tensor) -> Tensor:
        return to_classes(self.encode(target), 2)

    @override
    def probabilities(self, logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """Mass of a Gaussian around the score on either side of zero, the temperature being its deviation."""
        return bin_probabilities(self.score(logits), temperature, logits.new_zeros(1))

    @override
    def metrics(self) -> MetricCollection:
        from mer_zoo.metrics import sentiment_metrics

        return sentiment_metrics(None, self.convention)

    @override
    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        return _uniform(size, generator, self.limits)


def _uniform(size: int, generator: torch.Generator, limits: tuple[float, float]) -> Tensor:
    low, high = limits
    return torch.rand(size, generator=generator) * (high - low) + low


class SentimentClassification(Task):
    """Sentiment as classes, trained with cross-entropy.

    Args:
        num_classes: 2 (negative, non-negative), 3 (negative, neutral, positive), 5 or 7 (rounded, half to even).
        convention: Metric convention, see :mod:`mer_zoo.metrics`; with ``sims`` labels lie in [-1, 1] and have the
            classes of CH-SIMS, 2 (not positive, positive), 3 or 5.

    Raises:
        MERError: For another number of classes, or a convention without classes.

    Example:
        >>> task = SentimentClassification(7)
        >>> task.encode(torch.tensor([-3.0, 0.4, 2.6])).tolist()
        [0, 3, 6]
        >>> logits = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 50.0]])
        >>> task.score(logits).item(), task.name_predictions(logits)
        (3.0, ['+3'])
    """

    is_ordinal = True
    label_kind = "sentiment"

    def __init__(self, num_classes: int = 3, convention: Convention = "mmsa") -> None:
        if num_classes not in (2, 3, 5, 7):
            raise MERError(f"num_classes is {num_classes}; sentiment has 2, 3, 5 or 7 classes")
        check_classes(num_classes, convention)
        self.shape = (num_classes,)
        self.convention: Convention = convention
        self.monitor = (f"val/Acc{num_classes}", "max")

    @property
    @override
    def name(self) -> str:
        return next(name for name, count in _SENTIMENT_CLASSES.items() if count == self.shape[0])

    @property
    @override
    def class_names(self) -> Sequence[str]:
        return (_SIMS_NAMES if self._is_sims else CLASS_NAMES)[self.shape[0]]

    @property
    def _is_sims(self) -> bool:
        return self.convention == "sims"

    @override
    def encode(self, target: Tensor) -> Tensor:
        return to_classes(target, self.shape[0], self._is_sims)

    @override
    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, self.encode(target), reduction="none")

    @override
    def score(self, logits: Tensor) -> Tensor:
        return expected_score(logits, class_values(self.shape[0], self._is_sims).to(logits))

    @override
    def name_predictions(self, logits: Tensor) -> list[str]:
        return [self.class_names[place] for place in logits.argmax(-1).tolist()]

    @override
    def metrics(self) -> MetricCollection:
        from mer_zoo.metrics import sentiment_metrics

        return sentiment_metrics(self.shape[0], self.convention)

    @override
    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        return _uniform(size, generator, SIMS_RANGE if self.convention == "sims" else MOSI_RANGE)


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

    label_kind = "emotions"

    def __init__(self, emotions: Sequence[str] = EMOTIONS) -> None:
        self.emotions = check_names("emotions", emotions)
        if not self.emotions:
            raise MERError("EmotionDetection got no emotion; name at least one")
        self.shape = (len(self.emotions), 2)
        self.monitor = ("val/F1", "max")

    @property
    @override
    def name(self) -> str:
        return "emotions"

    @property
    @override
    def class_names(self) -> Sequence[str]:
        return ("absent", "present")

    @property
    @override
    def problems(self) -> Sequence[str]:
        return self.emotions

    @override
    def encode(self, target: Tensor) -> Tensor:
        return target.long()

    @override
    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.losses(logits, target).mean(1)

    @override
    def weighted(self, logits: Tensor, target: Tensor, weight: float | Tensor) -> Tensor:
        if isinstance(weight, Tensor) and weight.dim() == 1:
            weight = weight[:, None]
        return (weight * self.losses(logits, target)).mean(1)

    @override
    def losses(self, logits: Tensor, target: Tensor) -> Tensor:
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
        from mer_zoo.metrics import emotion_metrics

        return emotion_metrics(self.emotions)

    @override
    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        return torch.randint(0, 2, (size, len(self.emotions)), generator=generator)


class NominalClassification(Task):
    """One of several classes without an order, trained with cross-entropy: emotions, sarcasm or not, any names.

    Nothing is computed from the numbers of the classes, so that no metric changes when they are renumbered.

    Args:
        classes: Their names, in the order of their numbers.
        class_weights: Weight of each class in the loss; by default all weigh 1. Weights that are larger for rare
            classes, with mean 1 over the samples, balance them without changing the size of the loss.

    Raises:
        MERError: For fewer than two classes, names that won't do, or weights that are not one positive number a class.

    Example:
        >>> task = NominalClassification(["anger", "joy", "neutral"], class_weights=[2.0, 1.0, 0.5])
        >>> task.criterion(torch.zeros(2, 3), torch.tensor([0, 2])).tolist()
        [2.197..., 0.549...]
        >>> task.name_predictions(torch.tensor([[0.0, 1.0, 0.5]]))
        ['joy']
    """

    label_kind = "classes"

    def __init__(self, classes: Sequence[str], class_weights: Sequence[float] | None = None) -> None:
        self.classes = check_names("classes", classes)
        if len(self.classes) < 2:
            raise MERError(f"NominalClassification got {len(self.classes)} classes; name at least two")
        if class_weights is not None and (
            len(class_weights) != len(self.classes) or not all(0 < weight < math.inf for weight in class_weights)
        ):
            raise MERError(
                f"class_weights are {list(class_weights)}; give one positive number for each of {len(self.classes)}"
                " classes"
            )
        self.class_weights = None if class_weights is None else tuple(map(float, class_weights))
        self.shape = (len(self.classes),)
        self.monitor = ("val/F1", "max")

    @property
    @override
    def name(self) -> str:
        return "classes"

    @property
    @override
    def class_names(self) -> Sequence[str]:
        return self.classes

    @override
    def encode(self, target: Tensor) -> Tensor:
        return target.long()

    @override
    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        return F.cross_entropy(logits, self.encode(target), weights, reduction="none")

    @override
    def score(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    @override
    def name_predictions(self, logits: Tensor) -> list[str]:
        return [self.classes[place] for place in logits.argmax(-1).tolist()]

    @override
    def metrics(self) -> MetricCollection:
        from mer_zoo.metrics import class_metrics

        return class_metrics(self.classes)

    @override
    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        return torch.randint(0, len(self.classes), (size,), generator=generator)


def build_task(
    name: str,
    convention: Convention = "mmsa",
    names: Sequence[str] = (),
    class_weights: Sequence[float] | None = None,
    limits: tuple[float, float] | None = None,
) -> Task:
    """Build a task from its short name.

    Args:
        name: ``regression``, ``two``, ``binary`` (trained on three classes, scored without neutral, as CIDer does),
            ``five``, ``seven``, ``classes`` or ``emotions``.
        convention: Metric convention of the sentiment tasks.
        names: Names of the classes, which ``classes`` needs, or of the emotions; by default IEMOCAP's four.
        class_weights: See :class:`NominalClassification`.
        limits: See :class:`SentimentRegression`.

    Raises:
        MERError: For an unknown name, or names of what has its own.

    Example:
        >>> build_task("seven").shape, build_task("classes", names=["joy", "anger", "neutral"]).shape
        ((7,), (3,))
    """
    if name == "emotions":
        return EmotionDetection(names or EMOTIONS)
    if name == "classes":
        return NominalClassification(names, class_weights)
    if name != "regression" and name not in _SENTIMENT_CLASSES:
        raise MERError(f"unknown task {name!r}; choose from {', '.join(TASKS)}")
    if names:
        raise MERError(f"task {name} has names of its own; names are of tasks classes and emotions")
    if name == "regression":
        return SentimentRegression(convention, limits)
    return SentimentClassification(_SENTIMENT_CLASSES[name], convention)
