"""Processes of ``mer-zoo`` without the seconds that an import takes: forked from the tests' own, which has done it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from mer_zoo import cli
from mer_zoo.cli.sweeps.jobs import LAUNCH


class Fork(subprocess.Popen[bytes]):
    """Starts ``mer-zoo`` as :class:`subprocess.Popen` does, with its pipes, session and environment, up to the exec.

    Args:
        command: What LAUNCH starts, and its arguments.
        env: The environment.
        **options: See :class:`subprocess.Popen`.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None, **options: Any) -> None:
        assert list(command[: len(LAUNCH)]) == LAUNCH
        be = partial(_be, list(command[len(LAUNCH) :]), dict(os.environ if env is None else env))
        super().__init__(command, preexec_fn=be, **options)


def _be(args: list[str], environment: dict[str, str]) -> None:
    """Be ``mer-zoo`` in the child, and end as it does."""
    code = 1
    try:
        _let_go()
        os.environ.clear()
        os.environ.update(environment)
        warnings.resetwarnings()
        torch.set_num_threads(1)  # others are not there after a fork
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        cli.main(args)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _let_go() -> None:
    """Hold none of the parent's files open, which waits for the end of a pipe; their numbers stay taken."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in sorted(int(path.name) for path in Path("/dev/fd").iterdir()):
        if number > 2:
            os.dup2(nothing, number)


def process_context() -> Any:
    """How to start a function in a process of its own; with a GPU, whose threads no fork survives, with an import."""
    return multiprocessing.get_context("spawn" if torch.cuda.is_available() else "fork")


def subprocesses() -> Any:
    """The module subprocess with such processes; with a GPU as it is."""
    return subprocess if torch.cuda.is_available() else SimpleNamespace(**{**vars(subprocess), "Popen": Fork})
