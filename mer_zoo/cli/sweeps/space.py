"""The parameters of a W&B sweep, and how a trial of Optuna draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from mer_zoo.errors import MERError

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

__all__ = ["Parameter", "build_parameter"]

Value = str | float | bool  # an int is a float to the type checker

RANGE = {"min": None, "max": None}
NORMAL = {"mu": 0.0, "sigma": 1.0}
GRID = {"q": 1}
KINDS: dict[str, dict[str, Any]] = {  # the keys of each distribution with their defaults; None must be given
    "constant": {"value": None},
    "categorical": {"values": None},
    "int_uniform": RANGE,
    "uniform": RANGE,
    "q_uniform": RANGE | GRID,
    "log_uniform": RANGE,
    "log_uniform_values": RANGE,
    "q_log_uniform": RANGE | GRID,
    "q_log_uniform_values": RANGE | GRID,
    "normal": NORMAL,
    "q_normal": NORMAL | GRID,
    "log_normal": NORMAL,
    "q_log_normal": NORMAL | GRID,
}
TAIL = 0.001  # of a normal distribution that is not searched on either side: beyond 3.1 sigma


@dataclass(frozen=True)
class Parameter:
    """One searched or fixed option of the command line.

    Args:
        name: The option in dots, such as ``model.optimizer.lr``.
        kind: The distribution, one of those of W&B.
        options: Its keys, such as ``min`` and ``max``.
    """

    name: str
    kind: str
    options: Mapping[str, Any]

    def draw(self, trial: BaseTrial) -> Value:
        """The value that a trial takes.

        Args:
            trial: A trial of Optuna.

        Example:
            >>> from optuna.trial import FixedTrial
            >>> build_parameter("rate", {"min": 0.0, "max": 0.5, "q": 0.1, "distribution": "q_uniform"}).draw(
            ...     FixedTrial({"rate": 0.1 * 3})
            ... )
            0.3
        """
        value: Value
        if self.kind == "constant":
            value = self.options["value"]
        elif self.kind == "categorical":
            value = trial.suggest_categorical(self.name, self.options["values"])
        elif self.kind == "int_uniform":
            value = trial.suggest_int(self.name, self.options["min"], self.options["max"])
        else:
            value = self._draw_number(trial)
        return value

    def _draw_number(self, trial: BaseTrial) -> float:
        step: Any = self.options.get("q")
        if self.kind == "q_uniform":
            low = _on_grid(self.options["min"], step, ROUND_CEILING)
            high = _on_grid(self.options["max"], step, ROUND_FLOOR)
            number = trial.suggest_float(self.name, low, high, step=step)
        elif "normal" in self.kind:
            # Optuna has no normal distribution: its quantile is searched instead.
            quantile = trial.suggest_float(f"quantile of {self.name}", TAIL, 1 - TAIL)
            number = NormalDist(self.options["mu"], self.options["sigma"]).inv_cdf(quantile)
            number = math.exp(number) if "log" in self.kind else number
        else:
            low, high = self._bounds()
            number = trial.suggest_float(self.name, low, high, log="log" in self.kind)
        return number if step is None else _on_grid(number, step, ROUND_HALF_EVEN)

    def _bounds(self) -> tuple[float, float]:
        low, high = float(self.options["min"]), float(self.options["max"])
        return (math.exp(low), math.exp(high)) if self.kind in ("log_uniform", "q_log_uniform") else (low, high)

    def samples(self) -> list[Value]:
        """Values that stand for all: every choice, or the two ends of a range."""
        if self.kind == "constant":
            return [self.options["value"]]
        if self.kind == "categorical":
            return list(self.options["values"])
        if self.kind == "int_uniform":
            return [self.options["min"], self.options["max"]]
        if "normal" in self.kind:
            ends = [math.exp(self.options["mu"]) if "log" in self.kind else float(self.options["mu"])]
        else:
            ends = list(self._bounds())
        step = self.options.get("q")
        return [end if step is None else _on_grid(end, step, ROUND_HALF_EVEN) for end in ends]


def build_parameter(name: str, given: Any) -> Parameter:
    """Read one entry of a sweep file's ``parameters``.

    Args:
        name: The option in dots.
        given: What stands under it.

    Returns:
        The parameter; without ``distribution`` its kind follows from the keys, as W&B has it.

    Raises:
        MERError: For a distribution that can't be searched offline, or keys or bounds that make none.

    Example:
        >>> build_parameter("model.backbone.depth", {"min": 1, "max": 4}).kind
        'int_uniform'
        >>> build_parameter("model.wrappers.alpha", {"distribution": "beta"})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: model.wrappers.alpha: distribution 'beta' can't be searched offline; choose from ...
    """
    if not isinstance(given, Mapping):
        raise MERError(f"{name}: give value, values, or min and max, in place of {given!r}")
    if "parameters" in given:
        raise MERError(f"{name}: nested parameters reach no command line; write the option out in dots")
    options = {str(key): value for key, value in given.items()}
    kind = options.pop("distribution", None) or _kind_of(options)
    if not isinstance(kind, str) or kind not in KINDS:
        raise MERError(f"{name}: distribution {kind!r} can't be searched offline; choose from {', '.join(KINDS)}")
    known = KINDS[kind]
    for key in sorted(options.keys() - known.keys()):
        raise MERError(f"{name}: {key!r} means nothing to {kind}; leave it out")
    options = {key: options.get(key, default) for key, default in known.items()}
    for key in known:
        if options[key] is None:
            raise MERError(f"{name}: {kind} needs {key}; for an empty option write the text 'null'")
    _check(name, kind, options)
    return Parameter(name, kind, options)


def _kind_of(options: Mapping[str, Any]) -> str:
    if "value" in options:
        return "constant"
    if "values" in options:
        return "categorical"
    return "int_uniform" if all(_is_int(options.get(end)) for end in RANGE) else "uniform"


def _check(name: str, kind: str, options: Mapping[str, Any]) -> None:
    if kind in ("constant", "categorical"):
        _check_values(name, [options["value"]] if kind == "constant" else options["values"])
        return
    for key, number in options.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise MERError(f"{name}: {key} is {number!r}; give a number (1e-3 is a text in YAML, 1.0e-3 a number)")
    if kind == "int_uniform" and not (_is_int(options["min"]) and _is_int(options["max"])):
        raise MERError(f"{name}: int_uniform has integers as min and max")
    if options.get("q", 1) <= 0 or options.get("sigma", 1) <= 0:
        raise MERError(f"{name}: q and sigma are positive")
    if "min" in options:
        _check_range(name, kind, options)


def _check_values(name: str, values: Any) -> None:
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise MERError(f"{name}: values is {values!r}; give a list with at least one entry")
    for value in values:
        # W&B writes anything else as a Python literal, which the command line reads otherwise or not at all.
        if not isinstance(value, str | int | float):
            raise MERError(f"{name}: {value!r} is no plain value; write it as a text, such as 'null' or '[MACI, MSSD]'")


def _check_range(name: str, kind: str, options: Mapping[str, Any]) -> None:
    low, high = options["min"], options["max"]
    if low > high:
        raise MERError(f"{name}: min {low} is above max {high}")
    if kind in ("log_uniform_values", "q_log_uniform_values") and low <= 0:
        raise MERError(f"{name}: min is {low}; the logarithm needs a positive one")
    if kind in ("log_uniform", "q_log_uniform") and high > 700:
        raise MERError(f"{name}: the bounds of {kind} are exponents of e; for the values themselves take {kind}_values")
    if kind == "q_uniform" and _on_grid(low, options["q"], ROUND_CEILING) > _on_grid(high, options["q"], ROUND_FLOOR):
        raise MERError(f"{name}: no multiple of q {options['q']} lies between {low} and {high}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _on_grid(number: float, step: float, rounding: str) -> float:
    """The multiple of a step next to a number, without binary fractions' noise; an integer for an integer step."""
    unit = Decimal(str(step))
    value = (Decimal(str(number)) / unit).to_integral_value(rounding) * unit
    return int(value) if isinstance(step, int) else float(value)
