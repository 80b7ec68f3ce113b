"""``mer-zoo sweep``: a W&B sweep file run offline with Optuna."""

from __future__ import annotations

import argparse
import re
from importlib.util import find_spec
from pathlib import Path

from rich.text import Text

from mer_zoo.cli.signals import stoppable
from mer_zoo.cli.sweeps.config import Sweep, check_sweep, load_sweep
from mer_zoo.cli.sweeps.runner import Runner
from mer_zoo.cli.sweeps.study import open_study
from mer_zoo.cli.sweeps.summary import best_command, best_trial, trial_table
from mer_zoo.errors import MERError
from mer_zoo.reports.tables import Table, open_console
from mer_zoo.runs.files import whole_file

__all__ = ["main", "run_sweep"]


def run_sweep(
    sweep: Sweep,
    trials: int | None = None,
    jobs: int = 1,
    out: str | Path = "runs/sweeps",
    study: str | None = None,
    storage: str | None = None,
    seed: int = 0,
    trial_timeout: float | None = None,
) -> tuple[Table, str]:
    """Run a sweep, or go on with it, alone or beside other processes with the same storage.

    Args:
        sweep: The sweep.
        trials: How many trials the study is to have in all; None for the file's ``run_cap``.
        jobs: How many run at a time in this process.
        out: Folder of all studies; a trial's folder is ``out/study/trial_NUMBER``.
        study: Name of the study; None for the sweep's.
        storage: Journal file or storage URL; None for ``out/study/journal.log``.
        seed: Seed of the search; the training's seed is the configuration's.
        trial_timeout: Minutes that a trial may go without measuring its metric before it is ended as failed; None for
            any number.

    Returns:
        The table of trials, and the command that trains the best one anew; also written to ``trials.md`` in the study's
        folder.

    Raises:
        MERError: If something is wrong with options, storage, folders or the trials.
    """
    if find_spec("optuna") is None:
        raise MERError("mer-zoo sweep needs Optuna; install it with pip install 'mer-zoo[sweep]'")
    trials = sweep.run_cap if trials is None else trials
    name = study or sweep.name
    if trials is None:
        raise MERError("the number of trials is open; give --trials N, or run_cap in the sweep file")
    for option, number in {"trials": trials, "jobs": jobs}.items():
        if number < 1:
            raise MERError(f"--{option} is {number}; give at least 1")
    if trial_timeout is not None and not trial_timeout > 0:
        raise MERError(f"--trial-timeout is {trial_timeout:g}; give minutes, more than 0")
    if seed < 0:
        raise MERError(f"--seed is {seed}; give a number that is not negative")
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise MERError(
            f"the study's name {name!r} is no name of a folder; give --study NAME of letters, digits, - and _"
        )
    folder = Path(out).expanduser() / name
    place = storage or str(folder / "journal.log")
    training_seed = check_sweep(sweep)
    opened = open_study(sweep, place, name)
    timeout = None if trial_timeout is None else 60 * trial_timeout
    Runner(sweep, opened, trials, jobs, folder, seed, place, open_console(), timeout).run()
    best, command = best_trial(opened), best_command(opened)
    if best is None or command is None:
        raise MERError(f"no trial of {name} has run to its end; see the .log files in {folder}")
    table = trial_table(sweep, opened, training_seed)
    table.notes.append(f"The best run is {best.user_attrs['folder']}; the command below trains it anew.")
    with whole_file(folder / "trials.md") as part:
        part.write_text(f"{table.markdown()}\n\n```sh\n{command}\n```\n", encoding="utf-8")
    return table, command


def main(args: list[str]) -> None:
    """Run ``mer-zoo sweep``.

    Args:
        args: Command line after the word sweep.

    Raises:
        MERError: If something is wrong with the file, the options or the trials.
    """
    parser = argparse.ArgumentParser(
        prog="mer-zoo sweep",
        description="Search hyper-parameters offline. The same command goes on with a sweep that was stopped or "
        "killed, and further processes, on other machines too, join it.",
        epilog="Behind --, options of mer-zoo fit for all trials: mer-zoo sweep FILE -- --trainer.max_epochs=5",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, help="a sweep file of W&B whose command is mer-zoo fit")
    parser.add_argument("--trials", type=int, help="how many in all, those there are included (default: run_cap)")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time in this process (default: 1)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/sweeps"), help="folder of studies (default: runs/sweeps)"
    )
    parser.add_argument("--study", help="name of the study (default: the sweep's)")
    parser.add_argument("--storage", help="journal file or URL that processes share (default: OUT/STUDY/journal.log)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the search, not of the training (default: 0)")
    parser.add_argument(
        "--trial-timeout",
        type=float,
        metavar="MINUTES",
        help="end a trial that has not measured its metric for so long, as failed (default: never)",
    )
    own, extra = (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
    options = parser.parse_args(own)
    sweep = load_sweep(options.file, extra)
    with stoppable("the sweep was stopped; the same command goes on"):
        table, command = run_sweep(
            sweep,
            options.trials,
            options.jobs,
            options.out,
            options.study,
            options.storage,
            options.seed,
            options.trial_timeout,
        )
    console = open_console()
    table.show(console)
    console.print(Text(command), soft_wrap=True)  # one line, to be copied
