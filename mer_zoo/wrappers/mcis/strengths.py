"""How much of each bias term MCIS takes off: three numbers a problem, chosen on validation data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from mer_zoo.confounding.report import by_problem
from mer_zoo.confounding.strength import LEAST_SAMPLES
from mer_zoo.errors import MERError
from mer_zoo.functional.deconfounding import effective_sample_size
from mer_zoo.functional.metrics import macro_f1, weighted_f1
from mer_zoo.functional.term_search import Point, search_strengths, subtract_terms
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["Measure", "Selection", "TermStrengths"]

Selection = Literal["deconfounded", "validation", "fixed", "oracle"]
Measure = Literal["macro_f1", "weighted_f1"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)
SYMBOLS = ("x", "y", "z")
MEASURES: dict[str, Callable[[Tensor], Tensor]] = {"macro_f1": macro_f1, "weighted_f1": weighted_f1}


class TermStrengths(nn.Module):
    """Strengths x, y and z of each problem of a task, in buffers of fixed shape.

    Args:
        task: What the logits mean. Where it has no classes, the mean absolute error is searched by.
        selection: How they are chosen; see :mod:`mer_zoo.wrappers.mcis.wrapper`.
        fixed: The strengths where they are not chosen.
        terms: How many of them are searched, two or three; z is else 0.
        measure: What is searched by where there are classes.

    Attributes:
        found: (P, 3) strengths chosen last.
        ess: (P,) effective sample size of that choice; 0 where it was not weighted.
        chosen_by: Place of the rule of that choice in ``SELECTIONS``; -1 before any.

    Raises:
        MERError: For an option out of range, or strengths that the selection would not use.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> strengths = TermStrengths(SentimentClassification(2), "fixed", (0.5, 1.0, 0.0))
        >>> strengths.in_use.tolist()
        [[0.5, 1.0, 0.0]]
    """

    found: Tensor
    ess: Tensor
    chosen_by: Tensor

    def __init__(
        self,
        task: Task,
        selection: Selection,
        fixed: Sequence[float] = (0.0, 0.0, 0.0),
        terms: int = 2,
        measure: Measure = "macro_f1",
    ) -> None:
        super().__init__()
        check_choice("MCIS", "strengths", selection, SELECTIONS)
        check_choice("MCIS", "measure", measure, get_args(Measure))
        for symbol, value in zip(SYMBOLS, fixed, strict=True):
            if not math.isfinite(value):
                raise MERError(f"{symbol} of MCIS is {value}; give a finite number")
            if value != 0 and selection != "fixed":
                raise MERError(f"{symbol} is {value}, but strengths {selection} does not use it; set strengths: fixed")
        self.task, self.selection, self.fixed, self.terms = task, selection, tuple(fixed), terms
        self.measure = MEASURES[measure]
        problems = len(task.problems)
        self.register_buffer("found", torch.zeros(problems, len(SYMBOLS)))
        self.register_buffer("ess", torch.zeros(problems))
        self.register_buffer("chosen_by", torch.tensor(-1))
        self._has_warned = False

    @property
    def chooses(self) -> bool:
        """Whether validation data choose them."""
        return self.selection in ("deconfounded", "validation")

    @property
    def in_use(self) -> Tensor:
        """(P, 3) strengths."""
        # A checkpoint of another selection must not change fixed strengths.
        return self.found if self.chooses else self.found.new_tensor(self.fixed).expand_as(self.found)

    def debias(self, factual: Tensor, terms: Tensor, strengths: Tensor) -> Tensor:
        """Take the terms off.

        Args:
            factual: (N, *task shape) scores.
            terms: (3, N, *task shape).
            strengths: (P, 3).
        """
        by_problem = strengths.T[:, None] if len(strengths) > 1 else strengths[0]
        return subtract_terms(factual, terms, by_problem)

    def choose(self, factual: Tensor, terms: Tensor, target: Tensor, weights: Tensor | None) -> None:
        """Choose them by validation data; see :meth:`search`. Without weights all samples count alike."""
        weights = weights if self.selection == "deconfounded" else None
        self.found.copy_(self.search(factual, terms, target, weights))
        columns = [] if weights is None else list(weights.view(len(factual), -1).T)
        self.ess.copy_(torch.tensor([effective_sample_size(column) for column in columns] or [0.0]).expand_as(self.ess))
        self.chosen_by.fill_(SELECTIONS.index(self.selection))

    def search(self, factual: Tensor, terms: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
        """The best strengths that the search finds.

        Args:
            factual: (N, *task shape) scores.
            terms: (3, N, *task shape).
            target: Labels as they stand in a Batch.
            weights: (N,) or (N, P) weights of the samples.

        Returns:
            (P, 3) strengths.
        """
        size, problems = len(factual), len(self.found)
        f, b = factual.view(size, problems, -1), terms.reshape(len(terms), size, problems, -1)[: self.terms]
        truth = self.task.encode(target).view(size, problems)
        each = torch.ones(size, 1, dtype=torch.float64) if weights is None else weights.view(size, -1).double()
        each = each.expand(-1, problems)
        found = torch.zeros(problems, len(SYMBOLS))
        for p in range(problems):
            score = self._score(f[:, p], b[:, :, p], truth[:, p], each[:, p])
            found[p, : self.terms] = torch.tensor(search_strengths(score, self.terms)[0])
        return found

    def _score(self, f: Tensor, b: Tensor, truth: Tensor, weights: Tensor) -> Callable[[Point], float]:
        def score(point: Point) -> float:
            said = subtract_terms(f, b, torch.tensor(point))
            if not self.task.is_classification:
                return -float((weights * (said.squeeze(1) - truth).abs()).sum() / weights.sum())
            classes = said.shape[1]
            places = truth * classes + said.argmax(1)
            counts = torch.bincount(places, weights, minlength=classes**2)
            return float(self.measure(counts.view(classes, classes)))

        return score

    def diagnostics(self) -> dict[str, float]:
        """The strengths in use, and the effective sample size behind them, by the name of each problem."""
        numbers = {} if self.selection == "oracle" else dict(zip(SYMBOLS[: self.terms], self.in_use.T, strict=False))
        weighted = {"ess": self.ess} if float(self.ess.min()) > 0 else {}
        return by_problem("mcis", {**numbers, **weighted}, self.task.problems)

    def warn(self) -> None:
        """Warn, once, of a choice that rests on few samples."""
        warning = self._warning()
        if warning and not self._has_warned:
            rank_zero_warn(warning)
            self._has_warned = True

    def _warning(self) -> str:
        fewest = float(self.ess.min())
        if not self.chooses or not 0 < fewest < LEAST_SAMPLES:
            return ""
        return (
            f"MCIS chose its strengths by an effective sample size of {fewest:.1f}, below {LEAST_SAMPLES}; a larger"
            " validation split or strengths: fixed is safer"
        )

    def notes(self) -> list[str]:
        """What a reader of the scores must know."""
        if self.selection == "oracle":
            return [
                "MCIS's strengths are searched on the evaluated split itself, an oracle's choice; saved scores are"
                " those of strengths 0"
            ]
        if self.chooses and int(self.chosen_by) != SELECTIONS.index(self.selection):
            return [f"MCIS's strengths were not chosen as {self.selection} asks; run validation before the test"]
        if self.selection == "deconfounded" and float(self.ess.min()) == 0:
            return ["MCIS's strengths were chosen on plain validation data, for want of weights of its samples"]
        return [self._warning()] if self._warning() else []
