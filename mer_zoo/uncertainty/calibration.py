"""What is fitted on validation data: a temperature, and how odd the true classes and scores were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mer_zoo.batch import availability_name
from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.functional.calibration import BINS, fit_scale, negative_log_likelihood
from mer_zoo.functional.conformal import set_scores
from mer_zoo.scores import Scores
from mer_zoo.task import Task
from mer_zoo.uncertainty.available import SETS

__all__ = ["Calibration", "Uncertainty", "calibrated", "fit_calibration", "labelled", "task_of"]


def task_of(task: Task) -> str:
    """A task as records name it.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> task_of(SentimentRegression())
        'SentimentRegression [1]'
    """
    return f"{type(task).__name__} {list(task.shape)}"


def labelled(scores: Scores) -> Tensor:
    """(N,) whether a sample has all its labels."""
    target = scores.target
    there: Tensor = ~target.isnan() if target.is_floating_point() else target >= 0
    return there.flatten(1).all(1) if there.dim() > 1 else there


@dataclass(frozen=True)
class Calibration:
    """What the validation samples with one set of modalities tell.

    Attributes:
        temperature: (P...) of each problem; of a score the deviation of the Gaussian around it.
        oddness: (n, P...) how odd the true class of each sample was, rising; see
            :func:`mer_zoo.functional.conformal.set_scores`.
        distance: (n,) how far each label was from the score, rising; None where classes are scored.
    """

    temperature: Tensor
    oddness: Tensor
    distance: Tensor | None = None

    @classmethod
    def read(cls, given: Fields) -> Calibration:
        """Read what :meth:`plain` wrote.

        Raises:
            MERError: For a field that is missing or odd; the message names it.
        """
        temperature, oddness = (_numbers(given, name) for name in ("temperature", "oddness"))
        distance = None if given.content.get("distance") is None else _numbers(given, "distance")
        if not (temperature > 0).all():
            raise given.refusal("temperature", "made of positive numbers")
        if oddness.shape[1:] != temperature.shape or not len(oddness):
            raise given.refusal("oddness", "numbers of some samples for each temperature")
        if distance is not None and (distance.dim() != 1 or not len(distance)):
            raise given.refusal("distance", "numbers of some samples")
        return cls(temperature, oddness, distance)

    def plain(self) -> dict[str, Any]:
        """Values that a checkpoint may hold."""
        return dict(vars(self))


def _numbers(given: Fields, name: str) -> Tensor:
    value = given.content.get(name)
    is_tensor = isinstance(value, Tensor) and value.dtype is torch.float32
    if not isinstance(value, Tensor) or not is_tensor or not value.isfinite().all() or value.lt(0).any():
        raise given.refusal(name, "finite numbers from 0 in single precision")
    return value.detach()


@dataclass(frozen=True)
class Uncertainty:
    """What a model knows of how sure it may be.

    Attributes:
        task: Name of the task and shape of its logits.
        complete: The set of all modalities in use, such as ``{l,a}``.
        groups: By set of modalities; empty where nothing could be fitted.
        refused: Why not.

    Example:
        >>> Uncertainty.read({"task": "SentimentRegression [1]", "complete": "{l}", "groups": {"x": {}}}, "best.ckpt")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: best.ckpt holds 'x', which is no set of modalities; use a checkpoint as mer-zoo ...
    """

    task: str
    complete: str
    groups: Mapping[str, Calibration] = field(default_factory=dict)
    refused: str = ""

    @classmethod
    def read(cls, content: object, where: str, remedy: str = "use a checkpoint as mer-zoo fit wrote it") -> Uncertainty:
        """Read what :meth:`plain` wrote.

        Args:
            content: What was read.
            where: The file, and where in it, for messages.
            remedy: What to do about an odd one.

        Raises:
            MERError: For a field that is missing or odd; the message names it.
        """
        given = Fields(content, where, remedy)
        parts = given.part("groups")
        for name in (*parts.content, given.text("complete")):
            if name not in SETS:
                raise MERError(f"{where} holds {name[:40]!r}, which is no set of modalities; {remedy}")
        groups = {name: Calibration.read(parts.part(name)) for name in parts.content}
        found = cls(given.text("task"), given.text("complete"), groups, given.optional_text("refused") or "")
        if groups and found.complete not in groups:
            raise MERError(f"{where} is not calibrated for complete data, {found.complete}; {remedy}")
        return found

    def plain(self) -> dict[str, Any]:
        """Values that a checkpoint may hold."""
        return {**vars(self), "groups": {name: group.plain() for name, group in self.groups.items()}}

    def check(self, task: Task, where: str) -> None:
        """Refuse what was fitted for another task.

        Args:
            task: The task that is at hand.
            where: The file, for messages.

        Raises:
            MERError: Naming both.
        """
        shapes = [(group.temperature.shape, group.distance is None) for group in self.groups.values()]
        if self.task != task_of(task) or any(shape != (task.shape[:-1], task.is_classification) for shape in shapes):
            raise MERError(
                f"{where} holds a calibration for {self.task[:100]}, not for {task_of(task)}; use a checkpoint of this"
                " task, or train again"
            )


def fit_calibration(task: Task, scores: Scores) -> Calibration:
    """Fit the temperature by the likelihood of the labels, and keep how odd these are.

    Args:
        task: What the logits mean.
        scores: Scores of a whole validation split; samples without labels are left out.

    Raises:
        MERError: With fewer samples than bins of the calibration error, without a sample of some class, or where scores
            are not finite.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Sec. 4.2; Romano et al., "Classification with
        Valid and Adaptive Coverage", NeurIPS 2020, Algorithm 1; Lei et al., "Distribution-Free Predictive Inference for
        Regression", JASA 113, 2018, Algorithm 2 (distances of scores).

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> target = torch.linspace(-3, 3, 40)
        >>> found = fit_calibration(SentimentRegression(), Scores(target[:, None] + 0.5, {}, target, torch.arange(40)))
        >>> round(found.distance.max().item(), 3)
        0.5
    """
    known = labelled(scores)
    logits, target = scores.logits[known].double(), scores.target[known]
    if not logits.isfinite().all():
        raise MERError("validation scores are not finite, and calibrate nothing; lower the learning rate")
    if len(logits) < BINS:
        raise MERError(
            f"{len(logits)} labelled validation samples can't calibrate {BINS} bins; give at least {BINS} of them"
        )
    classes = task.classify(target)
    _check_all_seen(task, classes)
    fitted = fit_scale(lambda scale: negative_log_likelihood(task.probabilities(logits, scale), classes))
    temperature = fitted.float()  # as it is kept
    odd = set_scores(task.probabilities(logits, temperature)).gather(-1, classes[..., None]).squeeze(-1)
    distance = None if task.is_classification else (task.score(logits) - target.double()).abs().sort().values.float()
    return Calibration(temperature, odd.sort(0).values.float(), distance)


def _check_all_seen(task: Task, classes: Tensor) -> None:
    for place, problem in enumerate(task.problems):
        seen = set((classes if classes.dim() == 1 else classes[:, place]).tolist())
        lacking = [name for number, name in enumerate(task.outcomes) if number not in seen]
        if lacking:
            of = f" of {problem}" if problem else ""
            raise MERError(
                f"no validation sample is {' or '.join(lacking)}{of}; give a validation split with all classes, or take"
                " a task of fewer"
            )


def calibrated(task: Task, modalities: Sequence[str], scores: Scores) -> Uncertainty:
    """What complete validation data tell; why not, where they tell nothing.

    Args:
        task: What the logits mean.
        modalities: The modalities in use.
        scores: Scores of the whole validation split.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> few = Scores(torch.zeros(4, 1), {}, torch.zeros(4), torch.arange(4))
        >>> calibrated(SentimentRegression(), ["text"], few).refused
        "4 labelled validation samples can't calibrate 15 bins; give at least 15 of them"
    """
    name = availability_name(modalities)
    try:
        return Uncertainty(task_of(task), name, {name: fit_calibration(task, scores)})
    except MERError as error:
        return Uncertainty(task_of(task), name, refused=str(error))
