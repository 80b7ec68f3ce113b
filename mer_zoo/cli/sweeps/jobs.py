"""A running trial: its process, its folder, and what its metrics.csv says so far."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mer_zoo.cli.sweeps.config import folder_options
from mer_zoo.errors import MERError

__all__ = ["Job", "read_metric"]

LAUNCH = [sys.executable, "-m", "mer_zoo.cli.sweeps.trial"]
GRACE = 10.0  # seconds that a trial gets to end by itself


class Job:
    """Runs ``mer-zoo fit`` in a process group of its own.

    Args:
        arguments: Arguments of ``mer-zoo``.
        folder: The run's folder, which must be new; the output goes to a ``.log`` file beside it.

    Raises:
        MERError: If the folder is there already.
    """

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self.folder, self.log = folder, folder.with_name(f"{folder.name}.log")
        if folder.exists() or self.log.exists():
            raise MERError(f"{folder} is there already, from another study; give another --out or --study")
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = [*LAUNCH, *arguments, *folder_options(folder.parent, folder.name)]
        with self.log.open("xb") as log:
            self.process = subprocess.Popen(  # noqa: S603  # load_sweep lets nothing but mer-zoo fit through
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    @property
    def cut_off_by(self) -> str | None:
        """Name of the signal that ended the process before it was done; None where none did.

        One that is killed has a negative exit code; training that ends in order at a signal, and a shell between, have
        128 and its number.
        """
        code = self.process.poll()
        number = 0 if code is None else -code if code < 0 else code - 128
        return signal.Signals(number).name if number in set(signal.Signals) else None

    def values(self, metric: str) -> list[float]:
        """The metric after each validation so far."""
        return read_metric(self.folder / "metrics.csv", metric)

    def stop(self) -> None:
        """End the process and all that it started."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, kind)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)
        self.close()

    def close(self) -> None:
        """Release the pipe of a process that has ended."""
        if self.process.stdin is not None:
            self.process.stdin.close()

    def complaint(self) -> str:
        """What the process said last, its own error first."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("mer-zoo: error: ") for line in lines if line.startswith("mer-zoo: error: ")]
        return [f"exit code {self.process.returncode} without a word", *lines, *errors][-1]


def read_metric(path: Path, metric: str) -> list[float]:
    """A column of a metrics.csv that may be being written.

    Args:
        path: The file; one that is not there is empty.
        metric: Name of the column.

    Returns:
        The cells that are filled.

    Example:
        >>> read_metric(Path("nowhere.csv"), "val/loss")
        []
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return []
    # A line is whole only with its end: 0.51 may be the beginning of 0.5123.
    rows = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    return [float(row[metric]) for row in rows if row.get(metric)]
