"""What epochs are chosen by: every metric has its direction, and nothing goes against it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from toys import MeanNet, TwoStep

from mer_zoo.cli import main
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.metrics.names import METRICS
from mer_zoo.module import MERModule
from mer_zoo.monitors import direction
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.training.monitors import follow

TASKS: list[Task] = [SentimentRegression(), *map(SentimentClassification, (2, 3, 5, 7)), EmotionDetection()]
FIT = ["fit", "--data=SyntheticMER", "--data.task=seven", "--data.batch_size=8", "--model.backbone=LFLSTM"]
FIT += ["--data.scm.train=40", "--data.scm.valid=24", "--data.scm.test=8", "--model.backbone.dim=4"]
FIT += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=8"]
FIT += ["--model.optimizer=Adam", "--model.optimizer.lr=0.02", "--early_stopping.patience=100"]
RUN = Path("runs/mer_zoo/version_0")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{type(task).__name__}{task.shape}")
def test_every_metric_has_its_direction(task: Task) -> None:
    for name, metric in task.metrics().items():
        way = "max" if metric.higher_is_better else "min"
        for logged in (f"val/{name}", f"val/{name}_deconfounded"):
            assert direction(logged) == direction(logged, task) == way, logged
    assert direction(*task.monitor[:1], task) == task.monitor[1]


def test_losses_are_better_when_smaller_and_what_is_no_metric_has_no_direction() -> None:
    losses = ("val/loss", "train/loss", "train/task", "train/reconstruction", "val/loss_deconfounded")
    assert {direction(name) for name in losses} == {"min"}
    assert [direction(name) for name in ("epoch", "step", "val/reliance", "val/ess")] == [None] * 4
    assert direction("val/ess_deconfounded") == "max"


def test_the_names_that_are_listed_say_the_same() -> None:
    smaller = {name for name, said in METRICS.items() if "smaller is better" in said}
    assert smaller == {name for name in METRICS if direction(f"val/{name}") == "min"}


def rows(folder: Path, name: str) -> list[tuple[int, float]]:
    with (folder / "metrics.csv").open() as file:
        return [(int(row["epoch"]), float(row[name])) for row in csv.DictReader(file) if row[name]]


@pytest.mark.parametrize("name", ["val/Acc7", "val/MAE", "auto", None])
def test_the_best_epoch_is_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    main([*FIT, "--trainer.max_epochs=12", *([f"--checkpoint.monitor={name}"] if name else [])])
    logged = "val/Acc7" if name in ("auto", None) else str(name)
    measured = rows(RUN, logged)
    best = (max if direction(logged) == "max" else min)(value for _, value in measured)
    assert best != measured[0][1]  # otherwise any direction would do
    kept = torch.load(RUN / "checkpoints" / "best.ckpt", weights_only=True)
    assert dict(measured)[kept["epoch"]] == best


def test_a_test_knows_the_callbacks_of_the_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(tmp_path)
    main([*FIT, "--trainer.max_epochs=1"])
    main(["test", f"--config={RUN}/config.yaml"])
    assert not [str(each.message) for each in recwarn if "callbacks used to create" in str(each.message)]


def test_training_stops_when_an_accuracy_grows_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main([*FIT, "--early_stopping.monitor=val/Acc7", "--early_stopping.patience=2", "--trainer.max_epochs=30"])
    values = [value for _, value in rows(RUN, "val/Acc7")]
    assert values.index(max(values)) == len(values) - 3


@pytest.mark.parametrize("section", ["checkpoint", "early_stopping"])
@pytest.mark.parametrize(
    ("monitor", "mode", "words"),
    [("val/Acc7", "min", "val/Acc7 is better when larger"), ("val/loss", "max", "val/loss is better when smaller")],
)
def test_a_mode_against_the_metric_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    section: str,
    monitor: str,
    mode: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([*FIT, f"--{section}.monitor={monitor}", f"--{section}.mode={mode}"])
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_run_trains_again_by_its_own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    short = "--trainer.max_epochs=1"
    main([*FIT, "--checkpoint.monitor=val/Acc7", short])
    main(["fit", f"--config={RUN}/config.yaml", "--checkpoint.monitor=val/MAE", short])
    assert (RUN.with_name("version_1") / "checkpoints" / "best.ckpt").exists()


def data() -> SyntheticMER:
    return SyntheticMER(SyntheticConfig(train=24, valid=24, test=8), task="seven", batch_size=8)


def module(source: SyntheticMER, **options: Any) -> MERModule:
    return MERModule(MeanNet(source.spec, source.task), **options)


def quiet(folder: Path, *callbacks: Callback) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(accelerator="cpu", max_epochs=1, default_root_dir=folder, callbacks=list(callbacks), **quiet)


@pytest.mark.parametrize("kind", [EarlyStopping, ModelCheckpoint])
def test_what_is_built_in_python_is_looked_at_too(tmp_path: Path, kind: Any) -> None:
    source, callback = data(), kind(monitor="auto")
    with pytest.raises(MERError, match="is better when larger"):
        quiet(tmp_path, kind(monitor="val/Acc7")).fit(module(source), datamodule=source)
    quiet(tmp_path, callback).fit(module(source), datamodule=source)
    assert (callback.monitor, callback.mode) == ("val/Acc7", "max")


def test_a_margin_keeps_its_sense_when_the_direction_is_set() -> None:
    turned, given = EarlyStopping("auto", min_delta=0.25), EarlyStopping("val/Acc7", min_delta=0.25, mode="max")
    follow(turned, SentimentClassification(7), is_open=True)
    assert (turned.mode, turned.min_delta, turned.best_score) == (given.mode, given.min_delta, given.best_score)
    kept, asked = ModelCheckpoint(monitor="auto"), ModelCheckpoint(monitor="val/Acc7", mode="max")
    follow(kept, SentimentClassification(7), is_open=True)
    assert (kept.kth_value, kept.state_key) == (asked.kth_value, asked.state_key)


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
def test_a_plateau_of_an_accuracy_is_its_largest_value(tmp_path: Path, wrappers: list[Any]) -> None:
    source = data()
    trained = module(source, wrappers=wrappers, lr_scheduler=ReduceLROnPlateau)
    quiet(tmp_path).fit(trained, datamodule=source)
    scheduler = trained.lr_schedulers()
    assert isinstance(scheduler, ReduceLROnPlateau)
    assert (scheduler.mode, scheduler.best) == ("max", float(trained.trainer.callback_metrics["val/Acc7"]))


def test_a_plateau_against_its_metric_is_refused(tmp_path: Path) -> None:
    def largest(optimizer: Optimizer) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(optimizer, mode="max")

    source = data()
    trained: MERModule = module(source, lr_scheduler=largest, monitor="val/loss")
    trainer: Trainer = quiet(tmp_path)
    with pytest.raises(MERError, match="val/loss is better when smaller, but ReduceLROnPlateau has mode max"):
        trainer.fit(trained, datamodule=source)
