"""Numbers of optimisers and schedules that torch takes although nothing can be trained by them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from typing_extensions import override

from mer_zoo.errors import MERError

__all__ = ["check_group", "check_numbers", "check_rates", "check_schedule_options"]

_STEPS = 100  # of a schedule that are tried
_LEAST = {"step_size": 1, "T_max": 1, "total_iters": 1, "patience": 0, "cooldown": 0, "threshold": 0, "min_lrs": 0}
_POSITIVE = ("gamma", "factor")


class _Still(Optimizer):
    """Has the groups of an optimiser, and changes nothing."""

    @override
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pass


def check_schedule_options(scheduler: LRScheduler | ReduceLROnPlateau) -> None:
    """Refuse numbers of a schedule of which torch says nothing, or nothing until it divides by them.

    Args:
        scheduler: The schedule.

    Raises:
        MERError: Naming schedule and option.

    Example:
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> check_schedule_options(torch.optim.lr_scheduler.StepLR(optimizer, step_size=0))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: StepLR: step_size is 0; give at least 1
    """
    for name, least in _LEAST.items():
        given = getattr(scheduler, name, least)
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, (int, float)) and not value >= least:  # not a number is not, either
                raise MERError(f"{type(scheduler).__name__}: {name} is {value}; give at least {least}")
    for name in _POSITIVE:
        value = getattr(scheduler, name, 1)
        if isinstance(value, (int, float)) and not value > 0:
            raise MERError(f"{type(scheduler).__name__}: {name} is {value}; give a positive number")


def check_rates(factory: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau], optimizer: Optimizer) -> None:
    """Refuse a schedule that makes a learning rate negative or no number, tried on an optimiser without parameters.

    Args:
        factory: Makes the schedule.
        optimizer: What it is meant for; it stays as it is.

    Raises:
        MERError: Naming schedule, rate and step.

    Example:
        >>> from torch.optim.lr_scheduler import LambdaLR
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> check_rates(lambda optimizer: LambdaLR(optimizer, lambda step: 1 - step), optimizer)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: LambdaLR makes the learning rate -1 after 2 of its steps; give it other options
    """
    options = [{name: v for name, v in group.items() if name != "params"} for group in optimizer.param_groups]
    still = _Still([{"params": [torch.nn.Parameter(torch.zeros(1))], **one} for one in options], optimizer.defaults)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scheduler: Any = factory(still)
        except Exception:  # the real one is about to be made, and says what is wrong
            return
        for step in range(_STEPS):
            for group in still.param_groups:
                rate = float(group["lr"])
                if not 0 <= rate < math.inf:
                    raise MERError(
                        f"{type(scheduler).__name__} makes the learning rate {rate:g} after {step} of its steps; give"
                        " it other options"
                    )
            try:
                scheduler.step(*([1.0] if isinstance(scheduler, ReduceLROnPlateau) else []))
            except Exception:  # of a schedule that has an end
                return


def check_group(pattern: str, options: dict[str, Any], optimizer: Optimizer) -> None:
    """Refuse options of a group that the optimiser refuses as its own; torch checks those alone.

    Args:
        pattern: The pattern of the group, for the message.
        options: Its options.
        optimizer: One of the kind.

    Raises:
        MERError: Naming pattern and option.
    """
    kind = type(optimizer)
    taken = signature(kind).parameters
    given = {name: value for name, value in {**optimizer.defaults, **options}.items() if name in taken}
    try:
        kind([torch.nn.Parameter(torch.zeros(1))], **given)
    except (ValueError, TypeError) as error:
        raise MERError(f"param_groups {pattern!r}: {str(error).rstrip('.')}; give it other options") from error


def check_numbers(optimizer: Optimizer) -> None:
    """Refuse options of an optimiser that are infinite or no numbers.

    Args:
        optimizer: The optimiser.

    Raises:
        MERError: Naming the option.

    Example:
        >>> check_numbers(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=float("inf")))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: lr of the optimizer is inf; give a finite number
    """
    for group in optimizer.param_groups:
        for name, given in group.items():
            for value in given if isinstance(given, (tuple, list)) else [given]:
                if isinstance(value, float) and not math.isfinite(value):
                    raise MERError(f"{name} of the optimizer is {value}; give a finite number")
