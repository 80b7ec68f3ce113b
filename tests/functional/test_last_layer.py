"""Refitting a last layer on groups of equal size: the released code's numbers, and solvers against their conditions."""

from __future__ import annotations

from functools import partial
from unittest.mock import Mock

import pytest
import torch
from golden_cases import golden
from torch import Tensor

from mer_zoo.functional import l1_logistic as l1_solver
from mer_zoo.functional.l1_logistic import l1_logistic
from mer_zoo.functional.last_layer import (
    Fit,
    Trial,
    averaged,
    balanced_subset,
    choose_strength,
    quality,
    ridge,
    standardiser,
    worst_mean,
)
from mer_zoo.functional.logistic import Logistic


def released(
    x: Tensor, y: Tensor, C: float, start: Logistic | None, by_class: tuple[float, float] = (1, 1)
) -> Logistic:
    weight = torch.tensor(by_class, dtype=torch.float64)[y]
    return l1_logistic(x, y, 2, C, weight, penalise_intercept=True, start=start, tolerance=1e-10)


@pytest.mark.parametrize("variant", ["val", "train"])
def test_tuning_and_refitting_as_released(variant: str) -> None:
    case = golden("dfr_two_stage")
    inputs, strengths = case.inputs, case.config["C_options"]
    x, y, g = ({split: inputs[f"{kind}_{split}"] for split in ("train", "val", "test")} for kind in "xyg")
    drawn = [inputs[f"perm_{variant}.{place}"] for place in range(int(inputs[f"perm_{variant}.n"]))]
    by_class: list[tuple[float, float]] = [(1, 1)]
    if variant == "val":
        half, order, rest = len(y["val"]) // 2, drawn[0], [p for p in drawn[5:] if len(p) < len(y["train"])]
        fitted, held = order[half:], order[:half]
        tuned = fitted[balanced_subset(g["val"][fitted], drawn[1:5])]
        mean, std = standardiser(x["val"][tuned])
    else:
        by_class = [(a, b) for a, b in case.config["class_weight_options"]]
        tuned, held, rest = balanced_subset(g["train"], drawn[:4]), torch.arange(len(y["val"])), drawn[4:]
        mean, std = standardiser(x["train"])
    scaled = {split: (values - mean) / std for split, values in x.items()}
    own = scaled[variant]
    trial = Trial(own[tuned], y[variant][tuned], scaled["val"][held], y["val"][held], g["val"][held])
    fits: list[Fit] = [partial(released, by_class=pair) for pair in by_class]
    best = choose_strength(fits, strengths, [trial])
    assert best.strength == pytest.approx(float(case.outputs[f"{variant}.C"]))
    assert by_class[best.option] == tuple(case.outputs[f"{variant}.class_weight"].tolist())

    mean, std = standardiser(x["train"])
    scaled = {split: (values - mean) / std for split, values in x.items()}
    layers = []
    for retrain in range(case.config["retrains"]):
        places = balanced_subset(g[variant], rest[4 * retrain : 4 * retrain + 4])
        assert len(places) == int(case.outputs[f"{variant}.fit_size"])
        layers.append(fits[best.option](scaled[variant][places], y[variant][places], best.strength, None))
    layer = averaged(layers)
    for found, name in ((layers[0], "first_"), (layer, "")):
        expected = case.outputs[f"{variant}.{name}coef"], case.outputs[f"{variant}.{name}intercept"]
        torch.testing.assert_close(found.weight[:, 1].float(), expected[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.bias[1].float(), expected[1], atol=1e-5, rtol=1e-5)
    right = quality(scaled["test"] @ layer.weight + layer.bias, y["test"])
    by_group = [float(right[g["test"] == group].mean()) for group in range(4)]
    assert by_group == pytest.approx(case.outputs[f"{variant}.test_group_acc"].tolist())
    assert float(right.mean()) == pytest.approx(float(case.outputs[f"{variant}.test_mean_acc"]))
    assert worst_mean(right, g["test"]) == min(by_group)


def correlated(samples: int, classes: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    x = torch.randn(samples, 3, generator=generator) @ torch.randn(3, 12, generator=generator)
    x = x + 0.1 * torch.randn(samples, 12, generator=generator)
    mean, std = standardiser(x)
    return (x - mean) / std, (x[:, :classes] + torch.randn(samples, classes, generator=generator)).argmax(1)


def check_optimum(layer: Logistic, x: Tensor, y: Tensor, C: float) -> None:
    """No coefficient may gain by more than the tolerance."""
    error = C * (layer.log_p(x).exp() - torch.nn.functional.one_hot(y, layer.weight.shape[1]))
    slope, largest = x.T @ error, 1e-6 * C * len(x)
    torch.testing.assert_close(error.sum(0), torch.zeros_like(error[0]), atol=2 * largest, rtol=0)
    kept = layer.weight != 0
    torch.testing.assert_close(slope[kept], -layer.weight.sign()[kept], atol=2 * largest, rtol=0)
    assert slope[~kept].abs().max() <= 1 + 2 * largest


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("C", [0.01, 0.1, 1.0])
def test_the_optimum_is_one(classes: int, C: float) -> None:
    x, y = correlated(80, classes)
    layer = l1_logistic(x, y, classes, C)
    check_optimum(layer, x, y, C)
    if C == 0.1:
        warm = l1_logistic(x, y, classes, C, start=l1_logistic(x, y, classes, 0.01))
        torch.testing.assert_close(warm.log_p(x), layer.log_p(x), atol=1e-3, rtol=0)


def test_features_that_go_together_take_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """States of a network do, and second derivatives are what a step costs."""
    counted = Mock(wraps=l1_solver._curvature)
    monkeypatch.setattr(l1_solver, "_curvature", counted)
    generator, y = torch.Generator().manual_seed(0), torch.arange(300) % 7
    kinds = 0.6 * torch.randn(7, 6, generator=generator)[y] + torch.randn(300, 6, generator=generator)
    x = kinds @ torch.randn(6, 40, generator=generator) + 0.05 * torch.randn(300, 40, generator=generator)
    mean, std = standardiser(x)
    scaled = (x.tanh().double() - mean) / std
    check_optimum(l1_logistic(scaled, y, 7, 1.0), scaled, y, 1.0)
    assert 0 < counted.call_count <= 25


def test_classes_that_are_not_there() -> None:
    x, y = correlated(40, 2)
    three = l1_logistic(x, 2 * y, 3, C=1.0)
    torch.testing.assert_close(three.log_p(x)[:, [0, 2]], l1_logistic(x, y, 2, C=1.0).log_p(x))
    alone = l1_logistic(x, torch.ones(40, dtype=torch.long), 3, C=1.0)
    assert alone.log_p(x).exp()[:, 1].min() == 1


def test_ridge_is_least_squares_without_a_penalty() -> None:
    x, y = correlated(60, 2)
    free = ridge(x[:, :3], y.double(), C=1e9)
    expected = torch.linalg.lstsq(torch.cat([x[:, :3], torch.ones(60, 1).double()], 1), y.double()).solution
    torch.testing.assert_close(torch.cat([free.weight[:, 0], free.bias]), expected, atol=1e-6, rtol=1e-6)
    assert ridge(x, y.double(), C=1e-9).weight.abs().max() < 1e-6


def test_samples_without_a_group_do_not_count() -> None:
    group = torch.tensor([1, -1, 1, 4, 4, 4])
    assert balanced_subset(group, [torch.tensor([1, 0]), torch.tensor([2, 0, 1])]).tolist() == [2, 0, 5, 3]
    assert worst_mean(torch.tensor([1.0, -9.0, 0.0, 1.0, 1.0, 1.0]), group) == 0.5
