"""The choice of tau: the released search by golden vectors, our weights by hand and by what they are for."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.functional.deconfounding import (
    TAUS,
    choose_tau,
    deconfounding_weights,
    effective_sample_size,
    fit_temperature,
)
from mer_zoo.functional.language_bias import debias
from mer_zoo.scores import Scores, measure
from mer_zoo.task import SentimentClassification

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize(
    ("letter", "num_classes", "out", "names"),
    [
        ("b", 3, "binary", ["Acc2_has0", "F1_has0", "Acc2_non0", "F1_non0", "Acc3", "F1_3"]),
        ("s", 7, "seven", ["Acc7", "F1_7"]),
    ],
)
def test_golden_oracle_search(letter: str, num_classes: int, out: str, names: list[str]) -> None:
    golden = load_file(GOLDEN / "cider_tau.safetensors")
    y, y_cf, target = (golden[f"in.{letter}_{name}"] for name in ("pred", "cf", "true"))
    scores = Scores(y, {}, target, torch.arange(len(y)))
    candidates = [debias(y, y_cf, tau) for tau in TAUS]
    task = SentimentClassification(num_classes)
    for found, wanted in ((measure(task, scores), out), (measure(task, scores, candidates), f"{out}_cf")):
        assert [found[name] for name in names] == pytest.approx(golden[f"out.{wanted}"].tolist(), abs=1e-6)


def test_grid() -> None:
    assert len(TAUS) == 31
    assert (TAUS[0], TAUS[3], TAUS[-1]) == (0.0, 0.3, 3.0)


def nll(y: Tensor, target: Tensor, temperature: float) -> float:
    return float(F.cross_entropy(y.double() / temperature, target))


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_temperature_is_the_minimum(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    y = scale * torch.randn(200, 3, generator=generator)
    target = torch.multinomial((y / scale).softmax(1), 1, generator=generator).squeeze(1)
    found = fit_temperature(y, target)
    grid = [math.exp(k / 1000) for k in range(-3000, 3000)]
    best = min(grid, key=lambda temperature: nll(y, target, temperature))
    assert found == pytest.approx(best, rel=2e-3)
    assert found == fit_temperature(y, target)


def test_temperature_stays_in_bounds() -> None:
    y = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(y, torch.tensor([0, 1])) < 0.05  # always right: the sharper the better
    assert fit_temperature(y, torch.tensor([1, 0])) == pytest.approx(100)
    assert fit_temperature(torch.zeros(2, 2), torch.tensor([0, 1])) == pytest.approx(100)  # any would do


def test_weights_by_hand() -> None:
    bias = torch.tensor([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]).log()
    prior = torch.tensor([0.4, 0.2, 0.4])
    weights = deconfounding_weights(bias, torch.tensor([0, 2, 1]), prior)
    assert weights.tolist() == pytest.approx([0.8, 1.6, 20.0])
    # halving the log-probabilities: sqrt(.5) / (sqrt(.5) + 1) = .4142
    tempered = deconfounding_weights(bias[:1], torch.tensor([0]), prior, temperature=2.0)
    assert tempered.item() == pytest.approx(0.4 / 0.41421356)


def test_a_class_unseen_in_training_weighs_nothing() -> None:
    bias, prior = torch.tensor([[0.0, -math.inf]]), torch.tensor([1.0, 0.0])
    assert deconfounding_weights(bias, torch.tensor([1]), prior).item() == 0


def test_weights_make_label_and_bias_independent() -> None:
    # A topic goes with the label in 80 per cent; given the topic the bias prediction is exactly right.
    counts = {(0, 0): 320, (0, 1): 120, (1, 0): 80, (1, 1): 480}  # (label, topic): P(label) = .44, .56
    rows = [(pair, count) for pair, count in counts.items() for _ in range(count)]
    label, topic = (torch.tensor([pair[k] for pair, _ in rows]) for k in (0, 1))
    of_topic = {t: torch.tensor([counts[0, t], counts[1, t]]) / (counts[0, t] + counts[1, t]) for t in (0, 1)}
    bias = torch.stack([of_topic[int(t)] for t in topic]).log()
    prior = torch.tensor([0.44, 0.56])
    weights = deconfounding_weights(bias, label, prior, fit_temperature(bias, label))
    for t, share in ((0, 0.4), (1, 0.6)):
        for y in (0, 1):
            joint = weights[(label == y) & (topic == t)].sum() / weights.sum()
            assert joint.item() == pytest.approx(prior[y].item() * share, abs=1e-6)


def test_effective_sample_size() -> None:
    assert effective_sample_size(torch.ones(7)) == pytest.approx(7)
    assert effective_sample_size(torch.tensor([2.0, 1.0, 1.0])) == pytest.approx(16 / 6)
    assert effective_sample_size(torch.zeros(3)) == 0


def test_choice_by_hand() -> None:
    # Sample 0 (true class 0) is right below tau 2.1972, sample 1 (true class 1) from 0.4055 / 2.1972 = 0.18 on.
    y = torch.tensor([[0.9, 0.1], [0.6, 0.4]]).log()
    y_cf = torch.tensor([[0.7310586, 0.2689414], [0.9, 0.1]]).log()
    target = torch.tensor([0, 1])
    assert choose_tau(y, y_cf, target) == 0.2
    assert choose_tau(y, y_cf, target, torch.tensor([1.0, 0.0])) == 0.0
    assert choose_tau(y, y_cf, torch.tensor([1, 0]), torch.tensor([1.0, 0.0])) == 2.2
    assert choose_tau(y, y_cf, target, torch.zeros(2)) == 0.0


def test_ties_go_to_the_smaller_whatever_the_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(500, 3, generator=generator).log_softmax(-1)
    weights = torch.rand(500, generator=generator)
    assert choose_tau(y, torch.zeros(500, 3), torch.zeros(500, dtype=torch.long), weights) == 0.0
