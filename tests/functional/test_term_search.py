"""The search for strengths against the released codes of Corsair and TFD, and by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from golden_cases import Case, golden
from torch import Tensor

from mer_zoo.functional.metrics import macro_f1, weighted_f1
from mer_zoo.functional.term_search import DIRECTIONS, Point, search_strengths, subtract_terms


def scorer(
    case: Case, names: list[str], measure: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Callable[[Point], float]]:
    factual, target = case.inputs["factual"], case.inputs["target"].long()
    terms = torch.stack([case.inputs[name].expand_as(factual) for name in names])
    classes = factual.shape[1]

    def score(point: Point) -> float:
        found = subtract_terms(factual, terms, torch.tensor(point)).argmax(1)
        return float(
            measure(torch.bincount(target * classes + found, minlength=classes**2).view(classes, classes).double())
        )

    return terms, score


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_corsair() -> None:
    case = golden("corsair_search")
    terms, score = scorer(case, ["full", "partial"], macro_f1)
    assert score((0.0, 0.0)) == pytest.approx(float(case.outputs["factual_f1"]), abs=1e-6)
    point, best = search_strengths(score, 2)
    assert best == pytest.approx(float(case.outputs["best_f1"]), abs=1e-6)
    assert point == pytest.approx([float(case.outputs[f"{name}_strength"]) for name in ("label", "word")], abs=1e-6)
    debiased = subtract_terms(case.inputs["factual"], terms, torch.tensor(point))
    close(debiased, case.outputs["debiased"])
    assert torch.equal(debiased.argmax(1), case.outputs["predicted"].long())


def test_tfd() -> None:
    case = golden("tfd_search")
    terms, score = scorer(case, ["label", "word", "speaker"], weighted_f1)
    point, best = search_strengths(score, 3)
    assert best == pytest.approx(float(case.outputs["f1"]), abs=1e-6)
    assert point == pytest.approx(case.outputs["strengths"].tolist(), abs=1e-5)
    close(subtract_terms(case.inputs["factual"], terms, torch.tensor(point)), case.outputs["debiased"])


def test_regression_by_hand() -> None:
    found = subtract_terms(torch.tensor([[1.4]]), torch.tensor([[[0.6]], [[0.3]]]), torch.tensor([0.5, 1.0]))
    assert found.item() == pytest.approx(0.8)


def test_each_problem_has_its_strengths() -> None:
    terms = torch.ones(2, 4, 3, 2)
    strengths = torch.tensor([[0.0, 1.0, 2.0], [0.0, 0.0, 1.0]])[:, None]
    found = subtract_terms(torch.zeros(4, 3, 2), terms, strengths)
    assert found[0, :, 0].tolist() == [0.0, -1.0, -3.0]


def test_a_direction_is_left_after_twenty_steps_without_a_gain() -> None:
    def plateau(width: int) -> Callable[[Point], float]:
        return lambda point: float(round(10 * point[0]) >= width)

    assert search_strengths(plateau(20), 2)[1] == 1
    assert search_strengths(plateau(21), 2) == ((0.0, 0.0), 0.0)


def test_points_that_print_alike_are_scored_once() -> None:
    asked: list[tuple[str, ...]] = []

    def score(point: Point) -> float:
        asked.append(tuple(f"{value:.2f}" for value in point))
        return -abs(point[0] - 0.5)

    search_strengths(score, 2)
    assert len(asked) == len(set(asked))


def test_the_order_of_directions_decides_between_equal_points() -> None:
    """Both (.1, 0) and (0, .1) would do; the first direction is asked first."""
    assert search_strengths(lambda at: float(round(at[0] + at[1], 6) == 0.1), 2)[0] == (0.1, 0.0)
    assert [len(DIRECTIONS[terms]) for terms in (2, 3)] == [8, 26]
