"""Runs commands one after the other; what an earlier call has finished is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mer_zoo.cli.reproduce.commands import Command
from mer_zoo.cli.sweeps.jobs import LAUNCH
from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.foreign import read_json
from mer_zoo.runs.files import write_json
from mer_zoo.runs.folder import CHECKPOINTS

__all__ = ["Runner", "say"]

RECORD = "commands.json"  # of a run's folder: the commands that came to their end there
LARGEST = 2**20  # bytes of it
STOPPED = (130, 143)  # exit codes of what was told to stop

Start = Callable[[Sequence[str], Mapping[str, str]], int]


def say(line: str) -> None:
    """Print a line at once, so that it stands before what the next process prints.

    Args:
        line: The line.

    Example:
        >>> say("done")
        done
    """
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Runner:
    """Runs commands, each in a process of its own.

    Args:
        say: Takes a line of what is going on.
        environment: Variables that the processes have besides those of this one.
        start: Runs ``mer-zoo`` with some arguments and these variables to its end, and gives the exit code.

    Attributes:
        failed: Commands that ended with another exit code than 0, by their folders.
    """

    def __init__(
        self, say: Callable[[str], None], environment: Mapping[str, str] | None = None, start: Start | None = None
    ) -> None:
        self.say, self.start = say, start or self._in_a_process
        self.environment = environment or {}
        self.process: subprocess.Popen[bytes] | None = None
        self.is_stopped = False
        self.failed: dict[Path, Command] = {}
        self.left: set[Path] = set()  # folders that wait in vain, for one that failed or for one another

    def run(self, commands: Iterable[Command]) -> None:
        """Run what has not come to its end before; what needs a run that failed is left out.

        Args:
            commands: The commands.

        Raises:
            MERError: If a folder was trained by another command.
            SystemExit: If a command was told to stop, with its exit code.
        """
        for command in commands:
            if self.is_stopped:
                raise SystemExit(STOPPED[0])
            if self._is_waiting(command):
                self.left.add(command.folder)
            else:
                self._run(command)

    def stop(self) -> None:
        """End what is running, and begin nothing more; another thread may be waiting for it."""
        self.is_stopped = True
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def _in_a_process(self, args: Sequence[str], environment: Mapping[str, str]) -> int:
        # When this process ends, for whatever reason, the pipe breaks; the other then ends, with all that it started.
        command, variables = [*LAUNCH, *args], {**os.environ, **environment}
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=variables, start_new_session=True) as self.process:  # noqa: S603
            return self.process.wait()

    def _is_waiting(self, command: Command) -> bool:
        """Whether what a command needs has failed."""
        named = [f"{word}/" for word in command.args]
        missing = {*self.failed, *self.left}
        return any(folder == command.folder or f"{folder}/" in word for folder in missing for word in named)

    def _run(self, command: Command) -> None:
        if _is_done(command):
            self.say(f"kept: {command}")
            return
        args = [*command.args]
        if command.kind == "fit" and (command.folder / CHECKPOINTS).is_dir():
            args.append("--ckpt_path=last")  # it was cut off
        self.say(f"$ {Command(command.kind, tuple(args), command.folder)}")
        code = self.start(args, self.environment)
        if code < 0 or code in STOPPED:
            self.say("stopped; the same command goes on")
            raise SystemExit(128 - code if code < 0 else code)
        if code:
            self.failed[command.folder] = command
        elif command.kind != "split-ood":
            write_json(command.folder / RECORD, {"ended": [*_ended(command.folder), list(command.args)]})


def _is_done(command: Command) -> bool:
    if command.kind == "split-ood":
        return command.folder.is_dir()
    ended = _ended(command.folder)
    if list(command.args) in ended:
        return True
    earlier = next((args for args in ended if args[0] == "fit"), None)
    if command.kind == "fit" and earlier is not None:
        other = next((word for word in earlier if word not in command.args), "fewer options")
        raise MERError(
            f"{command.folder} was trained by another command (with {other}); give another --out, or take it away"
        )
    return False


def _ended(folder: Path) -> list[Any]:
    """The commands that came to their end in a folder."""
    path = folder / RECORD
    if not path.is_file():
        return []
    remedy = "take it away, and the run is trained again"
    ended = Fields(read_json(path, LARGEST), str(path), remedy).content.get("ended")
    if not isinstance(ended, list) or not all(isinstance(args, list) and args for args in ended):
        raise MERError(f"{path} has no list of commands as ended; {remedy}")
    return ended
