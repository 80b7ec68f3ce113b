"""Training that is killed, starved of disk space or fed with NaN, and checkpoints that are damaged or hostile."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import MixedPrecision
from toys import MeanNet, TwoStep
from typing_extensions import override

from mer_zoo.batch import Batch
from mer_zoo.cli import main
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError, TrainingError
from mer_zoo.module import MERModule
from mer_zoo.training.checkpoint import check_file
from mer_zoo.training.checkpoint_io import WholeCheckpointIO

TESTS = Path(__file__).parent
FIT = ["fit", "--data=SyntheticMER", "--data.task=binary", "--data.batch_size=8", "--model.backbone=LFLSTM"]
FIT += ["--data.scm.train=28", "--data.scm.valid=8", "--data.scm.test=8", "--model.backbone.dim=4"]
FIT += ["--trainer.accelerator=cpu", "--trainer.max_epochs=3", "--model.wrappers+=MSSD", "--model.wrappers.alpha=0"]
FIT += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
FIT += ["--last_checkpoint.every_n_train_steps=4"]  # of four batches an epoch, each of two steps
RUN = Path("runs/mer_zoo/version_0")

Call = Callable[..., Any]


def heeds_signals() -> None:
    """Signals do what they do in a terminal, also where the tests run in the background or under nohup."""
    for kind in (signal.SIGINT, signal.SIGHUP):
        signal.signal(kind, signal.SIG_DFL)


@pytest.fixture(scope="module")
def call() -> Iterator[Call]:
    """Run ``mer-zoo`` in a process of its own, with a fault; gives its exit code."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])}
    with subprocess.Popen(
        [sys.executable, str(TESTS / "fault_worker.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=heeds_signals,
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        requests, answers = worker.stdin, worker.stdout

        def run(folder: Path, args: list[str], fault: str = "none", number: int = 0, **more: Any) -> Any:
            folder.mkdir(exist_ok=True)
            request = {"folder": str(folder), "args": args, "fault": fault, "number": number, **more}
            requests.write(json.dumps(request) + "\n")
            requests.flush()
            return json.loads(answers.readline())

        yield run
        requests.close()


def content(folder: Path) -> dict[str, Any]:
    """What training left: everything in its last checkpoint that another run may depend on."""
    found: dict[str, Any] = torch.load(folder / RUN / "checkpoints" / "last.ckpt", weights_only=True)
    return {
        name: found[name] for name in ("state_dict", "optimizer_states", "epoch", "global_step", "mer_zoo_training")
    }


def same(one: Any, other: Any) -> bool:
    """Whether two nests of plain values and tensors are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, call: Call) -> Path:
    """The folder in which a run went through."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert call(folder, FIT) == 0
    return folder


@pytest.mark.parametrize(
    ("fault", "number", "there"),
    [
        ("on_fit_start", 1, []),
        ("training_step", 4, ["last.ckpt"]),  # saved behind the second batch
        ("validation_step", 3, ["best.ckpt", "last.ckpt"]),  # after those of the sanity check and the first epoch
        ("writing", 1, [".last.ckpt"]),
        ("writing", 3, [".last.ckpt", "best.ckpt", "last.ckpt"]),
    ],
)
def test_a_killed_run_goes_on_to_the_same_end(
    tmp_path: Path, call: Call, unbroken: Path, fault: str, number: int, there: list[str]
) -> None:
    assert call(tmp_path, FIT, fault, number) == -signal.SIGKILL
    checkpoints = tmp_path / RUN / "checkpoints"
    names = sorted(path.name for path in checkpoints.glob("*"))
    assert [f".{name.split('.', 2)[2]}" if name.startswith(".") else name for name in names] == there
    for path in checkpoints.glob("[!.]*"):
        check_file(path)
    for path in checkpoints.glob(".*"):
        with pytest.raises(MERError, match="damaged or not a checkpoint"):
            check_file(path)
    assert call(tmp_path, [*FIT, "--ckpt_path=last"]) == 0
    assert same(content(tmp_path), content(unbroken))
    curves = [(folder / RUN / "metrics.csv").read_bytes() for folder in (tmp_path, unbroken)]
    assert curves[0] == curves[1]
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]
    assert not list((tmp_path / RUN).glob(".*"))
    assert [path.name for path in (tmp_path / "runs" / "mer_zoo").iterdir()] == ["version_0"]


@pytest.mark.parametrize(
    ("fault", "number", "kind", "code", "words"),
    [
        ("training_step", 2, signal.SIGTERM, 143, "stopped by SIGTERM before its end; --ckpt_path last goes on"),
        ("training_step", 12, signal.SIGTERM, 143, "stopped by SIGTERM before its end"),  # the last batch of all
        ("validation_step", 3, signal.SIGTERM, 143, "stopped by SIGTERM before its end"),
        ("on_fit_start", 1, signal.SIGTERM, -signal.SIGTERM, ""),  # before Lightning listens
        ("training_step", 6, signal.SIGINT, 130, "stopped by SIGINT before its end; --ckpt_path last goes on"),
        ("setup", 1, signal.SIGINT, 130, "stopped by SIGINT before its end"),
        ("training_step", 6, signal.SIGUSR1, -signal.SIGUSR1, ""),
        ("training_step", 6, signal.SIGHUP, -signal.SIGHUP, ""),
    ],
)
def test_a_run_that_is_cut_off_does_not_say_that_it_is_done(
    tmp_path: Path, call: Call, unbroken: Path, fault: str, number: int, kind: int, code: int, words: str
) -> None:
    assert call(tmp_path, FIT, fault, number, kind=kind) == code
    said = (tmp_path / "log.txt").read_text()
    assert words in said
    assert "Traceback" not in said
    assert call(tmp_path, [*FIT, "--ckpt_path=last"]) == 0
    assert same(content(tmp_path), content(unbroken))


SLURM = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "7", "SLURM_PROCID": "0"}
SLURM |= {"SLURM_LOCALID": "0", "SLURM_NODEID": "0"}


def test_a_job_that_is_to_be_queued_again_goes_on_as_any_run(tmp_path: Path, call: Call, unbroken: Path) -> None:
    """Lightning would leave a checkpoint in the current folder, from which any other run there goes on unasked."""
    assert call(tmp_path, FIT, "training_step", 6, kind=signal.SIGUSR1, environment=SLURM) == -signal.SIGUSR1
    assert not list(tmp_path.glob("hpc_ckpt*"))
    assert call(tmp_path, [*FIT, "--ckpt_path=last"], environment=SLURM) == 0
    assert same(content(tmp_path), content(unbroken))
    shutil.copy(tmp_path / RUN / "checkpoints" / "last.ckpt", tmp_path / "hpc_ckpt_1.ckpt")
    assert call(tmp_path, FIT, environment=SLURM) == 2
    assert "hpc_ckpt_1.ckpt, from which Lightning would go on; move it away" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("doing", ["validate", "test", "predict"])
@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_evaluation_that_is_cut_off_leaves_no_results(
    tmp_path: Path, call: Call, unbroken: Path, doing: str, kind: int, code: int
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(unbroken, folder)
    step = {"validate": "validation_step"}.get(doing, f"{doing}_step")
    options = [f"--config={RUN}/config.yaml", "--data.batch_size=2"]
    assert call(folder, [doing, *options], step, 2, kind=kind) == code
    said = (folder / "log.txt").read_text()
    assert f"{doing} was stopped by {signal.Signals(kind).name} before its end" in said
    assert "Traceback" not in said
    assert not {"results.json", "predictions.csv"} & {path.name for path in (folder / RUN).iterdir()}


def test_a_run_that_is_killed_again_and_again(tmp_path: Path, call: Call, unbroken: Path) -> None:
    for fault, number in (("training_step", 11), ("writing", 1), ("on_train_epoch_end", 1)):
        assert call(tmp_path, [*FIT, "--ckpt_path=last"], fault, number) == -signal.SIGKILL
    assert call(tmp_path, [*FIT, "--ckpt_path=last"]) == 0
    assert same(content(tmp_path), content(unbroken))


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, call: Call, unbroken: Path) -> None:
    assert call(tmp_path, FIT, "size", 10_000) == 1
    log = (tmp_path / "log.txt").read_text()
    (sentence,) = (line for line in log.splitlines() if "error:" in line)
    assert "checkpoint runs/mer_zoo/version_0/checkpoints/" in sentence
    assert "can't be written: File too large; the one before it is as it was; make room" in sentence
    assert "Traceback" not in log
    checkpoints = tmp_path / RUN / "checkpoints"
    for path in checkpoints.iterdir():
        check_file(path)
    assert (checkpoints / "last.ckpt").exists()
    assert call(tmp_path, [*FIT, "--ckpt_path=last"]) == 0
    assert same(content(tmp_path), content(unbroken))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB, where mounting is permitted; two checkpoints fill it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk may be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_small_disk_that_is_full(small_disk: Path, call: Call, unbroken: Path) -> None:
    assert call(small_disk, FIT) == 1
    log = (small_disk / "log.txt").read_text()
    assert "can't be written: No space left on device; the one before it is as it was; make room" in log
    assert "Traceback" not in log
    checkpoints = small_disk / RUN / "checkpoints"
    assert not list(checkpoints.glob(".*"))
    check_file(checkpoints / "last.ckpt")
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    assert call(small_disk, [*FIT, "--ckpt_path=last"]) == 0
    assert same(content(small_disk), content(unbroken))


def test_a_loss_of_nan_is_told_in_one_sentence(tmp_path: Path, call: Call) -> None:
    assert call(tmp_path, FIT, "spoil", 6) == 1
    log = (tmp_path / "log.txt").read_text()
    (sentence,) = (line for line in log.splitlines() if "error:" in line)
    assert "the loss is not a finite number in epoch 1, batch 1" in sentence
    assert f"the ids of the batch are in {RUN / 'nan_batch.json'}" in sentence
    assert "Traceback" not in log
    record = json.loads((tmp_path / RUN / "nan_batch.json").read_text())
    (batch,) = record["batches"]
    assert record["epoch"] == record["batch"] == 1
    assert batch["loss"] == "nan"
    assert batch["parts"][0]["task"] == "nan"
    assert batch["ids"] == [f"train_{index:05d}" for index in batch["index"]]
    assert len(set(batch["ids"])) == 8
    values = torch.load(tmp_path / RUN / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"].values()
    assert all(value.isfinite().all() for value in values)


TWO = [*FIT, "--trainer.num_nodes=2", "--trainer.devices=1", "--trainer.strategy=ddp"]
TWO += ["--last_checkpoint.every_n_train_steps=2"]  # of two batches an epoch and process, each of two steps


def test_two_processes_that_are_killed_go_on_to_the_same_end(tmp_path: Path, call: Call) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call(whole, TWO, processes=2) == 0, (whole / "log.txt").read_text()[-2000:]
    assert call(killed, TWO, "training_step", 4, processes=2) != 0
    left = torch.load(killed / RUN / "checkpoints" / "last.ckpt", weights_only=True)
    assert (left["epoch"], left["global_step"]) == (1, 6)  # behind the third batch, in the middle of an epoch
    assert len(left["mer_zoo_training"]["processes"]) == 2
    assert call(killed, [*TWO, "--ckpt_path=last", "--seed_everything=9", "--resume.allow=seed"], processes=2) == 0
    assert same(content(killed), content(whole))
    assert (killed / RUN / "metrics.csv").read_bytes() == (whole / RUN / "metrics.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [[0, 1], [0], [1]], ids=["both", "first", "second"])
def test_processes_that_are_told_to_end_are_not_done(tmp_path: Path, call: Call, ranks: list[int]) -> None:
    """As a scheduler tells all of a job, or only the process that it has started."""
    codes = call(tmp_path, TWO, "training_step", 5, kind=signal.SIGTERM, ranks=ranks, processes=2, all=True)
    said = (tmp_path / "log.txt").read_text()
    assert codes == [143, 143], said[-3000:]
    assert "stopped by SIGTERM before its end" in said
    assert not list((tmp_path / RUN).rglob(".*.ckpt")), "a half of a checkpoint"
    for path in (tmp_path / RUN / "checkpoints").iterdir():
        check_file(path)
    assert call(tmp_path, [*TWO, "--ckpt_path=last"], processes=2, all=True) == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [[0, 1], [1]], ids=["both", "second"])
def test_a_test_of_processes_that_are_told_to_end_leaves_no_results(
    tmp_path: Path, call: Call, ranks: list[int]
) -> None:
    assert call(tmp_path, TWO, processes=2) == 0
    options = [option for option in TWO if "trainer" in option or "data.batch" in option]
    args = [
        "test",
        f"--config={RUN}/config.yaml",
        *(o for o in options if "max_epochs" not in o),
        "--data.batch_size=2",
    ]
    codes = call(tmp_path, args, "test_step", 2, kind=signal.SIGTERM, ranks=ranks, processes=2, all=True)
    assert -signal.SIGALRM not in codes, "they waited for each other until the worker's limit"
    assert all(code != 0 for code in codes), (tmp_path / "log.txt").read_text()[-3000:]
    assert not {"results.json", "scores.safetensors"} & {path.name for path in (tmp_path / RUN).iterdir()}


def test_processes_stop_together_at_a_loss_of_nan(tmp_path: Path, call: Call) -> None:
    assert call(tmp_path, TWO, "spoil", 3, processes=2) == 1
    log = (tmp_path / "log.txt").read_text()
    told = [line for line in log.splitlines() if "error:" in line]
    assert len(told) == 2
    assert all(f"the ids of the batch are in {RUN / 'nan_batch.json'}" in line for line in told), told
    assert "Traceback" not in log
    (batch,) = json.loads((tmp_path / RUN / "nan_batch.json").read_text())["batches"]  # of the process that it befell
    assert len(batch["ids"]) == 8


class Spoilt(SyntheticMER):
    """Makes the audio of one training sample infinite, where a guard of the data has not looked."""

    @override
    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        assert self.trainer is not None
        if self.trainer.training:
            bad = (batch.index == 5)[:, None, None]
            return batch.replace(audio=batch.audio.replace(x=batch.audio.x.masked_fill(bad, torch.inf)))
        return batch


def trained(
    folder: Path, wrappers: list[Any], data: SyntheticMER, trainer: dict[str, Any], **options: Any
) -> MERModule:
    torch.manual_seed(0)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"max_epochs": 1, "accelerator": "cpu", "default_root_dir": folder, "enable_checkpointing": False}
    module = MERModule(MeanNet(data.spec, data.task), wrappers, **options)
    Trainer(**{**quiet, **trainer}).fit(module, datamodule=data)
    return module


SIZES = SyntheticConfig(train=24, valid=8, test=8)


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_nan_stops_every_kind_of_optimisation(tmp_path: Path, wrappers: list[Any], accumulate: int) -> None:
    data = Spoilt(SIZES, task="binary", batch_size=4, standardize=False)
    with pytest.raises(TrainingError, match="not a finite number in epoch 0"):
        trained(tmp_path, wrappers, data, {}, accumulate=accumulate)
    (batch,) = json.loads((tmp_path / "nan_batch.json").read_text())["batches"]
    assert 5 in batch["index"]
    assert len(batch["index"]) == 4
    assert batch["parts"][0]["task"] == "nan"


def test_nan_may_be_passed_over(tmp_path: Path) -> None:
    data = Spoilt(SIZES, task="binary", batch_size=4, standardize=False)
    module = trained(tmp_path, [], data, {"limit_val_batches": 0}, stop_at_nan=False)
    assert any(not value.isfinite().all() for value in module.state_dict().values())
    assert not (tmp_path / "nan_batch.json").exists()


@pytest.mark.parametrize("wrappers", [[], [TwoStep]])
def test_gradients_that_overflow_in_fp16_are_no_nan_loss(tmp_path: Path, wrappers: list[Any]) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    data = SyntheticMER(SIZES, task="binary", batch_size=4)
    plugins = [MixedPrecision("16-mixed", "cpu", scaler)]
    trained(tmp_path, wrappers, data, {"plugins": plugins})
    assert scaler.get_scale() < 2.0**127  # a step was skipped


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound checkpoint."""
    folder = tmp_path_factory.mktemp("sound")
    data = SyntheticMER(SIZES, task="binary", batch_size=8)
    saver = ModelCheckpoint(folder, filename="sound")
    trained(folder, [], data, {"enable_checkpointing": True, "callbacks": [saver]})
    return folder / "sound.ckpt"


class Evil:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


def hostile(kind: str, sound: Path, folder: Path) -> Path:
    """Write a damaged or hostile variant of a checkpoint."""
    path, data = folder / f"{kind}.ckpt", bytearray(sound.read_bytes())
    if kind == "truncated":
        path.write_bytes(data[: len(data) * 2 // 3])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "picture":
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(data[:1000]))
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Evil(folder / "trace")))
    elif kind == "code":
        held = torch.load(sound, weights_only=True)
        torch.save({**held, "extra": Evil(folder / "trace")}, path)
    elif kind == "legacy code":
        torch.save({"state_dict": Evil(folder / "trace")}, path, _use_new_zipfile_serialization=False)
    elif kind == "bomb":
        with zipfile.ZipFile(sound) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name) if "data/0" not in name else bytes(2**28))
    else:
        (entry,) = (entry for entry in zipfile.ZipFile(sound).infolist() if entry.filename.endswith("/data/0"))
        data[entry.header_offset + 200] ^= 1  # the headers are padded to 64 bytes
        path.write_bytes(data)
    return path


KINDS = ["truncated", "empty", "picture", "pickle", "code", "legacy code", "bomb", "flipped"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, checkpoint: Path, kind: str) -> None:
    path = hostile(kind, checkpoint, tmp_path)
    for name in (path, f"file://{path}"):
        with pytest.raises(MERError, match=f"{kind}.ckpt is damaged or not a checkpoint"):
            WholeCheckpointIO().load_checkpoint(name)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_the_trainer_executes_nothing(tmp_path: Path, checkpoint: Path, stage: str) -> None:
    path = hostile("code", checkpoint, tmp_path)
    data = SyntheticMER(SIZES, task="binary")
    trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)
    with pytest.raises(MERError, match=r"code.ckpt is damaged or not a checkpoint"):
        getattr(trainer, stage)(MERModule(MeanNet(data.spec, data.task)), datamodule=data, ckpt_path=path)
    assert not (tmp_path / "trace").exists()


def test_the_command_line_names_a_damaged_checkpoint(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.chdir(tmp_path)
    for kind in ("code", "flipped"):
        path = hostile(kind, checkpoint, tmp_path)
        with pytest.raises(SystemExit) as stopped:
            main([*FIT, f"--ckpt_path={path}"])
        assert stopped.value.code == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if "error:" in line)
        assert f"{path} is damaged or not a checkpoint" in line
    assert not (tmp_path / "trace").exists()
    assert not (tmp_path / "runs").exists()


def test_any_flipped_bit_is_found_or_changes_nothing(tmp_path: Path, checkpoint: Path) -> None:
    sound, path = checkpoint.read_bytes(), tmp_path / "flipped.ckpt"
    whole = torch.load(checkpoint, weights_only=True)
    places = np.random.default_rng(0).integers(0, 8 * len(sound), 300)
    refused = 0
    for place in places.tolist():
        damaged = bytearray(sound)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            assert same(WholeCheckpointIO().load_checkpoint(path), whole)
        except MERError:
            refused += 1
    assert refused > 150  # the others hit the padding between the parts of the file


def test_the_part_of_a_killed_process_is_cleared_away(tmp_path: Path, checkpoint: Path) -> None:
    shutil.copy(checkpoint, tmp_path / ".4711.last.ckpt")
    WholeCheckpointIO().save_checkpoint({"a": 1}, tmp_path / "last.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_is_written_beside_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"a": 1}, path)
    seen = []
    replace = Path.replace

    def noting(part: Path, target: Path) -> Path:
        seen.append((part.parent, torch.load(target, weights_only=True), torch.load(part, weights_only=True)))
        return replace(part, target)

    monkeypatch.setattr(Path, "replace", noting)
    WholeCheckpointIO().save_checkpoint({"a": 2}, path)
    assert seen == [(tmp_path, {"a": 1}, {"a": 2})]
