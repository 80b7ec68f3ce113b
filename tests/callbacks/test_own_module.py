"""What a LightningModule of the user's own gets by callbacks is what MERModule gives the same network."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader
from toys import MeanNet

import mer_zoo
from mer_zoo.batch import Batch
from mer_zoo.callbacks import ConditionMetrics, DeconfoundedMetrics, PropensityWeights
from mer_zoo.data import SyntheticConfig
from mer_zoo.reports.report import report

pytestmark = pytest.mark.filterwarnings("ignore:(PropensityWeighting|deconfounded metrics)")  # samples are few
SMALL = SyntheticConfig(train=120, valid=60, test=24)


class Own(lightning.LightningModule):
    """A user's module, which knows nothing of the library but its batches."""

    def __init__(self, network: nn.Module, weighted: bool = True, answer: str = "mapping") -> None:
        super().__init__()
        self.network, self.weighted, self.answer = network, weighted, answer
        self.seen: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses: Tensor = nn.functional.cross_entropy(self.network(batch).logits, batch.target, reduction="none")
        if not self.weighted:
            return losses.mean()
        assert batch.sample_weight is not None
        self.seen.append((batch.index, batch.sample_weight.detach()))
        weighted: Tensor = losses * batch.sample_weight
        return weighted.mean()

    def _answer(self, batch: Any) -> Any:
        logits = self.network(batch).logits
        return {"tensor": logits, "mapping": {"logits": logits, "other": 1}, "loss": logits.sum(), "none": None}[
            self.answer
        ]

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        return self._answer(batch)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return self._answer(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def corpus(**options: Any) -> mer_zoo.SyntheticMER:
    return mer_zoo.SyntheticMER(SMALL, batch_size=16, **options)


def network(data: mer_zoo.SyntheticMER) -> MeanNet:
    torch.manual_seed(0)
    return MeanNet(data.spec, data.task)


def trainer(folder: Path, *callbacks: Any, **options: Any) -> lightning.Trainer:
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    quiet |= {"enable_checkpointing": any(isinstance(each, ModelCheckpoint) for each in callbacks)}
    return lightning.Trainer(
        accelerator="cpu", default_root_dir=folder, callbacks=list(callbacks), **{"max_epochs": 1, **quiet, **options}
    )


@pytest.mark.parametrize("options", [{}, {"strength": 0.5, "gate": False}, {"source": "audio", "gate": False}], ids=str)
def test_weights_are_those_of_the_wrapper(tmp_path: Path, options: dict[str, Any]) -> None:
    data, callback = corpus(), PropensityWeights(**options)
    module = Own(network(data))
    trainer(tmp_path, callback).fit(module, datamodule=data)
    wrapper = mer_zoo.PropensityWeighting(network(data), **options)
    wrapper.prepare(data.batch_source("train"))
    index, found = (torch.cat(parts) for parts in zip(*module.seen, strict=True))
    assert sorted(index.tolist()) == list(range(SMALL.train))
    expected = torch.empty(SMALL.train).index_put((index,), torch.ones(1))
    for step in (step for batch in data.batch_source("train") for step in wrapper.steps(batch)):
        expected[step.batch.index] = torch.as_tensor(step.task_weight).expand(len(step.batch))
    torch.testing.assert_close(found, expected[index])
    if options:
        assert found.std() > 0.01
    assert callback.weighting is not None
    assert callback.weighting.trace.report["samples"] == SMALL.train


def test_training_is_the_wrappers(tmp_path: Path) -> None:
    """One full batch an epoch, so that the order of the samples does not matter."""
    data = mer_zoo.SyntheticMER(SMALL, batch_size=SMALL.train)
    options: dict[str, Any] = {"gate": False}
    own = Own(network(data))
    trainer(tmp_path, PropensityWeights(**options), max_epochs=2).fit(own, datamodule=data)

    def wrap(model: mer_zoo.Model) -> mer_zoo.Wrapper:
        return mer_zoo.PropensityWeighting(model, **options)

    module = mer_zoo.MERModule(network(data), [wrap], lambda groups: torch.optim.SGD(groups, lr=0.1))
    trainer(tmp_path, max_epochs=2).fit(module, datamodule=data)
    ours, theirs = own.network.state_dict(), module.model.nest[-1].state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], atol=1e-5, rtol=1e-5, msg=name)


def test_a_loss_that_does_not_use_the_weights_is_told(tmp_path: Path) -> None:
    data = corpus()
    with pytest.raises(mer_zoo.MERError, match=r"loss of Own does not depend on the weights; .*batch.sample_weight\)"):
        trainer(tmp_path, PropensityWeights(gate=False)).fit(Own(network(data), weighted=False), datamodule=data)


class Mappings(lightning.LightningDataModule):
    """A user's own batches; ``index`` is the place in the training split."""

    def __init__(self, data: mer_zoo.SyntheticMER, key: str = "index") -> None:
        super().__init__()
        (self.whole,) = mer_zoo.SyntheticMER(SMALL, batch_size=SMALL.train).batch_source("train")
        self.key = key

    def train_dataloader(self) -> DataLoader[Any]:
        parts = [
            {"x": x, "y": y, self.key: i}
            for i, (x, y) in enumerate(zip(self.whole.audio.x, self.whole.target, strict=True))
        ]
        return DataLoader(parts, batch_size=16, shuffle=True)  # type: ignore[arg-type]


class OnMappings(lightning.LightningModule):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.read = nn.Linear(width, 3)
        self.weights: list[Tensor] = []

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        self.weights.append(batch["sample_weight"].detach())
        losses = nn.functional.cross_entropy(self.read(batch["x"].mean(1)), batch["y"], reduction="none")
        return (losses * batch["sample_weight"]).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def test_batches_of_the_users_own(tmp_path: Path) -> None:
    data = corpus()
    module, weights = OnMappings(data.spec.audio_dim), PropensityWeights(data, gate=False)
    trainer(tmp_path, weights).fit(module, datamodule=Mappings(data))
    assert torch.cat(module.weights).mean().item() == pytest.approx(1, abs=1e-5)
    assert torch.cat(module.weights).std() > 0.01
    with pytest.raises(mer_zoo.MERError, match=r"given a dict without an index \(B,\)"):
        trainer(tmp_path, weights).fit(module, datamodule=Mappings(data, key="number"))


@pytest.mark.parametrize("weighting", [False, True])
def test_deconfounded_metrics_are_those_of_mermodule(tmp_path: Path, weighting: bool) -> None:
    data = corpus()
    callbacks = [PropensityWeights(gate=False)] if weighting else []
    options: dict[str, Any] = {"num_sanity_val_steps": 0, "limit_train_batches": 1}
    wrapped: Any = [partial(mer_zoo.PropensityWeighting, gate=False)] if weighting else []
    frozen: Any = lambda groups: torch.optim.SGD(groups, lr=1e-12)  # noqa: E731
    module = mer_zoo.MERModule(network(data), wrapped, frozen, deconfounded=True)
    theirs = trainer(tmp_path, **options)
    theirs.fit(module, datamodule=data)
    own = Own(network(data), weighted=weighting)
    own.configure_optimizers = lambda: frozen(own.parameters())  # type: ignore[method-assign]
    ours = trainer(tmp_path, DeconfoundedMetrics(), *callbacks, **options)
    ours.fit(own, datamodule=data)
    expected = {name: value for name, value in theirs.callback_metrics.items() if name.endswith("_deconfounded")}
    assert "val/Acc3_deconfounded" in expected
    assert {"val/loss_deconfounded", "val/ess_deconfounded"} <= expected.keys()
    found = {name: value for name, value in ours.callback_metrics.items() if name.endswith("_deconfounded")}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-5, msg=name)


def test_checkpoints_and_stopping_may_follow_them(tmp_path: Path) -> None:
    data, monitor = corpus(), "val/Acc3_deconfounded"
    best = ModelCheckpoint(tmp_path, monitor=monitor, mode="max")
    stop = EarlyStopping(monitor, mode="max", patience=0)
    running = trainer(tmp_path, stop, best, DeconfoundedMetrics("frequent"), max_epochs=5)
    running.fit(Own(network(data), weighted=False), datamodule=data)
    assert best.best_model_score is not None
    assert 0 <= best.best_model_score <= 1
    assert Path(best.best_model_path).is_file()


@pytest.mark.parametrize("answer", ["tensor", "mapping"])
def test_a_test_under_conditions_is_that_of_mermodule(tmp_path: Path, answer: str) -> None:
    data = corpus(conditions=["default", "availability"])
    module = mer_zoo.MERModule(network(data))
    trainer(tmp_path).test(module, data, verbose=False)
    callback = ConditionMetrics(str(tmp_path / "own"), name="mine", pictures=False)
    running = trainer(tmp_path, callback)
    running.test(Own(network(data), answer=answer), datamodule=data, verbose=False)
    assert callback.results == module.results
    assert running.callback_metrics["test/{a,v}/Acc3"] == callback.results["{a,v}"]["metrics"]["Acc3"]
    assert running.callback_metrics["test/Acc3"] == callback.results["iid"]["metrics"]["Acc3"]
    found = json.loads((tmp_path / "own" / "results.json").read_text())
    assert found["model"] == "mine"
    assert found["conditions"]["{a,v}"]["available"] == ["audio", "vision"]
    assert set(found["summary"]["contribution"]) == {"iid"}
    tables = report([tmp_path / "own"], samples=0, console=Console(quiet=True)).tables
    assert {"Drop gap", "Contribution"} <= {
        " ".join(t.title.split()[:2]) if "gap" in t.title else t.title.split()[0] for t in tables
    }


def test_a_second_test_adds_and_other_weights_are_refused(tmp_path: Path) -> None:
    own = Own(network(corpus()))
    for conditions, names in (("default", {"iid", "ood", "rct"}), ("robustness", {"iid", "RMFM 0.1"})):
        data = corpus(conditions=conditions)
        trainer(tmp_path, ConditionMetrics(str(tmp_path), pictures=False)).test(own, datamodule=data, verbose=False)
        assert names <= json.loads((tmp_path / "results.json").read_text())["conditions"].keys()
    assert "ood" in json.loads((tmp_path / "results.json").read_text())["conditions"]
    torch.nn.init.zeros_(next(own.parameters()))
    with pytest.raises(mer_zoo.MERError, match="holds a test with other weights"):
        trainer(tmp_path, ConditionMetrics(str(tmp_path))).test(own, datamodule=corpus(), verbose=False)


@pytest.mark.parametrize(
    ("answer", "told"),
    [("loss", r"logits of shape \(\)"), ("none", "None"), ("tensor", "")],
)
@pytest.mark.parametrize("stage", ["validation", "test"])
def test_what_a_step_has_to_return(tmp_path: Path, stage: str, answer: str, told: str) -> None:
    data = corpus()
    own = Own(network(data), answer=answer)
    running = trainer(tmp_path, DeconfoundedMetrics(), ConditionMetrics())
    run = running.validate if stage == "validation" else running.test
    if not told:
        run(own, datamodule=data, verbose=False)
        return
    with pytest.raises(
        mer_zoo.MERError, match=rf"{stage}_step of Own returned {told}; let it return the logits \(16, 3\)"
    ):
        run(own, datamodule=data, verbose=False)


@pytest.mark.parametrize("callback", [PropensityWeights, DeconfoundedMetrics, ConditionMetrics])
def test_what_they_are_not_for(tmp_path: Path, callback: Any) -> None:
    data = corpus()
    module = mer_zoo.MERModule(network(data))

    def run(own: lightning.LightningModule, **given: Any) -> None:
        running = trainer(tmp_path, callback())
        if callback is ConditionMetrics:
            running.test(own, verbose=False, **given)
        else:
            running.fit(own, **given)

    with pytest.raises(
        mer_zoo.MERError, match=f"{callback.__name__} is for LightningModules of your own; MERModule has"
    ):
        run(module, datamodule=data)
    data.setup("fit")
    loaders = (
        [data.test_dataloader()[0]]
        if callback is ConditionMetrics
        else [data.train_dataloader(), data.val_dataloader()]
    )
    names = ["dataloaders"] if callback is ConditionMetrics else ["train_dataloaders", "val_dataloaders"]
    with pytest.raises(mer_zoo.MERError, match=f"{callback.__name__} reads a MERDataModule, such as mer_zoo.MOSI"):
        run(Own(network(data)), **dict(zip(names, loaders, strict=True)))


def test_options_are_checked_at_once() -> None:
    with pytest.raises(
        mer_zoo.MERError, match=r"mode needs the network's scores; make the network a Backbone by mer_zoo.adapt\("
    ):
        PropensityWeights(mode="product")
    with pytest.raises(mer_zoo.MERError, match="strength of PropensityWeighting is -1"):
        PropensityWeights(strength=-1.0)
    with pytest.raises(mer_zoo.MERError, match="unknown words 'rare' of DeconfoundedMetrics"):
        DeconfoundedMetrics("rare")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="strenght"):
        PropensityWeights(strenght=1.0)


@pytest.mark.parametrize("wrapper", [getattr(mer_zoo.wrappers, name) for name in mer_zoo.wrappers.__all__])
def test_a_wrapper_around_a_lightning_module_says_what_there_is(wrapper: Any) -> None:
    with pytest.raises(
        mer_zoo.MERError, match=r"Own is not; make it one by mer_zoo.adapt\(.* is in mer_zoo.callbacks$"
    ):
        wrapper(Own(nn.Linear(2, 3)))


def test_emotions_have_a_weight_each(tmp_path: Path) -> None:
    data = corpus(task="emotions")

    class Emotions(Own):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            assert batch.sample_weight is not None
            self.seen.append((batch.index, batch.sample_weight.detach()))
            return data.task.weighted(self.network(batch).logits, batch.target, batch.sample_weight).mean()

    module = Emotions(network(data))
    trainer(tmp_path, PropensityWeights(gate=False), DeconfoundedMetrics()).fit(module, datamodule=data)
    assert {weights.shape[1] for _, weights in module.seen} == {4}
