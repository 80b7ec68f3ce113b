"""A sweep whose trials are a script of a few lines, so that what runs them can be tested in seconds.

As a script it is either such a trial or a whole sweep of them: ``sweep_toys.py trial ...``, ``sweep_toys.py sweep
...``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

SWEEP = """
program: mer-zoo
name: toy
method: bayes
metric: {name: val/loss, goal: minimize}
parameters:
  x: {distribution: uniform, min: 0.0, max: 1.0}
command: ["${env}", "${program}", fit, "${args}"]
"""
LAUNCH = [sys.executable, str(Path(__file__)), "trial"]


def loss(x: float, epoch: int) -> float:
    """What a toy measures: best at x = 0.3, and falling."""
    return (x - 0.3) ** 2 + 0.01 / epoch


def _trial() -> None:
    given = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[2:] if "=" in word)
    if "bad" in given:
        sys.exit(f"starting\nmer-zoo: error: bad is {given['bad']}; leave it out")
    folder = Path(given["trainer.logger.save_dir"]) / given["trainer.logger.name"]
    folder.mkdir()
    with (folder / "metrics.csv").open("w") as file:
        file.write("epoch,train/loss,val/loss\n")
        for epoch in range(1, int(os.environ.get("TOY_EPOCHS", "3")) + 1):
            file.write(f"{epoch},,{loss(float(given['x']), epoch)}\n{epoch},1.0,\n")
            file.flush()
            _strike()
            if epoch > int(os.environ.get("TOY_HANGS", "1000")) and not _hung_before():
                time.sleep(600)
            time.sleep(float(os.environ.get("TOY_SECONDS", "0.05")))


def _hung_before() -> bool:
    mark = os.environ.get("TOY_HUNG")
    hung = mark is not None and Path(mark).exists()
    if mark is not None:
        Path(mark).touch()
    return hung


def _strike() -> None:
    """Get the signal that is asked for, once where a file remembers it; SIGTERM and SIGINT end as training does."""
    number, *marks = os.environ.get("TOY_SIGNAL", "0").split(" ", 1)
    if number == "0" or any(Path(mark).exists() for mark in marks):
        return
    for mark in marks:
        Path(mark).touch()
    if int(number) in (signal.SIGTERM, signal.SIGINT):
        sys.exit(128 + int(number))
    os.kill(os.getpid(), int(number))


def _sweep() -> None:
    from mer_zoo.cli import main
    from mer_zoo.cli.sweeps import command, jobs, runner

    # The command line knows no option x, and the clock of the toys runs faster.
    setattr(command, "check_sweep", lambda _: 0)  # noqa: B010  # a plain assignment is refused by mypy
    jobs.LAUNCH, jobs.GRACE = LAUNCH, 1.0
    runner.POLL, runner.SIGN, runner.SILENT = 0.05, 0.3, float(os.environ.get("TOY_SILENT", "5"))
    main(["sweep", *sys.argv[2:]])


if __name__ == "__main__":
    {"trial": _trial, "sweep": _sweep}[sys.argv[1]]()
