"""A calibration at one level: what results.json keeps of it, and what reads predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.functional.conformal import check_level, conformal_quantile
from mer_zoo.task import Task
from mer_zoo.uncertainty.available import SETS
from mer_zoo.uncertainty.calibration import Uncertainty

__all__ = ["Limits", "Thresholds"]

_MOST, _LARGEST = 1000, 1e6  # problems of a task, number


@dataclass(frozen=True)
class Limits:
    """What is asked of predictions with one set of modalities.

    Attributes:
        temperature: (P...) of each problem.
        oddness: (P...) of the oddest class that still belongs to a set.
        distance: () half the width of the interval around a score; None where classes are scored.
        count: Validation samples that they rest on.
    """

    temperature: Tensor
    oddness: Tensor
    distance: Tensor | None
    count: int

    def plain(self) -> dict[str, Any]:
        """Values for JSON."""
        return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in vars(self).items()}

    @classmethod
    def read(cls, given: Fields) -> Limits:
        """Read what :meth:`plain` wrote.

        Raises:
            MERError: For a field that is missing or odd; the message names it.
        """
        temperature, oddness = (_numbers(given, name) for name in ("temperature", "oddness"))
        distance = None if given.content.get("distance") is None else _numbers(given, "distance")
        is_one = distance is None or not distance.dim()
        if temperature.shape != oddness.shape or not (temperature > 0).all() or not is_one:
            raise given.refusal("temperature", "above 0 and one for each oddness, beside one distance at most")
        return cls(temperature, oddness, distance, given.count("count"))


def _numbers(given: Fields, name: str) -> Tensor:
    value = given.plain(name)
    values = value if isinstance(value, list) else [value]
    if len(values) > _MOST or not all(type(each) in (int, float) and 0 <= each < _LARGEST for each in values):
        raise given.refusal(name, "a number from 0, or a list of them")
    return torch.tensor(value, dtype=torch.float32)


@dataclass(frozen=True)
class Thresholds:
    """A model's calibration at one level.

    Attributes:
        level: The share of samples that sets and intervals are to cover.
        complete: The set of all modalities in use.
        groups: By set of modalities.

    Raises:
        MERError: For a level outside (0, 1).
    """

    level: float
    complete: str
    groups: Mapping[str, Limits]

    def __post_init__(self) -> None:
        check_level(self.level)

    @classmethod
    def of(cls, uncertainty: Uncertainty, level: float) -> Thresholds | None:
        """Take the quantiles of a level; sets of modalities with too few samples for it are left out.

        Args:
            uncertainty: What was fitted.
            level: The share of samples that is to be covered.

        Returns:
            None where nothing could be fitted.

        Raises:
            MERError: For a level that is none, or that the complete validation data can't promise.

        Example:
            >>> from mer_zoo.uncertainty.calibration import Calibration
            >>> kept = Calibration(torch.ones(()), torch.linspace(0, 1, 19))
            >>> found = Thresholds.of(Uncertainty("SentimentClassification [3]", "{l}", {"{l}": kept}), 0.9)
            >>> round(found.groups["{l}"].oddness.item(), 3)
            0.944
        """
        check_level(level)
        groups = {}
        for name, group in uncertainty.groups.items():
            try:
                oddness = conformal_quantile(group.oddness, level)
            except MERError:
                if name == uncertainty.complete:
                    raise
                continue
            distance = None if group.distance is None else conformal_quantile(group.distance, level)
            groups[name] = Limits(group.temperature, oddness, distance, len(group.oddness))
        return cls(level, uncertainty.complete, groups) if groups else None

    def fits(self, task: Task) -> bool:
        """Whether it was fitted for logits of a task's shape."""
        wanted = task.shape[:-1], task.is_classification
        found = ((tuple(limits.temperature.shape), limits.distance is None) for limits in self.groups.values())
        return all(kind == wanted for kind in found)

    def plain(self) -> dict[str, Any]:
        """Values for JSON."""
        return {**vars(self), "groups": {name: group.plain() for name, group in self.groups.items()}}

    @classmethod
    def read(cls, given: Fields) -> Thresholds:
        """Read what :meth:`plain` wrote.

        Raises:
            MERError: For a field that is missing or odd; the message names it.
        """
        parts, complete = given.part("groups"), given.text("complete")
        if complete not in parts.content or not set(parts.content) <= set(SETS):
            raise given.refusal("groups", f"calibrations by sets of modalities, {complete} among them")
        groups = {name: Limits.read(parts.part(name)) for name in parts.content}
        kinds = {(limits.temperature.shape, limits.distance is None) for limits in groups.values()}
        if len(kinds) > 1:
            raise given.refusal("groups", "calibrations of one task")
        level = given.number("level")
        if not 0 < level < 1:
            raise given.refusal("level", "a share between 0 and 1")
        return cls(level, complete, groups)
