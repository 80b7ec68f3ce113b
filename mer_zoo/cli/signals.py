"""Commands that run others: a signal ends them in order, with one sentence."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from mer_zoo.cli.errors import chain

__all__ = ["stoppable"]


@contextmanager
def stoppable(told: str) -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does: what it has begun is cleared away first.

    Args:
        told: The sentence for a block that was stopped.

    Raises:
        SystemExit: With 128 and the number of the signal.

    Example:
        >>> with stoppable("the search was stopped"):
        ...     signal.raise_signal(signal.SIGTERM)
        Traceback (most recent call last):
        SystemExit: 143
    """
    # what nohup has the process ignore stays ignored
    kinds = [kind for kind in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(kind) is not signal.SIG_IGN]
    before = {kind: signal.signal(kind, _interrupt) for kind in kinds}
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        # Where the signal strikes a library as it clears away, another error comes of it: no lock is left to remove.
        stopped = next((each for each in chain(error) if isinstance(each, KeyboardInterrupt)), None)
        if stopped is None:
            raise
        sys.stderr.write(f"mer-zoo: {told}\n")
        sys.exit(128 + next((kind for kind in kinds if stopped.args == (kind,)), signal.SIGINT))
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _interrupt(kind: int, _: Any) -> NoReturn:
    raise KeyboardInterrupt(kind)
