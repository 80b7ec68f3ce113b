"""What a checkpoint names: a resumed run keeps its best epoch, and no file of anybody else's is touched."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from toys import MeanNet

from mer_zoo.callbacks import RunRecord
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.module import MERModule
from mer_zoo.training.checkpoint_io import WholeCheckpointIO
from mer_zoo.training.resume import LastCheckpoint

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory")
BEST = "ModelCheckpoint{'monitor': 'val/loss', 'mode': 'min', 'every_n_train_steps': 0, 'every_n_epochs': 1, "
BEST += "'train_time_interval': None}"
LAST = BEST.replace("ModelCheckpoint", "LastCheckpoint").replace("'val/loss'", "None")


def fit(folder: Path, epochs: int, resumed: Path | None = None, rising: bool = False, keep: int = 1) -> Trainer:
    """Train as the command line does; the loss falls from epoch to epoch, or rises, so that the first is the best."""
    seed_everything(0, verbose=False)
    data = SyntheticMER(SyntheticConfig(train=16, valid=8, test=4), batch_size=8)
    name = "best" if keep == 1 else "best-{epoch}"
    best = ModelCheckpoint(monitor="val/loss", filename=name, save_top_k=keep, enable_version_counter=False)
    last = LastCheckpoint(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=CSVLogger(folder.parent, name=folder.name, version=""),
        callbacks=[best, last, RunRecord(pictures=False)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    optimizer = partial(torch.optim.SGD, lr=0.1, maximize=rising)
    trainer.fit(MERModule(MeanNet(data.spec, data.task), optimizer=optimizer), data, ckpt_path=resumed)
    return trainer


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which the second epoch is the best."""
    folder = tmp_path_factory.mktemp("two") / "run"
    fit(folder, 2)
    return folder


@pytest.fixture(scope="module")
def first_is_best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first") / "run"
    fit(folder, 2, rising=True)
    return folder


def losses(run: Path) -> list[float]:
    with (run / "metrics.csv").open(newline="") as file:
        return [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]


def kept_score(checkpoint: Path) -> float:
    state = torch.load(checkpoint, weights_only=True)["callbacks"][BEST]
    return float(state["best_model_score"])


def said(warned: pytest.WarningsRecorder) -> str:
    return "\n".join(str(warning.message) for warning in warned)


def test_the_best_epoch_before_goes_along_to_another_folder(
    tmp_path: Path, first_is_best: Path, recwarn: pytest.WarningsRecorder
) -> None:
    before = (first_is_best / "checkpoints" / "best.ckpt").read_bytes()
    trainer = fit(tmp_path / "run", 4, first_is_best / "checkpoints" / "last.ckpt", rising=True)
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert kept_score(best) == pytest.approx(min(losses(tmp_path / "run")))
    assert best.read_bytes() == before == (first_is_best / "checkpoints" / "best.ckpt").read_bytes()
    assert "best" not in said(recwarn)
    assert isinstance(trainer.checkpoint_callback, ModelCheckpoint)
    assert trainer.checkpoint_callback.best_model_path == str(best)


def test_a_better_epoch_replaces_the_copy_and_not_the_old_file(tmp_path: Path, two_epochs: Path) -> None:
    before = {path.name: path.read_bytes() for path in (two_epochs / "checkpoints").iterdir()}
    fit(tmp_path / "run", 4, two_epochs / "checkpoints" / "last.ckpt")
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert kept_score(best) == pytest.approx(min(losses(tmp_path / "run")))
    assert {path.name: path.read_bytes() for path in (two_epochs / "checkpoints").iterdir()} == before


def test_a_run_that_was_moved_goes_on_with_its_best_epoch(tmp_path: Path, first_is_best: Path) -> None:
    shutil.copytree(first_is_best, tmp_path / "moved")
    fit(tmp_path / "moved", 4, tmp_path / "moved" / "checkpoints" / "last.ckpt", rising=True)
    best = tmp_path / "moved" / "checkpoints" / "best.ckpt"
    assert kept_score(best) == pytest.approx(min(losses(tmp_path / "moved")))


@pytest.mark.parametrize("beside", ["nothing", "another run", "damaged", "a folder"])
def test_a_best_epoch_that_is_not_at_hand_is_told(
    tmp_path: Path, first_is_best: Path, two_epochs: Path, beside: str, recwarn: pytest.WarningsRecorder
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    shutil.copy(first_is_best / "checkpoints" / "last.ckpt", away)
    if beside == "another run":
        shutil.copy(two_epochs / "checkpoints" / "best.ckpt", away)
    elif beside == "damaged":
        (away / "best.ckpt").write_bytes((first_is_best / "checkpoints" / "best.ckpt").read_bytes()[:-100])
    elif beside == "a folder":
        (away / "best.ckpt").mkdir()
    trainer = fit(tmp_path / "run", 4, away / "last.ckpt", rising=True)
    module = trainer.lightning_module
    assert isinstance(module, MERModule)
    (lost,) = module.stretches.not_at_hand
    every = losses(tmp_path / "run")
    assert lost.score == pytest.approx(min(every))
    assert kept_score(tmp_path / "run" / "checkpoints" / "best.ckpt") == pytest.approx(min(every[2:]))
    assert f"the best epoch before, val/loss {lost.score:.4g}, is not at hand: {away}" in said(recwarn)


def test_several_best_epochs_go_along(tmp_path: Path) -> None:
    fit(tmp_path / "old", 3, rising=True, keep=2)
    old = {path.name for path in (tmp_path / "old" / "checkpoints").iterdir()}
    fit(tmp_path / "run", 5, tmp_path / "old" / "checkpoints" / "last.ckpt", rising=True, keep=2)
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == old
    fit(tmp_path / "less", 3, keep=2)
    fit(tmp_path / "more", 5, tmp_path / "less" / "checkpoints" / "last.ckpt", keep=2)
    kept = {path.name for path in (tmp_path / "more" / "checkpoints").iterdir()}
    assert kept == {"best-epoch=3.ckpt", "best-epoch=4.ckpt", "last.ckpt"}


def _absolute(victim: Path, place: Path) -> str:
    return str(victim)


def _dots(victim: Path, place: Path) -> str:
    return f"{place}/{os.path.relpath(victim, place)}"


def _link(victim: Path, place: Path) -> str:
    (place / "epoch.ckpt").symlink_to(victim)
    return str(place / "epoch.ckpt")


def _link_between(victim: Path, place: Path) -> str:
    (place / "inner").symlink_to(victim.parent)
    return str(place / "inner" / victim.name)


def _beside(victim: Path, place: Path) -> str:
    if victim.is_dir():
        shutil.copytree(victim, place / "own.ckpt")
    else:
        shutil.copy(victim, place / "own.ckpt")
    return str(place / "own.ckpt")


NAMES: dict[str, Callable[[Path, Path], str]] = {
    "absolute": _absolute,
    "local": lambda victim, _: f"local://{victim}",
    "file": lambda victim, _: f"file://{victim}",
    "memory": lambda victim, _: f"memory://{victim}",
    "simplecache": lambda victim, _: f"simplecache::file://{victim}",
    "dots": _dots,
    "link": _link,
    "link between": _link_between,
    "beside": _beside,
}


def _all_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize(
    ("way", "named"), [*((way, "both") for way in NAMES), ("absolute", "best"), ("absolute", "last"), ("local", "last")]
)
@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "elsewhere"])
def test_nothing_that_a_foreign_checkpoint_names_is_deleted(
    tmp_path: Path,
    two_epochs: Path,
    way: str,
    kind: str,
    named: str,
    in_place: bool,
    recwarn: pytest.WarningsRecorder,
) -> None:
    place = tmp_path / "foreign" / "checkpoints"
    place.mkdir(parents=True)
    victim = tmp_path / "mine" / "thesis.ckpt"
    victim.parent.mkdir()
    shutil.copytree(two_epochs, victim) if kind == "folder" else shutil.copy(
        two_epochs / "checkpoints" / "best.ckpt", victim
    )
    name = NAMES[way](victim, place)
    content = torch.load(two_epochs / "checkpoints" / "last.ckpt", weights_only=True)
    # As in the run's own folder, wherever that is, so that Lightning believes the state.
    goal = place if in_place else tmp_path / "run" / "checkpoints"
    for key in [BEST] * (named != "last") + [LAST] * (named != "best"):
        state = content["callbacks"][key]
        state.update(
            dirpath=str(goal), best_model_path=name, kth_best_model_path=name, last_model_path=name, kth_value=9.0
        )
        state.update(best_k_models={name: torch.tensor(9.0)}, best_model_score=torch.tensor(9.0))
    content["mer_zoo_curve"] = [{**row, "val/loss": 9.0} for row in content["mer_zoo_curve"]]  # of another run
    torch.save(content, place / "last.ckpt")
    before = {**_all_below(victim.parent), **{k: v for k, v in _all_below(place).items() if "last.ckpt" not in k}}
    run = place.parent if in_place else tmp_path / "run"
    fit(run, 4, place / "last.ckpt")
    assert {name: Path(name).read_bytes() for name in before} == before
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert "which is no file of its run" in said(recwarn)


def test_a_test_takes_no_names_from_a_checkpoint(tmp_path: Path, two_epochs: Path) -> None:
    last = two_epochs / "checkpoints" / "last.ckpt"
    data = SyntheticMER(SyntheticConfig(train=16, valid=8, test=4), batch_size=8)
    best = ModelCheckpoint(two_epochs / "checkpoints", monitor="val/loss", filename="best")
    options: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = Trainer(accelerator="cpu", callbacks=[best], default_root_dir=tmp_path, **options)
    trainer.validate(MERModule(MeanNet(data.spec, data.task)), data, ckpt_path=last, verbose=False)
    assert (best.best_model_path, best.best_k_models) == ("", {})


def test_a_folder_is_no_checkpoint_to_remove(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("folder", "file", "link", "nowhere"):
        WholeCheckpointIO().remove_checkpoint(tmp_path / name)
    assert {path.name for path in tmp_path.iterdir()} <= {"folder", "link"}


def kept_aside(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "checkpoints").glob("*.old*")}


@pytest.mark.parametrize("before", [0, 2])
def test_a_best_checkpoint_that_is_not_of_the_run_is_put_aside_and_not_overwritten(
    tmp_path: Path, first_is_best: Path, two_epochs: Path, before: int, recwarn: pytest.WarningsRecorder
) -> None:
    run = tmp_path / "run"
    shutil.copytree(first_is_best, run)
    best = run / "checkpoints" / "best.ckpt"
    shutil.copy(two_epochs / "checkpoints" / "best.ckpt", best)
    theirs = best.read_bytes()
    earlier = [f"best.ckpt.old{f'.{number}' if number else ''}" for number in range(before)]
    for name in earlier:
        (best.parent / name).write_text(name)
    fit(run, 4, run / "checkpoints" / "last.ckpt", rising=True)
    aside = kept_aside(run)
    name = "best.ckpt.old" + (f".{before}" if before else "")
    assert aside.pop(name) == theirs
    assert aside == {name: name.encode() for name in earlier}
    assert kept_score(best) == pytest.approx(min(losses(run)[2:]))
    assert f"{best} does not belong to the state that training goes on from; it is put aside as {name}" in said(recwarn)
    assert "nothing is done with that file" not in said(recwarn)


@pytest.mark.parametrize("what", ["damaged", "a folder", "a link"])
def test_other_things_under_the_name_of_the_best_are_put_aside(
    tmp_path: Path, first_is_best: Path, what: str, recwarn: pytest.WarningsRecorder
) -> None:
    run = tmp_path / "run"
    shutil.copytree(first_is_best, run)
    best = run / "checkpoints" / "best.ckpt"
    if what == "damaged":
        best.write_bytes(best.read_bytes()[:-100])
    else:
        best.unlink()
        (tmp_path / "mine").mkdir()
        if what == "a link":
            best.symlink_to(tmp_path / "mine")
        else:
            (tmp_path / "mine").rename(best)
    fit(run, 4, run / "checkpoints" / "last.ckpt", rising=True)
    assert kept_score(best) == pytest.approx(min(losses(run)[2:]))
    assert os.path.lexists(best.with_name("best.ckpt.old"))
    assert "it is put aside as best.ckpt.old" in said(recwarn)


def test_a_checkpoint_from_a_folder_within_the_run_overwrites_none_of_its_own(
    tmp_path: Path, first_is_best: Path, recwarn: pytest.WarningsRecorder
) -> None:
    run = tmp_path / "run"
    shutil.copytree(first_is_best, run)
    held = {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}
    shutil.copytree(run / "checkpoints", run / "backup")
    fit(run, 4, run / "backup" / "last.ckpt", rising=True)
    assert kept_aside(run) == {f"{name}.old": content for name, content in held.items()}
    assert kept_score(run / "checkpoints" / "best.ckpt") == pytest.approx(min(losses(run)))
    assert said(recwarn).count("is put aside as") == 2


def test_a_last_checkpoint_of_epochs_that_are_trained_again_is_put_aside(
    tmp_path: Path, first_is_best: Path, recwarn: pytest.WarningsRecorder
) -> None:
    run = tmp_path / "run"
    shutil.copytree(first_is_best, run)
    last = (run / "checkpoints" / "last.ckpt").read_bytes()
    fit(run, 2, run / "checkpoints" / "best.ckpt", rising=True)
    assert kept_aside(run) == {"last.ckpt.old": last}
    assert "it is put aside as last.ckpt.old" in said(recwarn)


def test_checkpoints_of_the_run_are_not_put_aside(tmp_path: Path, two_epochs: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(two_epochs, run)
    (run / "checkpoints" / "mine.ckpt").write_text("a copy of the user's")
    fit(run, 4, run / "checkpoints" / "last.ckpt")
    assert not kept_aside(run)
    assert (run / "checkpoints" / "mine.ckpt").read_text() == "a copy of the user's"
