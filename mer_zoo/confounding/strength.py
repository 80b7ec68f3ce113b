"""How strongly a wrapper subtracts a counterfactual prediction: a number a problem, chosen on validation data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.confounding.report import by_problem
from mer_zoo.errors import MERError
from mer_zoo.functional.deconfounding import (
    choose_tau,
    deconfounding_weights,
    effective_sample_size,
    fit_temperature,
)
from mer_zoo.options import check_choice

__all__ = ["PlainStrength", "Selection", "Strength", "check_strength"]

Selection = Literal["deconfounded", "validation", "fixed", "oracle", "propensity"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)
LEAST_SAMPLES = 30  # effective sample size below which the choice is not to be trusted


class Strength(nn.Module, ABC):
    """The strength tau for each problem of a task, in buffers of fixed shape.

    Subclasses say in :attr:`is_on` whether anything is subtracted at all.

    Args:
        owner: The wrapper, for messages and the log.
        symbol: What the wrapper calls the strength.
        problems: () for one problem, (E,) for E emotions; the shape of the buffers.
        selection: How tau is chosen; see :mod:`mer_zoo.wrappers.maci.wrapper`.
        fixed: The strength if it is not chosen.
        values: The strengths to choose from, in rising order.

    Attributes:
        tau: Strength chosen last.
        temperature: Temperature of the bias prediction at that choice.
        ess: Effective sample size of that choice; 0 where it was not weighted.
        chosen_by: Place of the rule of that choice in ``SELECTIONS``; -1 before any.
    """

    tau: Tensor
    temperature: Tensor
    ess: Tensor
    chosen_by: Tensor

    def __init__(
        self,
        owner: str,
        symbol: str,
        problems: Sequence[int],
        selection: Selection,
        fixed: float,
        values: Sequence[float],
    ) -> None:
        super().__init__()
        self.owner, self.symbol, self.values = owner, symbol, tuple(values)
        self.selection, self.fixed = selection, fixed
        shape = tuple(problems)
        self.register_buffer("tau", torch.full(shape, float(fixed)))
        self.register_buffer("temperature", torch.ones(shape))
        self.register_buffer("ess", torch.zeros(shape))
        self.register_buffer("chosen_by", torch.tensor(-1))
        self._has_warned = False

    @property
    @abstractmethod
    def is_on(self) -> bool:
        """Whether anything is subtracted; where not, there is nothing to say of the strength."""

    @property
    def chooses(self) -> bool:
        """Whether validation data choose tau."""
        return self.selection in ("deconfounded", "validation", "propensity")

    @property
    def tau_in_use(self) -> Tensor:
        """The strength, of the shape of ``tau``."""
        # A checkpoint of another selection must not change a fixed strength.
        return self.tau if self.chooses else torch.full_like(self.tau, self.fixed)

    @property
    def candidates(self) -> Sequence[Tensor | float]:
        """The strengths that an oracle tries on the evaluated split; otherwise the one in use, for kept scores."""
        return self.values if self.selection == "oracle" else [self.tau_in_use.cpu()]

    @property
    def is_chosen(self) -> bool:
        """Whether the strength in use was chosen by the selection asked for, or needs no choice."""
        return not self.chooses or int(self.chosen_by) == SELECTIONS.index(self.selection)

    @property
    def mark(self) -> str:
        """What tables show behind the wrapper's name."""
        return f"[oracle {self.symbol}]" if self.selection == "oracle" else ""

    @property
    def is_weighted(self) -> bool:
        """Whether validation samples are weighted, so that the effective sample size matters."""
        return self.selection in ("deconfounded", "propensity")

    def choose(
        self,
        y: Tensor,
        y_cf: Tensor,
        target: Tensor,
        bias: Tensor | None,
        prior: Tensor,
        given: Tensor | None = None,
    ) -> None:
        """Choose tau of each problem by validation data.

        Args:
            y: (N, G, C) scores.
            y_cf: (N, G, C) scores of the counterfactual.
            target: (N, G) classes.
            bias: (N, G, C) log-probabilities or logits of the bias alone; needed by the selection ``deconfounded``
                only.
            prior: (G, C) P(y).
            given: (N,) or (N, G) weights; needed by the selection ``propensity`` only.

        Raises:
            MERError: If weights are needed and not given.
        """
        if self.selection == "propensity" and given is None:
            raise MERError(
                f"{self.symbol}_selection propensity of {self.owner} needs weights of the validation samples, as"
                f" MERModule has them"
            )
        chosen = []
        for g in range(y.shape[1]):
            weights, temperature, ess = None, 1.0, 0.0
            if self.selection == "deconfounded":
                assert bias is not None
                temperature = fit_temperature(bias[:, g], target[:, g])
                weights = deconfounding_weights(bias[:, g], target[:, g], prior[g], temperature)
                ess = effective_sample_size(weights)
            elif self.selection == "propensity":
                assert given is not None
                weights = given.view(len(y), -1)[:, g]
                ess = effective_sample_size(weights)
            chosen.append((choose_tau(y[:, g], y_cf[:, g], target[:, g], weights, self.values), temperature, ess))
        for buffer, values in zip((self.tau, self.temperature, self.ess), zip(*chosen, strict=True), strict=True):
            buffer.copy_(torch.tensor(values).view_as(buffer))
        self.chosen_by.fill_(SELECTIONS.index(self.selection))

    @contextmanager
    def selecting(self, selection: Selection, fixed: float = 0.0) -> Iterator[None]:
        """Select in another way for a while, for several choices from one evaluation; then all is as it was before.

        Scores that are taken under ``deconfounded`` hold what every way needs; see :func:`mer_zoo.training.score`.

        Args:
            selection: How the strength is chosen.
            fixed: The strength if it is not chosen.

        Raises:
            MERError: For a selection that there is not, or a strength that it would not use.

        Example:
            >>> strength = PlainStrength("CLUE", "alpha", (), "validation", fixed=0.0, values=(0.0, 0.5, 1.0))
            >>> with strength.selecting("fixed", 0.7):
            ...     print(round(float(strength.tau_in_use), 6))
            0.7
            >>> strength.selection, float(strength.tau_in_use)
            ('validation', 0.0)
        """
        check_strength(self.owner, self.symbol, selection, fixed)
        asked = self.selection, self.fixed
        chosen = [(buffer, buffer.clone()) for buffer in (self.tau, self.temperature, self.ess, self.chosen_by)]
        self.selection, self.fixed = selection, fixed
        try:
            yield
        finally:
            self.selection, self.fixed = asked
            for buffer, before in chosen:
                buffer.copy_(before)

    def diagnostics(self, names: Sequence[str]) -> dict[str, float]:
        """The strength in use and the effective sample size behind it, by the name of each problem.

        Args:
            names: "" for one problem, else the problems' names.
        """
        if not self.is_on:
            return {}
        numbers = {}
        if self.selection != "oracle":
            numbers[self.symbol] = self.tau_in_use
        if self.is_weighted:
            numbers["ess"] = self.ess
        return by_problem(self.owner.lower(), numbers, names)

    def warning(self) -> str:
        """What is to be said of a choice that rests on few samples; else nothing."""
        fewest = float(self.ess.min())
        if not self.is_on or not self.is_weighted or not self.is_chosen or fewest >= LEAST_SAMPLES:
            return ""
        return (
            f"{self.owner} chose {self.symbol} by an effective sample size of {fewest:.1f}, below {LEAST_SAMPLES}; "
            f"a larger validation split or {self.symbol}_selection: fixed is safer"
        )

    def warn(self) -> None:
        """Give the warning, once."""
        warning = self.warning()
        if warning and not self._has_warned:
            rank_zero_warn(warning)
            self._has_warned = True

    def notes(self) -> list[str]:
        """What a reader of the scores must know."""
        if self.selection == "oracle":
            return [
                f"{self.owner}'s {self.symbol} is the best of {len(self.values)} for each metric on the evaluated split"
                f" itself, an"
                f" oracle's choice; saved scores are those of {self.symbol} 0"
            ]
        if not self.is_chosen:
            asked = f"{self.symbol}_selection {self.selection} asks"
            return [f"{self.owner}'s {self.symbol} was not chosen as {asked}; run validation before the test"]
        return [self.warning()] if self.warning() else []


class PlainStrength(Strength):
    """The strength of what is always subtracted; see :class:`Strength` for its options.

    Example:
        >>> strength = PlainStrength("CLUE", "alpha", (), "validation", fixed=0.0, values=(0.0, 0.5, 1.0))
        >>> y, y_cf = torch.tensor([[[1.0, 0.9]]]), torch.tensor([[[1.0, 0.0]]])
        >>> strength.choose(y, y_cf, torch.tensor([[1]]), None, torch.full((1, 2), 0.5))
        >>> strength.diagnostics([""])
        {'clue/alpha': 0.5}
    """

    @property
    @override
    def is_on(self) -> bool:
        return True


def check_strength(owner: str, symbol: str, selection: str, value: float) -> None:
    """Refuse a selection that there is not, and a strength out of range or that the selection would not use.

    Args:
        owner: The wrapper whose options they are.
        symbol: What it calls the strength.
        selection: How the strength is chosen.
        value: The strength if it is fixed.

    Raises:
        MERError: Naming the option.

    Example:
        >>> check_strength("CLUE", "alpha", "fixed", -1.0)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: alpha of CLUE is -1.0; give a finite number of at least 0
    """
    if not math.isfinite(value) or value < 0:
        raise MERError(f"{symbol} of {owner} is {value}; give a finite number of at least 0")
    check_choice(owner, f"{symbol}_selection", selection, SELECTIONS)
    if value != 0 and selection != "fixed":
        raise MERError(
            f"{symbol} is {value}, but {symbol}_selection {selection} does not use it; set {symbol}_selection: fixed"
        )
