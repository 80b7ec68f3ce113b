"""A run that is resumed from any of its checkpoints ends as the unbroken run, bit for bit."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from toys import TwoStep
from training_runs import Net, train
from typing_extensions import override
from zoo_cases import TINY

from mer_zoo.backbones import EMTDLFR, LFLSTM, CIDerNet, CUMDFNet, SelfMM
from mer_zoo.cli import main
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.runs.folder import newest_run
from mer_zoo.wrappers import (
    AGM,
    CLUE,
    CUMDF,
    DFR,
    GEAR,
    JTT,
    MACI,
    MCIS,
    MSSD,
    OGMGE,
    CausalMER,
    GBlend,
    GroupDRO,
    MMPareto,
    MulDeF,
    PropensityWeighting,
)

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{text}") for text in ("the run goes on otherwise", "Checkpoint directory")
]


def check_resuming(folder: Path, every: int | None = None, skip: int = 1, **options: Any) -> None:
    """Train through, then again from every ``skip``-th checkpoint that was written on the way, with another seed."""
    state, course = train(folder / "unbroken", 0, every=every, **options)
    paths = sorted((folder / "unbroken").glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    assert len(paths) > (2 if every else 1)
    for path in paths[:-1][::skip]:
        again, rest = train(folder / "resumed", 1, every=every, resumed=path, **options)
        assert rest == course[-len(rest) :]
        assert 0 < len(rest) < len(course)
        assert len(again) == len(state)
        assert all(torch.equal(one, other) for one, other in zip(state, again, strict=True))


def one_cycle(optimizer: Any) -> OneCycleLR:
    return OneCycleLR(optimizer, max_lr=0.5, total_steps=30)


def plateau(optimizer: Any) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=10.0, threshold_mode="abs")


CASES: dict[str, dict[str, Any]] = {
    "plain": {"every": 2},
    "epochs": {},
    "one cycle": {"every": 3, "lr_scheduler": one_cycle, "scheduler_interval": "step"},
    "each epoch": {"every": 3, "lr_scheduler": lambda optimizer: StepLR(optimizer, 1, gamma=0.5), "accumulate": 3},
    "plateau": {"every": 3, "lr_scheduler": plateau},
    "plateau by step": {"every": 3, "lr_scheduler": plateau, "scheduler_interval": "step"},
    "validation twice": {"every": 2, "trainer": {"val_check_interval": 0.5}},
    "validation seldom": {"lr_scheduler": plateau, "trainer": {"check_val_every_n_epoch": 2, "max_epochs": 4}},
    "steps": {"every": 3, "trainer": {"max_steps": 10}},
    "part of an epoch": {"every": 2, "trainer": {"limit_train_batches": 3}},
    "worker": {"every": 3, "data": {"num_workers": 1}, "trainer": {"max_epochs": 2}},
}


@pytest.mark.parametrize("name", CASES)
def test_resuming_is_bit_for_bit(tmp_path: Path, name: str) -> None:
    check_resuming(tmp_path, **CASES[name])


@pytest.mark.parametrize(
    "case",
    [
        {"every": 4, "accumulate": 2, "train_size": 44},
        {"every": 4, "lr_scheduler": plateau, "scheduler_interval": "step"},
        {"lr_scheduler": plateau},
        {"every": 6, "trainer": {"max_steps": 20}},
    ],
)
def test_resuming_with_several_steps_a_batch(tmp_path: Path, case: dict[str, Any]) -> None:
    check_resuming(tmp_path, wrappers=[TwoStep], **case)


def of(backbone: Any, *wrappers: Any, **options: Any) -> Net:
    def build(data: SyntheticMER) -> Model:
        model: Model = backbone(data.spec, data.task, **{**TINY[backbone.__name__], **options})
        for wrapper in wrappers:
            model = wrapper(model)
        return model

    return build


SPEAKERS = {f"train_{i:05d}": str(i % 3) for i in range(16)}
STATEFUL: dict[str, Net] = {
    "MSSD(MACI(CIDerNet))": of(CIDerNet, MACI, MSSD),
    "CUMDF(CUMDFNet)": of(CUMDFNet, CUMDF, out_dropout=0.1),
    "CLUE": of(LFLSTM, partial(CLUE, lstm_dim=4, dim=8)),
    "MSSD(MulDeF)": of(LFLSTM, partial(MulDeF, heads=2, dim=8, gru_dim=4), MSSD),
    "MCIS": of(
        LFLSTM, partial(MCIS, strengths="validation", attribute={f"train_{i:05d}": str(i % 3) for i in range(16)})
    ),
    "CausalMER(GEAR)": of(LFLSTM, partial(GEAR, dim=8, branch_dim=8, swap_epochs=1), CausalMER),
    "PropensityWeighting": of(LFLSTM, partial(PropensityWeighting, mode="exchange", words="maci", gate=False)),
    "GroupDRO": of(LFLSTM, partial(GroupDRO, step_size=1.0, min_group=1)),
    "JTT": of(LFLSTM, partial(JTT, epochs=1)),
    "DFR": of(LFLSTM, partial(DFR, retrains=1, strengths=[0.3], min_group=1)),
    "AGM": of(LFLSTM, partial(AGM, start=1)),
    "GBlend": of(LFLSTM, partial(GBlend, epochs=1)),
    "MMPareto": of(LFLSTM, partial(MMPareto, mode="train")),
    "OGMGE": of(LFLSTM, OGMGE),
    "EMTDLFR": of(EMTDLFR, out_dropout=0.1, seed=None),
}


@pytest.mark.filterwarnings("ignore:.*effective sample size", "ignore:the worst group")
@pytest.mark.parametrize("name", STATEFUL)
def test_resuming_keeps_what_models_remember(tmp_path: Path, name: str) -> None:
    size = 100 if name == "PropensityWeighting" else 16
    options: dict[str, Any] = {"net": STATEFUL[name], "trainer": {"max_epochs": 2}, "train_size": size}
    check_resuming(tmp_path, every=3, skip=2, data={"batch_size": size // 4}, **options)


def test_resuming_keeps_the_bank_of_labels(tmp_path: Path) -> None:
    data = {"task": "regression", "batch_size": 4}
    check_resuming(tmp_path, every=2, skip=3, net=of(SelfMM), train_size=16, data=data)


class Killed(Exception):  # noqa: N818
    """Stands for the end of the process."""


class KillBatch(Callback):
    """Ends the run in the middle of an epoch."""

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 2):
            raise Killed


def test_between_two_checkpoints_the_rest_of_an_epoch_is_done_again(tmp_path: Path) -> None:
    state, _ = train(tmp_path / "unbroken", 0)
    with pytest.raises(Killed):
        train(tmp_path / "killed", 0, callbacks=(KillBatch(),))
    (path,) = (tmp_path / "killed").glob("*.ckpt")
    again, rest = train(tmp_path / "killed", 0, resumed=path)
    assert rest[0].startswith("batch 0")
    assert all(torch.equal(one, other) for one, other in zip(state, again, strict=True))


def test_no_checkpoint_falls_into_an_accumulation(tmp_path: Path) -> None:
    for wrappers in ([], [TwoStep]):
        folder = tmp_path / str(len(wrappers))
        train(folder, 0, every=1, accumulate=3, wrappers=wrappers, train_size=8 * 7)
        stages = 1 + len(wrappers)
        steps = {int(path.stem.split("=")[1]) for path in folder.glob("*.ckpt")}
        assert steps == {stages * number for number in range(1, 10)}
        for path in folder.glob("*.ckpt"):
            progress = torch.load(path, weights_only=True)["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
            assert progress["ready"] in (3, 6, 7)


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    stop = partial(EarlyStopping, "val/loss", patience=1, min_delta=100.0)
    options: dict[str, Any] = {"trainer": {"max_epochs": 9}}
    state, course = train(tmp_path, 0, callbacks=(stop(),), **options)
    assert course[-1].startswith("epoch 1")
    paths = sorted(tmp_path.glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    for path, left in zip(paths, (True, False), strict=True):
        again, rest = train(tmp_path / "resumed", 1, resumed=path, callbacks=(stop(),), **options)
        assert bool(rest) is left
        assert all(torch.equal(one, other) for one, other in zip(state, again, strict=True))


FIT = ["fit", "--data=SyntheticMER", "--data.task=binary", "--data.batch_size=4", "--model.backbone=LFLSTM"]
FIT += ["--data.scm.train=8", "--data.scm.valid=4", "--data.scm.test=4", "--model.backbone.dim=4"]
FIT += ["--trainer.accelerator=cpu", "--trainer.max_epochs=3", "--record.pictures=false"]
FIT += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def states(run: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return found


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.slow
def test_last_continues_the_newest_run_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = Path("runs/mer_zoo")
    main([*FIT, "--ckpt_path=last"])  # nothing there: the first run begins
    main([*FIT, "--trainer.max_epochs=1"])
    parted = runs / "version_1"
    curve = (parted / "metrics.csv").read_text()
    main([*FIT, "--ckpt_path=last"])
    assert sorted(path.name for path in runs.iterdir()) == ["version_0", "version_1"]
    assert equal(states(runs / "version_0"), states(parted))
    for name in ("metrics.csv", "config.yaml"):
        assert (runs / "version_0" / name).read_bytes() == (parted / name).read_bytes()
    assert (parted / "metrics.csv").read_text().startswith(curve)
    assert yaml.safe_load((parted / "config.yaml").read_text()).get("ckpt_path") is None
    record = json.loads((parted / "provenance.json").read_text())
    assert record["command"].endswith("--trainer.max_epochs=1")
    assert [again["command"].split()[-1] for again in record["resumed"]] == ["--ckpt_path=last"]

    main(
        [*FIT, f"--ckpt_path={parted / 'checkpoints' / 'last.ckpt'}", "--trainer.max_epochs=4"]
    )  # into a folder of its own
    rows = list(csv.DictReader((runs / "version_2" / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(4) for _ in range(2)]

    main(["test", *FIT[1:], "--ckpt_path=best"])
    assert (runs / "version_2" / "results.json").exists()
    with pytest.raises(SystemExit):
        main(["test", *FIT[1:], "--trainer.logger.name=other", "--ckpt_path=last"])
    assert "there is no run yet; train first" in capsys.readouterr().err


@pytest.mark.slow
def test_a_new_run_in_an_old_folder_does_not_go_on_from_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fixed = [*FIT, "--trainer.logger.version=", "--trainer.max_epochs=1"]
    run = Path("runs/mer_zoo")
    main(fixed)
    with monkeypatch.context() as patch:
        patch.setattr(MERModule, "training_step", killed)
        with pytest.raises(Killed):
            main([*fixed, "--seed_everything=1", "--overwrite=true"])
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt.old", "last.ckpt.old"]
    assert not (run / "metrics.csv").exists()
    main([*fixed, "--seed_everything=1", "--ckpt_path=last"])
    rows = list(csv.DictReader((run / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "0"]


def killed(*args: Any) -> None:
    raise Killed


def test_the_newest_run_of_each_logger(tmp_path: Path) -> None:
    def begin(*parts: str, when: int = 0) -> Path:
        folder = tmp_path.joinpath(*parts)
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("")
        os.utime(folder / "config.yaml", (when, when))
        return folder

    csv_logger = {"class_path": "CSVLogger", "init_args": {"save_dir": str(tmp_path), "name": "mult", "version": None}}
    assert newest_run(csv_logger) is None
    begin("mult", "version_9")
    latest = begin("mult", "version_10")
    (tmp_path / "mult" / "version_11").mkdir()
    (tmp_path / "mult" / "version_11" / "config_test.yaml").write_text("")  # a test without a checkpoint
    found = newest_run(csv_logger)
    assert found is not None
    assert (found.folder, found.option, found.value) == (latest, "version", 10)
    (tmp_path / "mult" / "version_12").mkdir()  # killed at its very beginning
    found = newest_run(csv_logger)
    assert found is not None
    assert found.value == 12
    named = begin("mult", "named")
    found = newest_run({**csv_logger, "init_args": {**csv_logger["init_args"], "version": "named"}})  # type: ignore[dict-item]
    assert found is not None
    assert (found.folder, found.option) == (named, None)
    begin("zoo", "zz", when=1)
    latest = begin("zoo", "aa", when=2)
    found = newest_run({"class_path": "WandbLogger", "init_args": {"save_dir": str(tmp_path), "project": "zoo"}})
    assert found is not None
    assert (found.folder, found.option, found.value) == (latest, "id", "aa")
    assert newest_run(None, str(tmp_path)) is None


EACH = "import json, sys; from mer_zoo.cli import main; [main(args) for args in json.loads(sys.argv[1])]"


@pytest.mark.slow
def test_same_seed_same_result_in_another_process(tmp_path: Path) -> None:
    options = {"plain": [], "workers": ["--data.num_workers=1"], "other": ["--seed_everything=8"]}
    fits = [["fit", *FIT[1:], f"--trainer.logger.name={name}", *given] for name, given in options.items()]
    test = ["test", *FIT[1:], "--trainer.logger.name=plain", "--ckpt_path=best", "--data.conditions=availability"]
    processes: list[subprocess.Popen[str]] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": str(len(processes))}
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        command = [sys.executable, "-c", EACH, json.dumps([*fits, test])]
        with (tmp_path / name / "log.txt").open("w") as log:
            processes.append(
                subprocess.Popen(command, cwd=tmp_path / name, env=environment, stderr=log, stdout=log, text=True)
            )
    codes = [process.wait() for process in processes]
    assert codes == [0, 0], (tmp_path / "one" / "log.txt").read_text()[-2000:]
    one, two = (tmp_path / name / "runs" for name in ("one", "two"))
    for name in options:
        assert equal(states(one / name / "version_0"), states(two / name / "version_0"))
    for path in (*(f"{name}/version_0/metrics.csv" for name in options), *RESULTS):
        assert (one / path).read_bytes() == (two / path).read_bytes(), path
    assert unmeasured(one / "plain" / "version_0") == unmeasured(two / "plain" / "version_0")
    assert not equal(states(one / "plain" / "version_0"), states(one / "other" / "version_0"))


RESULTS = [f"plain/version_0/{name}" for name in ("scores.safetensors", "config.yaml", "provenance.json")]


def unmeasured(run: Path) -> dict[str, Any]:
    """The results of a run but for what a clock says of it."""
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return {**found, "complexity": found["complexity"]["parameters"]}
