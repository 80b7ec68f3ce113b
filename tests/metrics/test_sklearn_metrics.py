import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_recall_fscore_support
from torch import Tensor

from mer_zoo.metrics import Convention, class_metrics, emotion_metrics, sentiment_metrics

CONVENTIONS: list[Convention] = ["mmsa", "mult", "causalmer"]
Array = NDArray[Any]
# quarters: exact in float32, and half of them fall on the ties of rounding
QUARTERS = st.integers(-14, 14).map(lambda k: k / 4)


@st.composite
def scored(draw: DrawFn, outputs: int) -> tuple[Tensor, Tensor]:
    size = draw(st.integers(1, 12))
    logits = draw(st.lists(st.lists(QUARTERS, min_size=outputs, max_size=outputs), min_size=size, max_size=size))
    target = draw(st.lists(QUARTERS.filter(lambda y: abs(y) <= 3), min_size=size, max_size=size))
    return torch.tensor(logits), torch.tensor(target)


def measure(classes: int | None, convention: Convention, logits: Tensor, target: Tensor) -> dict[str, float]:
    metrics = sentiment_metrics(classes, convention)
    metrics.update(logits, target)
    return {name: float(value) for name, value in metrics.compute().items()}


def reference(truth: Array, prediction: Array, convention: Convention, binary: bool = True) -> tuple[float, float]:
    if not len(truth):
        return 0.0, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns where a class is absent
        if convention == "causalmer" and binary:
            f1 = f1_score(truth, prediction, average="binary", zero_division=0)
        elif convention == "mult":
            f1 = f1_score(prediction, truth, average="weighted")
        else:
            f1 = f1_score(truth, prediction, average="weighted")
    return float(accuracy_score(truth, prediction)), float(f1)


def softmax_score(logits: Array) -> Array:
    half = logits.shape[1] // 2
    weights = np.exp(logits - logits.max(1, keepdims=True))
    score: Array = weights @ np.arange(-half, half + 1) / weights.sum(1)
    return score


def expected_polarity(
    score: Array, y: Array, convention: Convention, positive: Array | None
) -> dict[str, tuple[float, float]]:
    keep = y != 0
    if convention == "causalmer":
        has0 = score >= 0 if positive is None else positive
        non0 = score > 0 if positive is None else positive
        pairs = {"has0": (y >= 0, has0), "non0": ((y >= 0)[keep], non0[keep])}
    elif convention == "mult":
        pairs = {"has0": (y > 0, score > 0), "non0": ((y > 0)[keep], (score > 0)[keep])}
    else:
        pairs = {"has0": (y >= 0, score >= 0), "non0": ((y > 0)[keep], (score > 0)[keep])}
    return {name: reference(truth, prediction, convention) for name, (truth, prediction) in pairs.items()}


@pytest.mark.parametrize("convention", CONVENTIONS)
@settings(max_examples=60, deadline=None)
@given(data=scored(1))
def test_regression(convention: Convention, data: tuple[Tensor, Tensor]) -> None:
    found = measure(None, convention, *data)
    p, y = data[0][:, 0].double().numpy(), data[1].double().numpy()
    for limit, name in ((3, "Acc7"), (2, "Acc5")):
        expected = np.mean(np.round(np.clip(p, -limit, limit)) == np.round(np.clip(y, -limit, limit)))
        assert found[name] == pytest.approx(expected, abs=1e-6)
    assert found["Acc3"] == pytest.approx(np.mean(np.sign(p) == np.sign(y)), abs=1e-6)
    assert found["MAE"] == pytest.approx(np.abs(p - y).mean(), abs=1e-6)
    varied = p.std() > 0 and y.std() > 0
    assert found["Corr"] == pytest.approx(np.corrcoef(p, y)[0, 1] if varied else 0.0, abs=1e-6)
    for suffix, (accuracy, f1) in expected_polarity(p, y, convention, None).items():
        assert found[f"Acc2_{suffix}"] == pytest.approx(accuracy, abs=1e-6)
        assert found[f"F1_{suffix}"] == pytest.approx(f1, abs=1e-6)


@pytest.mark.parametrize("classes", [5, 7])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_five_and_seven_classes(convention: Convention, classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    logits = torch.randn(200, classes, generator=generator)
    target = torch.randint(-6, 7, (200,), generator=generator) / 2
    found = measure(classes, convention, logits, target)
    y, score, half = target.double().numpy(), softmax_score(logits.double().numpy()), classes // 2
    chosen = logits.argmax(1).numpy()
    accuracy, f1 = reference(np.round(np.clip(y, -half, half)) + half, chosen, convention, binary=False)
    assert found[f"Acc{classes}"] == pytest.approx(accuracy, abs=1e-6)
    assert found[f"F1_{classes}"] == pytest.approx(f1, abs=1e-6)
    assert found["MAE"] == pytest.approx(np.abs(score - y).mean(), abs=1e-6)
    for suffix, (accuracy, f1) in expected_polarity(score, y, convention, chosen >= half).items():
        assert found[f"Acc2_{suffix}"] == pytest.approx(accuracy, abs=1e-6)
        assert found[f"F1_{suffix}"] == pytest.approx(f1, abs=1e-6)
    if classes == 7:
        rounded = np.round(np.clip(score, -2, 2)) == np.round(np.clip(y, -2, 2))
        assert found["Acc5"] == pytest.approx(rounded.mean(), abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(data=scored(3))
def test_three_classes(data: tuple[Tensor, Tensor]) -> None:
    logits, target = data
    found = measure(3, "mmsa", logits, target)
    truth, chosen, keep = target.sign().numpy() + 1, logits.argmax(1).numpy(), (target != 0).numpy()
    expected = {
        "3": reference(truth, chosen, "mmsa"),
        "2_has0": reference(truth >= 1, logits[:, [0, 2]].argmax(1).numpy(), "mmsa"),
        "2_non0": reference(truth[keep], chosen[keep], "mmsa"),
    }
    for suffix, (accuracy, f1) in expected.items():
        assert found[f"Acc{suffix}"] == pytest.approx(accuracy, abs=1e-6)
        assert found[f"F1_{suffix.removeprefix('2_')}"] == pytest.approx(f1, abs=1e-6)
    labels = np.union1d(truth, chosen)
    macro = f1_score(truth, chosen, average="macro", labels=labels, zero_division=0)
    assert found["F1_3_macro"] == pytest.approx(macro, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(data=scored(2))
def test_two_classes(data: tuple[Tensor, Tensor]) -> None:
    logits, target = data
    found = measure(2, "mmsa", logits, target)
    accuracy, f1 = reference((target >= 0).numpy(), logits.argmax(1).numpy(), "mmsa")
    assert (found["Acc2"], found["F1_2"]) == pytest.approx((accuracy, f1), abs=1e-6)


def test_emotions() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(80, 3, 2, generator=generator), torch.rand(80, 3, generator=generator) < 0.3
    metrics = emotion_metrics(["a", "b", "c"])
    metrics.update(logits, target.long())
    found = {name: float(value) for name, value in metrics.compute().items()}
    expected = [reference(target[:, e].numpy(), logits[:, e].argmax(1).numpy(), "mmsa") for e in range(3)]
    for name, (accuracy, f1) in zip("abc", expected, strict=True):
        assert (found[f"Acc_{name}"], found[f"F1_{name}"]) == pytest.approx((accuracy, f1), abs=1e-6)
    assert (found["Acc"], found["F1"]) == pytest.approx(np.mean(expected, axis=0), abs=1e-6)
    macro = [f1_score(target[:, e], logits[:, e].argmax(1), average="macro") for e in range(3)]
    assert found["F1_macro"] == pytest.approx(np.mean(macro), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20), st.permutations(range(4)))
def test_classes_agree_with_scikit_learn_however_they_are_numbered(
    pairs: list[tuple[int, int]], order: list[int]
) -> None:
    names = ["joy", "anger", "fear", "neutral"]
    truth, prediction = (torch.tensor(column) for column in zip(*pairs, strict=True))
    metrics, renumbered = class_metrics(names), class_metrics([names[order.index(place)] for place in range(4)])
    metrics.update(torch.eye(4)[prediction], truth)
    renumbered.update(torch.eye(4)[torch.tensor(order)[prediction]], torch.tensor(order)[truth])
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert found == pytest.approx({name: float(value) for name, value in renumbered.compute().items()}, abs=1e-6)
    accuracy, f1 = reference(truth.numpy(), prediction.numpy(), "mmsa")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes that are predicted but not there
        recall = balanced_accuracy_score(truth, prediction)
    macro = f1_score(truth, prediction, average="macro", zero_division=0)
    all_together = {"Acc": accuracy, "F1": f1, "F1_macro": macro, "UAR": recall}
    assert {name: found[name] for name in all_together} == pytest.approx(all_together, abs=1e-6)
    table = precision_recall_fscore_support(truth, prediction, labels=range(4), zero_division=0)
    for kind, column in zip(("Precision", "Recall", "F1"), table, strict=False):
        assert [found[f"{kind}_{name}"] for name in names] == pytest.approx(list(column), abs=1e-6)
