"""Labels of any kind as regression targets, and as questions that scores are ordered for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mer_zoo.functional.ranking import area_under_roc, areas_under_roc

__all__ = ["Targets"]

FEWEST = 5  # samples of each side, below which a question is not asked


@dataclass(frozen=True)
class Targets:
    """The labels of N samples.

    Args:
        kind: ``sentiment``, ``classes`` or ``emotions``.
        columns: (N, K) what a regression is fitted to: the score, the class one-hot, or the emotions.

    Example:
        >>> labels = Targets.of(np.array([-1.0, 0.0, 2.0, 1.0]))
        >>> labels.accuracy(torch.tensor([[-0.5], [1.0], [1.0], [-1.0]])), labels.majority()
        (0.666..., 0.666...)
    """

    kind: str
    columns: Tensor

    @classmethod
    def of(cls, labels: npt.NDArray[Any], classes: int = 0) -> Targets:
        """From labels as a corpus has them.

        Args:
            labels: Float (N,) sentiment, integer (N,) classes or integer (N, E) emotions.
            classes: Number of classes, where some may be missing here.
        """
        values = torch.from_numpy(np.array(labels))
        if values.dim() == 2:
            return cls("emotions", values.double())
        if values.is_floating_point():
            return cls("sentiment", values.double()[:, None])
        return cls(
            "classes",
            torch.nn.functional.one_hot(values.long(), max(classes, int(values.max()) + 1)).double(),
        )

    def __len__(self) -> int:
        return len(self.columns)

    def __getitem__(self, rows: Any) -> Targets:
        return Targets(self.kind, self.columns[rows])

    def questions(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Column of the scores, (N,) which samples count, and (M,) which of these are positive."""
        for place, column in enumerate(self.columns.T):
            counted = column != 0 if self.kind == "sentiment" else torch.ones_like(column, dtype=torch.bool)
            positive = column[counted] > 0
            if min(int(positive.sum()), int((~positive).sum())) >= FEWEST:
                yield place, counted, positive

    def area(self, scores: Tensor) -> float:
        """Area under the ROC curve, its mean over the questions; NaN where there is none.

        Args:
            scores: (N, K).
        """
        areas = [area_under_roc(scores[counted, place], positive) for place, counted, positive in self.questions()]
        return sum(areas) / len(areas) if areas else math.nan

    def areas(self, columns: Tensor) -> Tensor:
        """Areas of each single column for each question.

        Args:
            columns: (N, d) what is taken for scores.

        Returns:
            (d, K) areas, NaN for questions that are not asked.
        """
        found = torch.full((columns.shape[1], self.columns.shape[1]), math.nan, dtype=torch.float64)
        asked = list(self.questions())
        if asked:
            counted = asked[0][1]  # the same for all
            positive = torch.stack([positive for _, _, positive in asked], 1)
            found[:, [place for place, _, _ in asked]] = areas_under_roc(columns[counted], positive)
        return found

    def chance(self) -> float:
        """Standard deviation of an area by chance, as it is where scores say nothing; NaN without a question."""
        counts = [(int(positive.sum()), int((~positive).sum())) for _, _, positive in self.questions()]
        if not counts:
            return math.nan
        return sum(math.sqrt((one + other + 1) / (12 * one * other)) for one, other in counts) / len(counts)

    def accuracy(self, scores: Tensor) -> float:
        """Share of right signs without neutral samples, of right classes, or of right emotions."""
        if self.kind == "classes":
            return float((scores.argmax(1) == self.columns.argmax(1)).double().mean())
        if self.kind == "emotions":
            return float(((scores > 0.5) == (self.columns > 0.5)).double().mean())
        counted = self.columns != 0
        return float(((scores > 0) == (self.columns > 0))[counted].double().mean())

    def majority(self) -> float:
        """The accuracy of the most frequent answer."""
        if self.kind == "classes":
            return float(self.columns.mean(0).max())
        if self.kind == "emotions":
            share = self.columns.mean(0)
            return float(torch.maximum(share, 1 - share).mean())
        share = (self.columns[self.columns != 0] > 0).double().mean()
        return float(torch.maximum(share, 1 - share))

    @property
    def single(self) -> Tensor:
        """(N, K) columns that one feature may be compared with, of classes their number as well."""
        if self.kind != "classes":
            return self.columns
        return torch.cat([self.columns, self.columns.argmax(1, keepdim=True).double()], 1)
