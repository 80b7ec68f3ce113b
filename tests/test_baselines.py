import pytest
import torch
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.scores import baselines
from mer_zoo.task import build_task

TARGET = torch.tensor([-2.0, -1.4, -0.6, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.6])


def share(condition: Tensor) -> float:
    return condition.float().mean().item()


@pytest.mark.parametrize("name", ["regression", "seven", "binary"])
def test_majority_is_chosen_for_each_metric(name: str) -> None:
    majority = baselines(build_task(name), TARGET)["majority"]
    # neutral is the most frequent of three classes, positive the more frequent polarity
    assert majority["Acc3"] == pytest.approx(4 / 11)
    assert majority["Acc2_non0"] == pytest.approx(4 / 7)
    assert majority["Acc2_has0"] == pytest.approx(share(TARGET >= 0))
    assert majority["F1_non0"] == pytest.approx(4 / 7 * (2 * 4 / 11))


def test_constant_of_regression_is_the_median() -> None:
    constant = baselines(build_task("regression"), TARGET)["constant"]
    assert constant["MAE"] == pytest.approx(TARGET.abs().mean().item())
    assert constant["Corr"] == 0.0
    assert constant["Acc2_has0"] == pytest.approx(share(TARGET >= 0))
    assert constant["Acc2_non0"] == pytest.approx(3 / 7)  # the median 0 is not positive
    tried = [(TARGET - c).abs().mean().item() for c in torch.linspace(-3, 3, 61)]
    assert constant["MAE"] <= min(tried) + 1e-6


def test_constant_of_classes_is_one_prediction() -> None:
    constant = baselines(build_task("binary"), TARGET)["constant"]
    assert constant["Acc3"] == pytest.approx(4 / 11)
    assert constant["Acc2_non0"] == 0.0
    seven = baselines(build_task("seven"), TARGET)["constant"]
    assert seven["Acc7"] == pytest.approx(4 / 11)
    assert seven["MAE"] == pytest.approx(TARGET.abs().mean().item())


def test_emotions_have_a_majority_each() -> None:
    target = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 1], [1, 0, 1, 1], [0, 0, 0, 1]])
    found = baselines(build_task("emotions"), target)
    assert [found["majority"][f"Acc_{name}"] for name in ("neutral", "happy", "sad", "angry")] == [
        0.75,
        1.0,
        0.75,
        0.75,
    ]
    assert found["majority"] == found["constant"]


@pytest.mark.parametrize("name", ["regression", "two", "binary", "five", "seven", "emotions"])
def test_same_keys_as_the_metrics(name: str) -> None:
    task = build_task(name)
    found = baselines(task, task.random_target(20, torch.Generator().manual_seed(0)))
    assert set(found["majority"]) == set(found["constant"]) == set(task.metrics().keys())
    assert all(0 <= found["majority"][key] <= 1 for key in found["majority"] if key.startswith(("Acc", "F1")))


def test_no_labels() -> None:
    with pytest.raises(MERError, match="no labels.*use predict"):
        baselines(build_task("regression"), torch.full((4,), float("nan")))
    with pytest.raises(MERError, match="no labels.*use predict"):
        baselines(build_task("emotions"), torch.full((4, 4), float("nan")))
