"""What a command makes of a trained run: another run, which the others test, report and export like any."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning

from mer_zoo.cli.closing import word
from mer_zoo.cli.opening import Opened, configured
from mer_zoo.errors import MERError
from mer_zoo.model import Wrapper
from mer_zoo.reports.tables import Table, open_console
from mer_zoo.runs.earlier import check_no_run, clear_run, lock_run
from mer_zoo.runs.files import whole_file
from mer_zoo.runs.folder import CHECKPOINTS
from mer_zoo.scores import Scores, measure
from mer_zoo.sharing.card import record_of
from mer_zoo.task import Task
from mer_zoo.text import shown
from mer_zoo.training.checkpoint import read_checkpoint
from mer_zoo.training.checkpoint_io import WholeCheckpointIO
from mer_zoo.training.record import RECORD

__all__ = ["check_options", "check_out", "metrics_row", "parser_of", "show", "write_derived"]


def parser_of(command: str, out: str, description: str, usage: str) -> argparse.ArgumentParser:
    """A parser of the options that commands have in common which make a run of a run.

    Args:
        command: The word behind mer-zoo.
        out: What ``--out`` is the folder of.
        description: What the command does.
        usage: Its line.

    Example:
        >>> parser = parser_of("refit", "folder of the new run", "Fit again.", "mer-zoo refit RUN --out FOLDER")
        >>> parser.parse_args(["runs/a", "--out", "runs/b"]).overwrite
        False
    """
    parser = argparse.ArgumentParser(
        f"mer-zoo {command}",
        description=description,
        epilog="Options of the data, such as --data.path new.pkl, are taken as mer-zoo test takes them.",
        usage=usage,
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or a checkpoint in it")
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument("--overwrite", action="store_true", help="replace a run that lies in the folder")
    parser.add_argument(
        "--module", action="append", default=[], help="a module of yours that defines a part of the model"
    )
    return parser


def check_options(command: str, others: Sequence[str]) -> None:
    """Refuse options that are neither the command's nor the data's.

    Raises:
        MERError: Naming the first.

    Example:
        >>> check_options("adapt", ["--data.path=new.pkl", "--clips"])
        Traceback (most recent call last):
        mer_zoo.errors.MERError: adapt has no option --clips; mer-zoo adapt --help names all, and options of --data ...
    """
    odd = next((each for each in others if each.startswith("-") and not each.startswith("--data")), None)
    if odd is not None:
        raise MERError(
            f"{command} has no option {odd}; mer-zoo {command} --help names all, and options of --data are taken"
        )


def check_out(out: Path, run: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a run: the one that is begun with in any case.

    Raises:
        MERError: Naming it.
    """
    folder = run if run.is_dir() else run.parent
    if out.absolute().resolve() in (folder.absolute().resolve(), folder.absolute().resolve().parent):
        raise MERError(f"--out is {out}, where the run itself lies; give another folder")
    check_no_run(out, overwrite)


def write_derived(
    opened: Opened, out: Path, model: Wrapper, arguments: Mapping[str, Any], options: Sequence[str], overwrite: bool
) -> str:
    """Write a model around that of a run as a run of its own: its configuration, and its weights as the best ones.

    Args:
        opened: The run.
        out: The folder.
        model: A wrapper of the zoo around the run's model.
        arguments: The options that it was given.
        options: Options of the data, over those of the run.
        overwrite: Whether a run that is there is replaced.

    Returns:
        What is to be told: where it is, and the command that tests it.
    """
    given = read_checkpoint(opened.checkpoint, "give a .ckpt file that mer-zoo fit wrote")
    config = configured(opened.folder / "config.yaml", options, type(model).__name__, arguments)
    record = record_of(model, None, given.record.seed)
    about = None if record.about is None else replace(record.about, data=given.record.trained_on)
    content = {
        "epoch": given.epoch,
        "global_step": given.step,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
        RECORD: replace(record, about=about, scaler=given.record.scaler).plain(),
    }
    with lock_run(out):
        check_no_run(out, overwrite)
        clear_run(out)
        with whole_file(out / "config.yaml") as part:
            part.write_text(config, encoding="utf-8")
        path = out / CHECKPOINTS / "best.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        WholeCheckpointIO().save_checkpoint(content, path)
    return f"run: {shown(str(out))}\nnext: mer-zoo test --config {shown(word(out / 'config.yaml'))}\n"


def metrics_row(name: str, task: Task, scores: Scores, further: Mapping[str, float]) -> dict[str, str]:
    """Cells of a table: a name, the metrics of the task on scores, and others."""
    found = {**measure(task, scores), **further}
    return {"": name, **{key: f"{value:.3f}" for key, value in found.items()}}


def show(title: str, rows: Sequence[Mapping[str, str]], notes: Sequence[str] = ()) -> None:
    """Print rows that have the same columns."""
    Table(title, list(rows[0]), [list(row.values()) for row in rows], list(notes)).show(open_console())
