"""Kills training with kill -9 at random moments, resumes it, and compares its end with an unbroken run's, bit for bit.

The processes are forked from one that has done the imports, so that the moments fall into the training itself. Each
kill has a run of its own: it is begun, killed, and continued with ``--ckpt_path last``. Then kills that wait until a
checkpoint is being written, and a run that is killed again and again. The runs alternate between a plain network and
CIDer (two stages, missing views, tau, statistics), and between checkpoints at the ends of epochs and every few steps.

    python -m benchmarks.faults.training --kills 30 --writing 10 --chain 6 --seed 0
"""

from __future__ import annotations

import argparse
import mmap
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from mer_zoo import cli
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.training.checkpoint import check_file
from mer_zoo.training.checkpoint_io import WholeCheckpointIO

RUN = Path("runs/mer_zoo/version_0")
PHASES = ["before training", "in training", "in validation", "in checkpoint writing", "after the last epoch"]
SETTING, TRAINING, VALIDATING, WRITING, ENDING = range(len(PHASES))

COMMON = ["fit", "--data=SyntheticMER", "--data.task=binary", "--data.batch_size=16", "--data.scm.train=192"]
COMMON += ["--data.scm.valid=64", "--data.scm.test=8", "--trainer.accelerator=cpu", "--trainer.max_epochs=5"]
COMMON += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
LSTM = [*COMMON, "--model.backbone=LFLSTM", "--model.backbone.dim=4"]
CIDER = [*COMMON, "--model.backbone=CIDerNet", "--model.backbone.dim=8", "--model.backbone.heads=2"]
CIDER += ["--model.backbone.depth=1", "--model.wrappers+=MACI", "--model.wrappers+=MSSD"]
WHILE_WRITING = "while writing"
STEPS = "--last_checkpoint.every_n_train_steps=5"
CASES = {"LFLSTM": LSTM, "CIDer": CIDER, "LFLSTM, steps": [*LSTM, STEPS], "CIDer, steps": [*CIDER, STEPS]}


class Phase:
    """What the child is doing, in memory that the parent sees."""

    def __init__(self) -> None:
        self.shared = mmap.mmap(-1, 2)

    def __enter__(self) -> Phase:
        return self

    def __exit__(self, *_: object) -> None:
        self.shared.close()

    @property
    def now(self) -> int:
        """Place in ``PHASES``."""
        return self.shared[0]

    @now.setter
    def now(self, phase: int) -> None:
        self.shared[0] = phase

    @property
    def writes(self) -> int:
        """Checkpoints begun so far."""
        return self.shared[1]

    def follow(self) -> None:
        """In the child: note each change of phase."""
        self._before(MERModule, "on_train_start", TRAINING)
        self._before(MERModule, "on_validation_epoch_start", VALIDATING)
        self._before(MERModule, "training_step", TRAINING)
        self._before(MERModule, "teardown", ENDING)
        save = WholeCheckpointIO.save_checkpoint

        def noting(*args: Any, **kwargs: Any) -> None:
            before, self.now = self.now, WRITING
            self.shared[1] += 1
            save(*args, **kwargs)
            self.now = before

        WholeCheckpointIO.save_checkpoint = noting  # type: ignore[method-assign]

    def _before(self, owner: Any, name: str, phase: int) -> None:
        method = getattr(owner, name)

        def noting(*args: Any, **kwargs: Any) -> Any:
            self.now = phase
            return method(*args, **kwargs)

        setattr(owner, name, noting)


@dataclass
class Ended:
    """How a process ended."""

    code: int  # negative for a signal
    phase: int
    seconds: float


def start(folder: Path, args: list[str], phase: Phase) -> int:
    """Fork a process that trains; gives its id."""
    folder.mkdir(exist_ok=True)
    phase.shared[:] = bytes(2)
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.chdir(folder)
        log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        phase.follow()
        cli.main(args)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        os._exit(code)


def train(folder: Path, args: list[str], moment: Callable[[Phase, float], bool] | None = None) -> Ended:
    """Train in a process of its own, killed as soon as ``moment``, given the phase and the seconds so far, says so."""
    with Phase() as phase:
        began = time.perf_counter()
        child = start(folder, args, phase)
        while True:
            done, status = os.waitpid(child, os.WNOHANG if moment else 0)
            seconds = time.perf_counter() - began
            if done:
                return Ended(os.waitstatus_to_exitcode(status), phase.now, seconds)
            if moment is not None and moment(phase, seconds):
                os.kill(child, signal.SIGKILL)
                moment = None
            time.sleep(0.0005)


def at(seconds: float) -> Callable[[Phase, float], bool]:
    """A moment so many seconds after the start."""
    return lambda _, so_far: so_far >= seconds


def in_write(number: int, delay: float) -> Callable[[Phase, float], bool]:
    """A moment so many seconds into the writing of the ``number``-th checkpoint."""
    seen: list[float] = []

    def moment(phase: Phase, so_far: float) -> bool:
        if not seen and phase.writes >= number:
            seen.append(so_far)
        return bool(seen) and so_far - seen[0] >= delay

    return moment


def outcome(folder: Path) -> list[Any]:
    """All that training leaves and another run may depend on."""
    content = torch.load(folder / RUN / "checkpoints" / "last.ckpt", weights_only=True)
    curve = (folder / RUN / "metrics.csv").read_bytes()
    return [
        content["state_dict"],
        content["optimizer_states"],
        content["mer_zoo_training"],
        content["global_step"],
        curve,
    ]


def same(one: Any, other: Any) -> bool:
    """Whether two nests are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def place_of(folder: Path, ended: Ended) -> str:
    """Where the kill fell."""
    if ended.phase in (SETTING, TRAINING, VALIDATING) and not (folder / RUN / "checkpoints" / "last.ckpt").exists():
        return f"{PHASES[ended.phase]}, before the first checkpoint"
    return PHASES[ended.phase]


def faults(folder: Path, args: list[str], expected: list[Any]) -> str:
    """Continue a killed run, and say what is wrong with its end; nothing if all is well."""
    checkpoints = folder / RUN / "checkpoints"
    for path in checkpoints.glob("[!.]*"):
        try:
            check_file(path)
        except MERError as error:
            return str(error)
    ended = train(folder, [*args, "--ckpt_path=last"])
    if ended.code:
        return f"exit code {ended.code}: " + (folder / "log.txt").read_text()[-300:]
    rest = [path.name for path in checkpoints.iterdir() if path.name.startswith(".")]
    return f"left behind {rest}" if rest else "" if same(outcome(folder), expected) else "ended otherwise"


def report(console: Console, title: str, places: Counter[str], survived: Counter[str]) -> None:
    """Print how many kills fell where."""
    table = Table("where the kill fell", "injected", "survived", title=title)
    for place in sorted(places):
        table.add_row(place, str(places[place]), str(survived[place]))
    table.add_row("all", str(places.total()), str(survived.total()))
    console.print(table)


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=30, help="kills at moments drawn over the whole run")
    parser.add_argument("--writing", type=int, default=10, help="kills while a checkpoint is being written")
    parser.add_argument("--chain", type=int, default=6, help="kills of one run, one after the other")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run everything; the exit code is 1 if a kill was not survived."""
    options = parser().parse_args(args)
    console, draw = Console(), random.Random(options.seed)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        expected, duration = {}, {}
        for name, command in CASES.items():
            ended = train(root / name, command)
            if ended.code:
                raise SystemExit((root / name / "log.txt").read_text())
            expected[name], duration[name] = outcome(root / name), ended.seconds
            console.print(f"{name}: unbroken in {ended.seconds:.1f} s")
        names, lost = list(CASES), 0

        def inject(number: int, kind: str) -> tuple[str, bool]:
            name, ended, tries = names[number % len(names)], None, 0
            while ended is None or ended.code != -signal.SIGKILL:  # else the run was over before its moment came
                folder, tries = root / f"{kind} {number}.{tries}", tries + 1
                write = in_write(draw.randint(1, 8), draw.uniform(0, 0.02))
                ended = train(
                    folder, CASES[name], write if kind == WHILE_WRITING else at(draw.uniform(0, duration[name]))
                )
            fell = place_of(folder, ended)
            fault = faults(folder, CASES[name], expected[name])
            console.print(f"{kind} {number}, {name}: {fell}: {fault or 'survived'}")
            return fell, not fault

        for kind, count in (("random moment", options.kills), (WHILE_WRITING, options.writing)):
            places: Counter[str] = Counter()
            survived: Counter[str] = Counter()
            for number in range(count):
                fell, good = inject(number, kind)
                places[fell] += 1
                survived[fell] += good
            report(console, f"kill -9, {kind}", places, survived)
            lost += places.total() - survived.total()

        folder, name = root / "chain", names[-1]
        for _ in range(options.chain):
            train(folder, [*CASES[name], "--ckpt_path=last"], at(draw.uniform(0, duration[name])))
        fault = faults(folder, CASES[name], expected[name])
        console.print(f"one run killed {options.chain} times, {name}: {fault or 'survived'}")
    raise SystemExit(int(bool(lost or fault)))


if __name__ == "__main__":
    main()
