"""A command of a sweep or a reproduction as a process of its own, which ends when that does, even by kill -9."""

from __future__ import annotations

import os
import signal
import sys
from threading import Thread

__all__: list[str] = []


def _end_with_the_sweep() -> None:
    """Wait until the pipe to the sweep breaks, then kill all processes of this trial, those of other GPUs too."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    Thread(target=_end_with_the_sweep, daemon=True).start()
    from mer_zoo.cli import main  # takes seconds, in which the sweep may end

    main()
