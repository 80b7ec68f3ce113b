from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.metrics import Convention, emotion_metrics, sentiment_metrics
from mer_zoo.task import EMOTIONS

GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-6


def measure(classes: int | None, convention: Convention, logits: Tensor, target: Tensor) -> dict[str, float]:
    metrics = sentiment_metrics(classes, convention)
    metrics.update(logits, target)
    return {name: float(value) for name, value in metrics.compute().items()}


def check(found: dict[str, float], names: list[str], expected: Tensor) -> None:
    assert len(names) == len(expected)
    for name, value in zip(names, expected.tolist(), strict=True):
        if name != "-":
            assert found[name] == pytest.approx(value, abs=TOLERANCE), name


@pytest.mark.parametrize("suffix", ["non0", "has0"])
def test_mult_sentiment(suffix: str) -> None:
    case = load_file(GOLDEN / "mult_metrics.safetensors")
    found = measure(None, "mult", case["in.r_pred"], case["in.r_true"])
    expected = case["out.senti_excl0" if suffix == "non0" else "out.senti_incl0"]
    check(found, ["MAE", "Corr", "Acc7", "Acc5", f"F1_{suffix}", f"Acc2_{suffix}"], expected)


def test_causalmer_regression() -> None:
    case = load_file(GOLDEN / "causalmer_metrics.safetensors")
    found = measure(None, "causalmer", case["in.senti_reg"], case["in.senti_truth"])
    check(found, ["Acc7", "Acc2_non0", "F1_non0", "Acc2_has0", "F1_has0"], case["out.senti_reg"])


def test_causalmer_seven_classes() -> None:
    case = load_file(GOLDEN / "causalmer_metrics.safetensors")
    found = measure(7, "causalmer", case["in.senti_cls"], case["in.senti_truth"])
    check(found, ["Acc7", "Acc2_non0", "F1_non0", "Acc2_has0", "F1_has0"], case["out.senti_cls"])


@pytest.mark.parametrize("file", ["mult_metrics", "causalmer_metrics"])
def test_emotions(file: str) -> None:
    case = load_file(GOLDEN / f"{file}.safetensors")
    metrics = emotion_metrics(EMOTIONS)
    metrics.update(case["in.iemocap_logits"].view(-1, 4, 2), case["in.iemocap_truth"])
    found = {name: float(value) for name, value in metrics.compute().items()}
    f1, accuracy = [f"F1_{name}" for name in EMOTIONS], [f"Acc_{name}" for name in EMOTIONS]
    if file == "mult_metrics":
        check(found, [name for pair in zip(f1, accuracy, strict=True) for name in pair], case["out.iemocap"])
        return
    check(found, f1, case["out.iemocap_f1"])
    check(found, accuracy, case["out.iemocap_acc"])
    check(found, ["Acc", "F1"], case["out.iemocap_avg"])


def test_cider_classes() -> None:
    case = load_file(GOLDEN / "cider_tau.safetensors")
    binary = measure(3, "mmsa", case["in.b_pred"], case["in.b_true"])
    check(binary, ["Acc2_has0", "F1_has0", "Acc2_non0", "F1_non0", "Acc3", "F1_3"], case["out.binary"])
    seven = measure(7, "mmsa", case["in.s_pred"], case["in.s_true"])
    check(seven, ["Acc7", "F1_7"], case["out.seven"])


def test_cider_regression_is_mmsa_without_neutral_and_mult_with_it() -> None:
    case = load_file(GOLDEN / "cider_tau.safetensors")
    without = measure(None, "mmsa", case["in.r_pred"], case["in.r_true"])
    check(without, ["MAE", "Corr", "Acc7", "Acc5", "Acc2_non0", "F1_non0"], case["out.senti_excl0"])
    # zero counts as negative there as in MulT, but the F1 arguments are in the right order
    swapped = measure(None, "mult", case["in.r_pred"], case["in.r_true"])
    check(swapped, ["MAE", "Corr", "Acc7", "Acc5", "Acc2_has0", "-"], case["out.senti_incl0"])


def test_mult_and_mmsa_f1_differ_on_the_golden_predictions() -> None:
    case = load_file(GOLDEN / "mult_metrics.safetensors")
    mult = measure(None, "mult", case["in.r_pred"], case["in.r_true"])
    mmsa = measure(None, "mmsa", case["in.r_pred"], case["in.r_true"])
    assert mult["Acc2_non0"] == mmsa["Acc2_non0"]
    assert abs(mult["F1_non0"] - mmsa["F1_non0"]) > 1e-4
    assert (case["in.r_true"] == 0).any()
