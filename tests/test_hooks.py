"""What MERModule asks of a model beside its scores: oracle candidates, diagnostics, notes, marks, stage gradients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from toys import MeanNet
from typing_extensions import override

from mer_zoo.batch import Batch, Output, Step
from mer_zoo.callbacks import RunRecord
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model, Wrapper
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.wrappers import CausalMER

SIZES = SyntheticConfig(train=32, valid=16, test=16)


class Choosy(Wrapper):
    """Offers, for every class, the scores that always choose it; remembers whether it was asked to calibrate."""

    mark = "[oracle]"

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.seen: set[tuple[bool, bool]] = set()

    @override
    def predict(self, batch: Batch) -> Output:
        self.seen.add((self.calibrating, self.backbone.calibrating))
        return super().predict(batch)

    @override
    def oracle(self, test: Scores) -> list[Tensor]:
        return list(torch.eye(self.task.num_outputs)[:, None].expand(-1, len(test), -1))

    @override
    def diagnostics(self) -> dict[str, float]:
        return {"choosy/answer": 42.0, **super().diagnostics()}

    @override
    def notes(self) -> list[str]:
        return ["it looks at the test split", *super().notes()]


class Stages(Wrapper):
    """Two stages with the loss of the complete batch."""

    def __init__(self, backbone: Model, keep: bool) -> None:
        super().__init__(backbone)
        self.num_steps = 2
        self.accumulates_stages = keep

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield Step(batch, self(batch))
        yield Step(batch, self(batch))


class Recording(torch.optim.SGD):
    """Moves nothing and keeps the gradient that each step sees."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, lr=0.0)
        self.grads: list[Tensor] = []
        self.register_step_pre_hook(self._record)

    def _record(self, *_: Any) -> None:
        self.grads.append(torch.cat([p.grad.flatten() for g in self.param_groups for p in g["params"]]))


def trainer(tmp_path: Path, **options: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"max_epochs": 1, "accelerator": "cpu", "default_root_dir": tmp_path, "enable_checkpointing": False}
    return Trainer(**{**quiet, **options})


def net(data: SyntheticMER) -> MeanNet:
    torch.manual_seed(0)
    return MeanNet(data.spec, data.task)


def test_oracle_takes_the_best_of_each_metric_and_is_marked(tmp_path: Path) -> None:
    data = SyntheticMER(SIZES, batch_size=8)
    module = MERModule(Choosy(net(data)))
    trainer(tmp_path, callbacks=[RunRecord(str(tmp_path), pictures=False)]).test(module, data, verbose=False)
    truth = module.test_scores["iid"].target
    assert module.results["iid"]["metrics"]["Acc3"] == pytest.approx(truth.bincount().max().item() / len(truth))
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["model"] == "Choosy[oracle](MeanNet)"
    assert written["diagnostics"] == {"choosy/answer": 42.0}
    assert "it looks at the test split" in written["notes"]


def test_oracle_reaches_through_causalmer(tmp_path: Path) -> None:
    data = SyntheticMER(SIZES, batch_size=8)
    module = MERModule(CausalMER(Choosy(net(data))))
    trainer(tmp_path).test(module, data, verbose=False)
    scores = module.test_scores["iid"]
    effects = {name: value for name, value in scores.effects.items() if not name.startswith("inner/")}
    fixed = Scores(scores.logits, effects, scores.target, scores.index)
    assert len(module.model.oracle(fixed)) == 3
    assert module.model.label == "CausalMER(Choosy[oracle](MeanNet))"


def test_models_know_whether_they_are_to_calibrate(tmp_path: Path) -> None:
    data = SyntheticMER(SIZES, batch_size=8)
    model = Choosy(net(data))
    module = MERModule(model)
    trainer(tmp_path, num_sanity_val_steps=0).fit(module, datamodule=data)
    assert model.seen == {(True, True)}
    trainer(tmp_path).test(module, data, verbose=False)
    assert model.seen == {(True, True), (False, False)}
    trainer(tmp_path).validate(module, data, verbose=False)
    assert model.calibrating


def test_diagnostics_are_logged(tmp_path: Path) -> None:
    data = SyntheticMER(SIZES, batch_size=8)
    runner = trainer(tmp_path)
    runner.fit(MERModule(Choosy(net(data))), datamodule=data)
    assert runner.callback_metrics["val/choosy/answer"] == 42.0


@pytest.mark.parametrize("keep", [False, True])
def test_gradients_between_stages(tmp_path: Path, keep: bool) -> None:
    data = SyntheticMER(SIZES, batch_size=32)
    runner = trainer(tmp_path, limit_val_batches=0)
    runner.fit(MERModule(Stages(net(data), keep), optimizer=Recording), datamodule=data)
    optimizer = runner.optimizers[0]
    assert isinstance(optimizer, Recording)
    first, second = optimizer.grads
    torch.testing.assert_close(second, 2 * first if keep else first)


def test_stage_gradients_refuse_fp16(tmp_path: Path) -> None:
    data = SyntheticMER(SIZES, batch_size=32)
    module = MERModule(Stages(net(data), keep=True))
    runner = trainer(tmp_path)
    runner.strategy.precision_plugin.precision = "16-mixed"
    with pytest.raises(MERError, match="16-mixed cannot scale"):
        runner.fit(module, datamodule=data)
