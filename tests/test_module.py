"""MERModule on the synthetic corpus: optimisation modes, clipping, schedulers, checkpoints, hooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR
from toys import MeanNet, Shifting, TwoStep
from typing_extensions import override

from mer_zoo.backbones import MulT
from mer_zoo.batch import Batch, BatchSource, Step
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model, Wrapper
from mer_zoo.module import MERModule
from mer_zoo.wrappers import MACI, OGMGE

SIZES = SyntheticConfig(train=48, valid=24, test=24)


def data(task: str = "binary", batch_size: int = 8, **options: Any) -> SyntheticMER:
    return SyntheticMER(SIZES, task=task, batch_size=batch_size, **options)


def quiet(tmp_path: Path, **options: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": tmp_path,
        "num_sanity_val_steps": 0,
    }
    return Trainer(**{**defaults, **options})


def sgd(params: Any) -> torch.optim.SGD:
    return torch.optim.SGD(params, lr=0.1)


def module(datamodule: SyntheticMER, seed: int = 0, **options: Any) -> MERModule:
    torch.manual_seed(seed)
    return MERModule(MeanNet(datamodule.spec, datamodule.task), **{"optimizer": sgd, **options})


def weights(trained: MERModule) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trained.parameters()])


def test_wrappers_are_applied_inside_out() -> None:
    source = data()
    listed = MERModule(MeanNet(source.spec, source.task), wrappers=[TwoStep, Shifting])
    assert listed.model.name == MERModule(Shifting(TwoStep(MeanNet(source.spec, source.task)))).model.name
    assert listed.model.name == "Shifting(TwoStep(MeanNet))"


@pytest.mark.parametrize(("wrappers", "automatic"), [([], True), ([TwoStep], False)])
def test_optimisation_is_manual_only_with_several_steps(wrappers: list[Any], automatic: bool) -> None:
    assert module(data(), wrappers=wrappers).automatic_optimization is automatic


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
def test_training_logs_and_learns(tmp_path: Path, wrappers: list[Any]) -> None:
    source = data(batch_size=6)
    trainer = quiet(tmp_path, max_epochs=15)
    trained = module(source, wrappers=wrappers, optimizer=lambda p: torch.optim.Adam(p, lr=0.02))
    before = weights(trained).clone()
    trainer.fit(trained, datamodule=source)
    assert not torch.equal(before, weights(trained))
    assert {"train/loss", "train/task", "val/loss", "val/Acc3"} <= trainer.callback_metrics.keys()
    assert trainer.callback_metrics["train/task"] < 0.7
    assert trainer.global_step == 15 * 8 * trained.model.num_steps


def test_automatic_loss_is_the_formula(tmp_path: Path) -> None:
    source = data()
    source.setup("fit")
    batch = next(iter(source.train_dataloader()))
    trained = module(source, wrappers=[TwoStep])
    first, second = trained.model.steps(batch)
    per_sample = trained.model.task.criterion(second.output.logits, batch.target)
    trained.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    expected = (0.5 * per_sample).mean() + second.losses["extra"]
    assert trained.stepping.loss(trained, second).item() == pytest.approx(expected.item())
    assert trained.stepping.loss(trained, first).item() == pytest.approx(
        trained.model.task.criterion(first.output.logits, batch.target).mean().item()
    )


class PerSampleWeight(Wrapper):
    """Weights every other sample with zero."""

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            step.task_weight = (torch.arange(len(batch)) % 2).float()
            yield step


def test_per_sample_weights_divide_by_the_batch_size() -> None:
    source = data()
    source.setup("fit")
    batch = next(iter(source.train_dataloader()))
    trained = module(source, wrappers=[PerSampleWeight])
    trained.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    (step,) = trained.model.steps(batch)
    losses = trained.model.task.criterion(step.output.logits, batch.target)
    assert trained.stepping.loss(trained, step).item() == pytest.approx((losses[1::2].sum() / len(batch)).item())


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
def test_accumulating_equals_a_larger_batch(tmp_path: Path, wrappers: list[Any]) -> None:
    results = []
    for batch_size, accumulate in ((16, 1), (4, 4)):
        torch.manual_seed(1)
        source = data(batch_size=batch_size)
        trained = module(source, wrappers=wrappers, accumulate=accumulate)
        trainer = quiet(tmp_path)
        torch.manual_seed(2)
        trainer.fit(trained, datamodule=source)
        assert trainer.global_step == 3 * trained.model.num_steps
        results.append(weights(trained))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-4)


def test_the_last_short_window_is_stepped_too(tmp_path: Path) -> None:
    source = data(batch_size=16)
    trainer = quiet(tmp_path)
    trainer.fit(module(source, wrappers=[TwoStep], accumulate=2), datamodule=source)
    assert trainer.global_step == 2 * 2


class NotingSGD(torch.optim.SGD):
    """Notes the norm of the gradients that it steps with."""

    norms: ClassVar[list[float]] = []

    @override
    def step(self, closure: Any = None) -> Any:
        loss = closure() if closure is not None else None
        grads = [p.grad.flatten() for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.norms.append(float(torch.cat(grads).norm()))
        super().step()
        return loss


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
def test_clip_norm_bounds_the_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrappers: list[Any]) -> None:
    norms = []
    for clip_norm in (None, 1e-3):
        monkeypatch.setattr(NotingSGD, "norms", [])
        source = data()
        trained = module(source, wrappers=wrappers, clip_norm=clip_norm, optimizer=lambda p: NotingSGD(p, lr=0.1))
        quiet(tmp_path).fit(trained, datamodule=source)
        norms.append(NotingSGD.norms)
    assert max(norms[0]) > 1e-2
    assert max(norms[1]) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
def test_clipping_sees_unscaled_gradients_in_fp16(tmp_path: Path, wrappers: list[Any]) -> None:
    """With a gradient scaler, clipping before unscaling would shrink the step by the scale."""
    from lightning.pytorch.plugins import MixedPrecision

    moved = []
    for plugins in ([], [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=128.0))]):
        source = data()
        trained = module(source, wrappers=wrappers, clip_norm=1e-2)
        before = weights(trained).clone()
        torch.manual_seed(3)
        quiet(tmp_path, plugins=plugins, limit_train_batches=1).fit(trained, datamodule=source)
        moved.append(weights(trained) - before)
    assert moved[0].norm() > 1e-4
    torch.testing.assert_close(moved[0], moved[1], atol=2e-5, rtol=5e-2)


def test_bf16_mixed_trains(tmp_path: Path) -> None:
    source = data()
    trainer = quiet(tmp_path, precision="bf16-mixed")
    trainer.fit(module(source, wrappers=[TwoStep]), datamodule=source)
    assert torch.isfinite(trainer.callback_metrics["train/loss"])


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
def test_epoch_scheduler(tmp_path: Path, wrappers: list[Any]) -> None:
    def scheduler(optimizer: Any) -> LRScheduler:
        return StepLR(optimizer, 1, gamma=0.5)

    source = data()
    trained = module(source, wrappers=wrappers, lr_scheduler=scheduler)
    quiet(tmp_path, max_epochs=3).fit(trained, datamodule=source)
    optimizer = trained.optimizers()
    assert not isinstance(optimizer, list)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**3)


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
def test_step_scheduler_steps_once_a_global_batch(tmp_path: Path, wrappers: list[Any]) -> None:
    def scheduler(optimizer: Any) -> LRScheduler:
        return OneCycleLR(optimizer, max_lr=1.0, total_steps=20)

    source = data()
    trained = module(source, wrappers=wrappers, lr_scheduler=scheduler, scheduler_interval="step")
    quiet(tmp_path).fit(trained, datamodule=source)
    stepped = trained.lr_schedulers()
    assert isinstance(stepped, OneCycleLR)
    assert stepped.last_epoch == 6


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
def test_plateau_scheduler(tmp_path: Path, wrappers: list[Any]) -> None:
    def scheduler(optimizer: Any) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(optimizer, factor=0.1, patience=0, threshold=10.0, threshold_mode="abs")

    source = data()
    trained = module(source, wrappers=wrappers, lr_scheduler=scheduler)
    quiet(tmp_path, max_epochs=2).fit(trained, datamodule=source)
    optimizer = trained.optimizers()
    assert not isinstance(optimizer, list)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


class Miscounting(TwoStep):
    """Declares two steps, yields as many as told."""

    count = 1

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for _ in range(self.count):
            yield Step(batch, self(batch))


@pytest.mark.parametrize(("count", "word"), [(1, "1 steps|fewer"), (3, "3 steps|more")])
def test_a_wrong_number_of_steps_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, word: str
) -> None:
    monkeypatch.setattr(Miscounting, "count", count)
    source = data()
    with pytest.raises(RuntimeError, match=word):
        quiet(tmp_path).fit(module(source, wrappers=[Miscounting]), datamodule=source)


def test_prepare_runs_once_and_survives_resuming(tmp_path: Path) -> None:
    source = data("regression")
    checkpoint = ModelCheckpoint(tmp_path, save_last=True, save_top_k=0)
    trained = module(source, wrappers=[Shifting])
    quiet(tmp_path, enable_checkpointing=True, callbacks=[checkpoint]).fit(trained, datamodule=source)
    assert isinstance(trained.model, Shifting)
    assert int(trained.model.seen) == len(source.corpus.split("train"))
    resumed = module(data("regression"), wrappers=[Shifting])
    quiet(tmp_path, max_epochs=2).fit(resumed, datamodule=data("regression"), ckpt_path=tmp_path / "last.ckpt")
    assert isinstance(resumed.model, Shifting)
    assert int(resumed.model.seen) == len(source.corpus.split("train"))


class Watcher(Callback):
    """Notes the shift that is in force when the sanity check and the first checkpoint happen."""

    def __init__(self) -> None:
        self.after_sanity: float | None = None

    @override
    def on_sanity_check_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.after_sanity = float(pl_module.model.shift)


def test_calibration_precedes_metrics_and_checkpoints(tmp_path: Path) -> None:
    source, watcher = data("regression"), Watcher()
    checkpoint = ModelCheckpoint(tmp_path, monitor="val/MAE", filename="best")
    trained = module(source, wrappers=[Shifting])
    trainer = quiet(tmp_path, num_sanity_val_steps=2, enable_checkpointing=True, callbacks=[checkpoint, watcher])
    trainer.fit(trained, datamodule=source)
    assert watcher.after_sanity == 0.0
    assert isinstance(trained.model, Shifting)
    shift = trained.model.shift
    saved = torch.load(tmp_path / "best.ckpt", weights_only=True)["state_dict"]["model.shift"]
    assert shift != 0
    assert saved == shift
    batches = list(source.batch_source("valid"))
    with torch.no_grad():
        raw = torch.cat([trained.model.backbone(batch).logits.squeeze(-1) for batch in batches])
    target = torch.cat([batch.target for batch in batches])
    logged = trainer.callback_metrics
    assert float(logged["val/MAE"]) == pytest.approx(float((raw + shift - target).abs().mean()), abs=1e-5)
    assert float(logged["val/loss"]) == pytest.approx(float((raw - target).abs().mean()), abs=1e-5)


def test_test_reports_each_condition_with_baselines(tmp_path: Path) -> None:
    source = data()
    trained = module(source)
    trainer = quiet(tmp_path)
    trainer.test(trained, datamodule=source, verbose=False)
    assert list(trained.results) == ["iid", "ood", "rct"]
    entry = trained.results["ood"]
    assert entry["count"] == 24
    assert set(entry["majority"]) <= set(entry["metrics"])
    assert float(trainer.callback_metrics["test/Acc3"]) == pytest.approx(trained.results["iid"]["metrics"]["Acc3"])
    assert float(trainer.callback_metrics["test/ood/Acc3"]) == pytest.approx(entry["metrics"]["Acc3"])


def test_predict_gives_ids_scores_and_effects(tmp_path: Path) -> None:
    source = data("regression", predict_split="test_iid")
    parts = quiet(tmp_path).predict(module(source, wrappers=[Shifting]), datamodule=source)
    assert parts is not None
    first: Any = parts[0]
    assert first["ids"] == source.corpus.split("test_iid").ids[:8]
    assert first["scores"].shape == (8,)
    assert first["effects"]["raw"].shape == (8, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip_norm": 0.0}, "clip_norm is 0.0; give a positive norm"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"scheduler_interval": "batch"}, "choose epoch or step"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MERError, match=message):
        module(data(), **options)


def test_accumulating_twice_is_refused(tmp_path: Path) -> None:
    source = data()
    with pytest.raises(MERError, match="accumulated twice"):
        quiet(tmp_path, accumulate_grad_batches=3).fit(module(source, accumulate=2), datamodule=source)


def wide(spec: Any, task: Any) -> Model:
    return MeanNet(spec, task, width=9)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    source = data()
    trainer = quiet(tmp_path, enable_checkpointing=True)
    trainer.fit(module(source), datamodule=source)
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    with pytest.raises(MERError, match="checkpoint holds model MeanNet, not"):
        quiet(tmp_path).test(module(source, wrappers=[Shifting]), datamodule=source, ckpt_path=path)
    with pytest.raises(MERError, match=r"has shape \(8,\) there and \(9,\) here|does not fit this MeanNet"):
        quiet(tmp_path).test(MERModule(wide(source.spec, source.task)), datamodule=source, ckpt_path=path)


def test_the_scaler_travels_with_the_checkpoint(tmp_path: Path) -> None:
    source = data()
    trainer = quiet(tmp_path, enable_checkpointing=True)
    trainer.fit(module(source), datamodule=source)
    path = tmp_path / "model.ckpt"
    trainer.save_checkpoint(path)
    other = SyntheticMER(SyntheticConfig(train=12, valid=6, test=6, audio_strength=3.0))
    quiet(tmp_path).test(module(other), datamodule=other, ckpt_path=path, verbose=False)
    mine, theirs = source.scaler_state(), other.scaler_state()
    assert mine is not None
    assert theirs is not None
    assert torch.equal(mine["mean"]["audio"], theirs["mean"]["audio"])
    plain = data(standardize=False)
    with pytest.raises(MERError, match="trained with standardisation; set data.standardize: true"):
        quiet(tmp_path).test(module(plain), datamodule=plain, ckpt_path=path)


@pytest.mark.parametrize("monitor", ["val/nothing", "test/Acc3"])
def test_selection_by_an_unknown_or_a_test_metric_is_refused(tmp_path: Path, monitor: str) -> None:
    source = data()
    trainer = quiet(tmp_path, enable_checkpointing=True, callbacks=[ModelCheckpoint(tmp_path, monitor=monitor)])
    with pytest.raises(MERError, match=f"monitor '{monitor}' is not a validation metric of this task; choose from"):
        trainer.fit(module(source), datamodule=source)


class TwoViews(Wrapper):
    """One optimiser step on two views."""

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield from self.backbone.steps(batch)
        yield from self.backbone.steps(batch)


def test_one_optimiser_step_sums_all_views(tmp_path: Path) -> None:
    moved = []
    for wrappers in ([], [TwoViews]):
        source = data()
        trained = module(source, wrappers=wrappers)
        before = weights(trained).clone()
        torch.manual_seed(5)
        quiet(tmp_path, limit_train_batches=1).fit(trained, datamodule=source)
        moved.append(weights(trained) - before)
    torch.testing.assert_close(moved[1], 2 * moved[0], atol=1e-6, rtol=1e-4)


def test_prepare_runs_without_gradients_in_evaluation_mode(tmp_path: Path) -> None:
    seen = []

    class Noting(Wrapper):
        @override
        def prepare(self, train: BatchSource) -> None:
            super().prepare(train)
            seen.append((self.training, torch.is_grad_enabled()))

    source = data()
    trained = module(source, wrappers=[Noting])
    quiet(tmp_path).fit(trained, datamodule=source)
    assert seen == [(False, False)]
    assert trained.model.training


def test_plateau_waits_for_the_first_validation(tmp_path: Path) -> None:
    source = data()
    trained = module(source, wrappers=[TwoStep], lr_scheduler=lambda o: ReduceLROnPlateau(o))
    quiet(tmp_path, max_epochs=2, check_val_every_n_epoch=2).fit(trained, datamodule=source)


def test_the_seed_of_training_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    source = data()
    trainer = quiet(tmp_path, enable_checkpointing=True)
    trainer.fit(module(source), datamodule=source)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    tested = module(source)
    quiet(tmp_path).test(tested, datamodule=source, ckpt_path=tmp_path / "model.ckpt", verbose=False)
    assert tested.trained_seed() == 3


def test_keeping_the_latest_checkpoints_by_step_is_allowed(tmp_path: Path) -> None:
    source = data()
    latest = ModelCheckpoint(tmp_path, monitor="step", mode="max", save_top_k=2)
    quiet(tmp_path, enable_checkpointing=True, callbacks=[latest]).fit(module(source), datamodule=source)


def test_accumulation_is_taken_back_after_the_fit(tmp_path: Path) -> None:
    source = data()
    trainer = quiet(tmp_path)
    trainer.fit(module(source, accumulate=3), datamodule=source)
    assert trainer.accumulate_grad_batches == 1


def test_float64_training_leaves_float32_models_alone(tmp_path: Path) -> None:
    source = data()
    for precision in ("64-true", "32-true"):
        net = MulT(source.spec, source.task, dim=12, heads=2, depth=1)
        quiet(tmp_path, precision=precision, fast_dev_run=1).fit(MERModule(net), datamodule=source)


def test_statistics_are_fitted_in_the_precision_of_the_trainer(tmp_path: Path) -> None:
    source = data()
    trained = MERModule(MulT(source.spec, source.task, dim=8, heads=2, depth=1), wrappers=[MACI])
    quiet(tmp_path, precision="64-true", max_steps=1).fit(trained, datamodule=source)
    model = trained.model
    assert isinstance(model, MACI)
    assert model.head.get_buffer("mean_audio").dtype == torch.float64
    assert model.head.get_buffer("mean_audio").any()


@pytest.mark.parametrize(
    ("wrappers", "options", "message"),
    [
        ([], {"clip_norm": 1.0}, "shard of the gradient"),
        ([TwoStep], {}, r"TwoStep\(MeanNet\) takes 2 optimiser steps"),
        ([OGMGE], {}, r"OGMGE\(MeanNet\) changes gradients of whole parameters"),
    ],
)
def test_what_fsdp_would_get_wrong_is_refused(
    tmp_path: Path, wrappers: list[Any], options: dict[str, Any], message: str
) -> None:
    source = data()
    trained, runner = module(source, wrappers=wrappers, **options), quiet(tmp_path)
    runner._accelerator_connector.strategy = FSDPStrategy()  # the Trainer itself takes it on a GPU only
    trained.trainer = runner
    with pytest.raises(MERError, match=message):
        trained.setup("fit")
