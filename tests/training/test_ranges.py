"""Options out of range, of trainer, callbacks, optimiser and schedule: refused in one sentence that names each."""

from __future__ import annotations

from functools import partial
from math import inf, nan
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim import SGD, Adam
from torch.optim import lr_scheduler as schedules

from mer_zoo import LFLSTM, DataSpec, MERModule, SentimentRegression, SyntheticMER
from mer_zoo.data import SyntheticConfig
from mer_zoo.data.missing.conditions import Condition
from mer_zoo.errors import MERError
from mer_zoo.training.param_groups import build_optimizer
from mer_zoo.training.refusals import check_evaluation, check_schedule
from mer_zoo.training.scheduling import Scheduling

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*max_epochs"),
    pytest.mark.filterwarnings("ignore:Detected call of"),
    pytest.mark.filterwarnings("ignore:param_groups"),
]


def trainer(**options: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "accelerator": "cpu", "enable_progress_bar": False}
    return Trainer(**{**quiet, "max_epochs": 2, **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_epochs": 0}, "max_epochs is 0: nothing would be trained"),
        ({"max_steps": 0}, "max_steps is 0: nothing would be trained"),
        ({"min_epochs": -3}, "min_epochs is -3; give"),
        ({"min_epochs": 5}, "min_epochs is 5 and max_epochs 2"),
        ({"min_steps": -3}, "min_steps is -3; give"),
        ({"min_steps": 9, "max_steps": 3}, "min_steps is 9 and max_steps 3"),
        ({"max_time": "00:00:00:00"}, "max_time is 0 s"),
        ({"max_time": {"hours": -1}}, "max_time is -3600 s"),
        ({"num_sanity_val_steps": -7}, "num_sanity_val_steps is -7; give"),
        ({"log_every_n_steps": -3}, "log_every_n_steps is -3; give"),
        ({"val_check_interval": 0}, "val_check_interval is 0; give"),
        ({"val_check_interval": 0.0}, "val_check_interval is 0.0; give"),
        ({"gradient_clip_val": nan}, "gradient_clip_val is nan; give"),
    ],
)
def test_of_the_trainer(options: dict[str, Any], words: str) -> None:
    with pytest.raises(MERError, match=words):
        check_schedule(trainer(**options))


@pytest.mark.parametrize(
    "options",
    [
        {"max_epochs": -1},
        {"max_epochs": None, "max_steps": 5, "min_epochs": 3},
        {"max_steps": -1, "min_steps": 5},
        {"num_sanity_val_steps": -1},
        {"num_sanity_val_steps": 0},
        {"log_every_n_steps": 0},
        {"val_check_interval": 3},
        {"limit_val_batches": 0},
        {"max_time": "00:00:01:00"},
        {"fast_dev_run": True},
        {"gradient_clip_val": 0},
    ],
)
def test_what_lightning_gives_a_meaning_is_taken(options: dict[str, Any]) -> None:
    check_schedule(trainer(**options))


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_delta": -1.0}, "min_delta is -1; give"),
        ({"min_delta": nan}, "min_delta is nan; give"),
        ({"min_delta": inf}, "min_delta is inf; give"),
        ({"stopping_threshold": nan}, "stopping_threshold is nan; give"),
        ({"divergence_threshold": nan}, "divergence_threshold is nan; give"),
    ],
)
def test_of_early_stopping(mode: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(MERError, match=words):
        check_schedule(trainer(callbacks=[EarlyStopping("val/loss", mode=mode, **options)]))
    check_schedule(trainer(callbacks=[EarlyStopping("val/loss", mode=mode, min_delta=0.1)]))


def test_of_checkpoints() -> None:
    two = [ModelCheckpoint(filename="best", monitor=name, enable_version_counter=False) for name in ("val/loss", None)]
    with pytest.raises(MERError, match="two callbacks keep their checkpoints as 'best'; give one another filename"):
        check_schedule(trainer(callbacks=[*two]))
    with pytest.raises(MERError, match="filename of a checkpoint is empty; give"):
        check_schedule(trainer(callbacks=[ModelCheckpoint(filename="")]))
    other = ModelCheckpoint("elsewhere", filename="best", enable_version_counter=False)
    check_schedule(trainer(callbacks=[two[0], other]))


def test_of_tests_and_predictions() -> None:
    for stage in ("test", "predict"):
        name = f"limit_{stage}_batches"
        with pytest.raises(MERError, match=f"{name} is 0: there would be no result; leave it out"):
            check_evaluation(trainer(**{name: 0}), stage)
        check_evaluation(trainer(**{name: 1}), stage)


Schedules: list[tuple[Any, dict[str, Any], str]] = [
    (schedules.StepLR, {"step_size": 2, "gamma": -1}, "StepLR: gamma is -1; give"),
    (schedules.StepLR, {"step_size": 2, "gamma": nan}, "StepLR: gamma is nan; give"),
    (schedules.ExponentialLR, {"gamma": 0}, "ExponentialLR: gamma is 0; give"),
    (schedules.MultiStepLR, {"milestones": [2], "gamma": -1}, "MultiStepLR: gamma is -1; give"),
    (schedules.ReduceLROnPlateau, {"factor": -1}, "ReduceLROnPlateau: factor is -1; give"),
    (schedules.ReduceLROnPlateau, {"factor": nan}, "ReduceLROnPlateau: factor is nan; give"),
    (schedules.ReduceLROnPlateau, {"patience": -1}, "ReduceLROnPlateau: patience is -1; give"),
    (schedules.ReduceLROnPlateau, {"cooldown": -2}, "ReduceLROnPlateau: cooldown is -2; give"),
    (schedules.ReduceLROnPlateau, {"threshold": nan}, "ReduceLROnPlateau: threshold is nan; give"),
    (schedules.ReduceLROnPlateau, {"min_lr": -1}, "ReduceLROnPlateau: min_lrs is -1; give"),
    (schedules.CosineAnnealingLR, {"T_max": -1}, "CosineAnnealingLR: T_max is -1; give"),
    (schedules.CosineAnnealingLR, {"T_max": 3, "eta_min": -1}, "makes the learning rate -0.*; give it other options"),
    (schedules.OneCycleLR, {"max_lr": -1, "total_steps": 10}, "makes the learning rate -"),
    (schedules.CyclicLR, {"base_lr": -1, "max_lr": 1, "cycle_momentum": False}, "makes the learning rate -"),
    (schedules.LinearLR, {"total_iters": -1}, "LinearLR: total_iters is -1; give"),
    (
        schedules.LambdaLR,
        {"lr_lambda": lambda step: 1.0 - step / 3},
        "makes the learning rate -.* after 4 of its steps",
    ),
    (schedules.LambdaLR, {"lr_lambda": lambda step: nan if step else 1.0}, "makes the learning rate nan"),
]


@pytest.mark.parametrize(("kind", "options", "words"), Schedules)
def test_of_schedules(kind: Any, options: dict[str, Any], words: str) -> None:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    with pytest.raises(MERError, match=words):
        Scheduling(partial(kind, **options), "epoch", "val/loss", False).configure(optimizer)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (schedules.StepLR, {"step_size": 2, "gamma": 1.5}),
        (schedules.CosineAnnealingLR, {"T_max": 3}),
        (schedules.CosineAnnealingWarmRestarts, {"T_0": 2}),
        (schedules.OneCycleLR, {"max_lr": 1, "total_steps": 10}),
        (schedules.PolynomialLR, {"total_iters": 5}),
        (schedules.ReduceLROnPlateau, {"patience": 0}),
        (schedules.MultiplicativeLR, {"lr_lambda": lambda step: 0.9}),
    ],
)
def test_schedules_that_mean_something_are_taken(kind: Any, options: dict[str, Any]) -> None:
    optimizer = Adam([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.2)])
    Scheduling(partial(kind, **options), "epoch", "val/loss", False).configure(optimizer)
    assert [group["params"][0].numel() for group in optimizer.param_groups] == [1, 1]


@pytest.mark.parametrize(
    ("factory", "groups", "words"),
    [
        (Adam, {"*": {"lr": -1}}, r"param_groups '\*': Invalid learning rate: -1"),
        (Adam, {"*": {"lr": nan}}, r"param_groups '\*': Invalid learning rate: nan"),
        (Adam, {"*": {"weight_decay": -1}}, r"param_groups '\*': Invalid weight_decay value: -1"),
        (Adam, {"*": {"betas": [2, 3]}}, r"param_groups '\*': Invalid beta parameter at index 0: 2"),
        (Adam, {"*": {"lr": "x"}}, r"param_groups '\*': "),
        (Adam, {"*": {"lr": inf}}, "lr of the optimizer is inf; give"),
        (partial(Adam, lr=inf), {}, "lr of the optimizer is inf; give"),
        (partial(SGD, lr=0.1, momentum=nan), {}, "momentum of the optimizer is nan; give"),
    ],
)
def test_of_optimizers(factory: Any, groups: Any, words: str) -> None:
    with pytest.raises(MERError, match=words):
        build_optimizer(factory, torch.nn.Linear(2, 2).named_parameters(), groups)


def test_of_groups_that_are_fine() -> None:
    made = build_optimizer(
        partial(SGD, lr=0.1), torch.nn.Linear(2, 2).named_parameters(), {"*bias": {"lr": 0.0, "nesterov": False}}
    )
    assert [group["lr"] for group in made.param_groups] == [0.0, 0.1]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"clip_norm": nan}, "clip_norm is nan; give"), ({"accumulate": 2.5}, "accumulate is 2.5; give")],
)
def test_of_the_module(options: dict[str, Any], words: str) -> None:
    with pytest.raises(MERError, match=words):
        MERModule(LFLSTM(DataSpec(), SentimentRegression(), dim=4), **options)


def test_of_conditions() -> None:
    small = SyntheticConfig(train=8, valid=4, test=4)
    with pytest.raises(MERError, match="condition 'x' tests on train, which is trained on; choose"):
        SyntheticMER(small, conditions=[Condition("x", "train")])
    other = SyntheticMER(small, conditions=[Condition("x", "train", source="another.pkl")])
    assert [condition.split for condition in other.conditions] == ["train"]
