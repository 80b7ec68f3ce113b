"""Runs ``mer-zoo`` in forked processes, one after the other, and kills them at chosen points;
started by test_faults.py.

A process that is forked costs no import. Each line of the input is a request, each line of the output tells how its
process ended; several processes train together as that many machines do.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from torch import Tensor

from mer_zoo import cli
from mer_zoo.batch import Batch
from mer_zoo.module import MERModule
from mer_zoo.training.checkpoint_io import WholeCheckpointIO

LIMIT = 240  # seconds of a process


def die() -> None:
    """End as a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def strike_at(owner: Any, name: str, number: int, kind: int = signal.SIGKILL) -> None:
    """Get a signal, by which one dies or not, when a method is called for the ``number``-th time."""
    method, calls = getattr(owner, name), [0]

    def counting(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == number:
            os.kill(os.getpid(), kind)
        return method(*args, **kwargs)

    setattr(owner, name, counting)


def die_writing(number: int) -> None:
    """Die when half of the ``number``-th checkpoint is written."""
    write, calls = Path.write_bytes, [0]

    def half(path: Path, data: Any) -> int:
        if path.suffix != ".ckpt":
            return write(path, data)
        calls[0] += 1
        if calls[0] == number:
            with path.open("wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                os.fsync(file.fileno())
            die()
        return write(path, data)

    Path.write_bytes = half  # type: ignore[method-assign,assignment]


def spoil_batch(number: int) -> None:
    """Make the features of the ``number``-th training batch infinite, on the first process only."""
    step, calls = MERModule.training_step, [0]

    def spoilt(self: MERModule, batch: Batch, batch_idx: int) -> Tensor | None:
        calls[0] += 1
        if calls[0] == number and self.global_rank == 0:
            batch = batch.replace(audio=batch.audio.replace(x=batch.audio.x + float("inf")))
        return step(self, batch, batch_idx)

    MERModule.training_step = spoilt  # type: ignore[method-assign]


def run(request: dict[str, Any]) -> None:
    """In the child: prepare the fault, then be ``mer-zoo``."""
    os.chdir(request["folder"])
    log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ.update(request.get("environment", {}))
    kind, number = request.get("fault", "none"), request.get("number", 0)
    if kind == "writing":
        die_writing(number)
    elif kind == "renaming":
        strike_at(Path, "replace", number)
    elif kind == "size":
        save = WholeCheckpointIO.save_checkpoint

        def full(self: WholeCheckpointIO, checkpoint: Any, path: Any, storage_options: Any = None) -> None:
            if Path(path).exists():  # the first one fits
                resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
            save(self, checkpoint, path, storage_options)

        WholeCheckpointIO.save_checkpoint = full  # type: ignore[method-assign]
    elif kind == "spoil":
        spoil_batch(number)
    elif kind != "none" and int(os.environ.get("NODE_RANK", "0")) in request.get("ranks", (0, 1)):
        strike_at(MERModule, kind, number, request.get("kind", signal.SIGKILL))
    cli.main(request["args"])


def fork(request: dict[str, Any], environment: dict[str, str]) -> int:
    """Start ``mer-zoo`` in a process of its own; gives its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    signal.alarm(
        request.get("limit", LIMIT)
    )  # one of several that waits for another in vain would do so for half an hour
    try:
        os.environ.update(environment)
        run(request)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def free_port() -> str:
    """A port for the processes to meet at."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return str(opened.getsockname()[1])


def main() -> None:
    """Answer each request with the exit code of its first process, or those of all; negative for a signal."""
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
        nodes = [{**meeting, "NODE_RANK": str(node)} for node in range(request.get("processes", 1))]
        children = [fork(request, node if len(nodes) > 1 else {}) for node in nodes]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        answers.write(f"{json.dumps(codes) if request.get('all') else codes[0]}\n")
        answers.flush()


if __name__ == "__main__":
    main()
