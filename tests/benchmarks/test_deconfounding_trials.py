"""The trials of deconfounding on a few samples: each prototype trains, and does what it is called after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.studies import deconfounding_trials as trials
from benchmarks.studies.debias import build
from benchmarks.studies.deconfounding_prototypes import PROTOTYPES, Masked, deal
from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import BatchSource
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig

pytestmark = pytest.mark.filterwarnings("ignore:.*(effective sample size|see no confounding|sees no confounding)")
SCM = SyntheticConfig(train=150, valid=16, test=16, rho=0.95)


@pytest.fixture(scope="module")
def confounded() -> BatchSource:
    data = SyntheticMER(SCM, batch_size=50)
    data.setup("fit")
    return data.batch_source("train")


def model(name: str, rows: BatchSource) -> Any:
    data = SyntheticMER(SCM)
    torch.manual_seed(0)
    found = build(name, LFLSTM(data.spec, data.task, dim=4), PROTOTYPES)
    found.prepare(rows)
    return found


def test_trials_are_recorded_and_shown(tmp_path: Path) -> None:
    tiny = ["--samples", "96,32,32", "--epochs", "1", "--seeds", "1", "--rhos", "0.9"]
    trials.main(["run", "--out", str(tmp_path), "--methods", "Exchange share=0.5", *tiny])
    (record,) = [json.loads(path.read_text()) for path in tmp_path.rglob("seed1.json")]
    assert record["place"] == ["LFLSTM", "rho 0.9", "Exchange share=0.5"]
    assert record["options"]["sizes"] == trials.SIZES
    csv = ["--csv", str(tmp_path / "trials_cpu.csv"), "--benchmark", "trials"]
    trials.main(["table", str(tmp_path), "--select", "accuracy_deconfounded", *csv])
    assert '"trials, LFLSTM",Exchange share=0.5,' in (tmp_path / "trials_cpu.csv").read_text()


@pytest.mark.parametrize(
    "name",
    [
        *("DoublyRobust", "OnlineWeights", "Penalised weight=10", "Penalised kind=adversary", "Masked"),
        *("Exchange share=0.5 rest=weight", "Exchange views=2 agree=1 mixed=true", "SelfTaught epochs=1 draws=1"),
    ],
)
def test_every_prototype_gives_a_gradient(name: str, confounded: BatchSource) -> None:
    made = model(name, confounded).train()
    batch = next(iter(confounded))
    (step,) = made.steps(batch)
    task = made.task.weighted(step.output.logits, step.batch.target, step.task_weight).mean()
    torch.autograd.backward(torch.stack([task, *step.losses.values()]).sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_words_come_from_whom_they_are_to_come_from() -> None:
    target, places = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([[1, 1, 0]] * 4 + [[0, 0, 0]]).bool()
    for _ in range(20):
        rows, columns = deal(places, target, others=True)
        assert (target[rows] != target[:, None])[places].all()
        assert places[rows, columns][places].all()
        assert (rows == rows[:, :1])[places].all()
        assert (rows == torch.arange(5)[:, None])[~places].all()
    mixed = [deal(places, target, mixed=True)[0] for _ in range(20)]
    assert any((rows[:4, 0] != rows[:4, 1]).any() for rows in mixed)


def test_nothing_is_seen_of_masked_words(confounded: BatchSource) -> None:
    batch = next(iter(confounded))
    made = model("Masked", confounded).eval()
    assert isinstance(made, Masked)
    words = made.trace.words[made.trace.words >= 0]
    places = made.places(batch)
    others = batch.replace(text=batch.text.replace(x=torch.where(places, words[0], batch.text.x)))
    assert places.any()
    assert torch.equal(made.predict(batch).logits, made.predict(others).logits)
    made.at_test = False
    assert not torch.equal(made.predict(batch).logits, made.predict(others).logits)


def test_a_closed_gate_leaves_training_alone() -> None:
    data = SyntheticMER(SyntheticConfig(train=100, valid=16, test=16, rho=1 / 3), batch_size=50)
    data.setup("fit")
    rows = data.batch_source("train")
    plain = build("plain", _network(data))
    batch = next(iter(rows))
    (expected,) = plain.eval().steps(batch)
    for name in PROTOTYPES.keys() - {"OnlineWeights"}:
        made = build(name, _network(data), PROTOTYPES).eval()
        made.prepare(rows)
        (step,) = made.steps(batch)
        assert torch.equal(step.output.logits, expected.output.logits), name
        assert (step.losses, step.task_weight) == ({}, 1.0), name


def _network(data: SyntheticMER) -> LFLSTM:
    torch.manual_seed(0)
    return LFLSTM(data.spec, data.task, dim=4)
