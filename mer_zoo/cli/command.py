"""The command ``mer-zoo``: fit, validate, test and predict, and the data and report tools."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from lightning.fabric.utilities.exceptions import MisconfigurationException

from mer_zoo.cli.errors import exit_code, explain, explain_place, explain_trainer, is_mistake
from mer_zoo.cli.parser import MERCLI
from mer_zoo.cli.sweeps import main as sweep
from mer_zoo.data import convert, validate
from mer_zoo.data.ood import resplit
from mer_zoo.errors import MERError
from mer_zoo.reports import report
from mer_zoo.sharing import export

__all__ = ["TOOLS", "main"]

TOOLS: dict[str, tuple[Callable[[list[str]], int | None], str]] = {
    "convert": (convert.main, "convert a corpus to a memory-mapped store"),
    "split-ood": (resplit.main, "new splits of a corpus, the test split out of distribution"),
    "validate-data": (validate.main, "list every fault of a corpus"),
    "export": (export.main, "the weights of a checkpoint and their configuration, for predictions"),
    "sweep": (sweep, "search hyper-parameters by a sweep file, offline with Optuna"),
    "report": (report.main, "compare finished runs in one table and one picture"),
}
EPILOG = "Tools: " + "; ".join(f"mer-zoo {name}: {what}" for name, (_, what) in TOOLS.items())


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a user's mistake ends with one sentence and exit code 2, training that can't go on with 1.

    Args:
        args: Command line without the program name; None takes it from the process.

    Example:
        >>> main(["convert", "nowhere.pkl", "store"])
        Traceback (most recent call last):
        SystemExit: 2
    """
    given = list(sys.argv[1:] if args is None else args)
    if args is None:
        # For modules of one's own, as python -m has it; but last, so that no file lying there takes a package's place.
        sys.path.append(str(Path.cwd()))
    # Lightning's, on which no one can act: its own use of torch 2.9; that test and predict write no checkpoint; that
    # every process has already measured the whole split.
    for message in (
        ".*LeafSpec.*",
        "The dirpath has changed",
        "It is recommended to use `self.log",
        "Checkpoint directory .* exists",
    ):
        warnings.filterwarnings("ignore", message=message)
    try:
        if given and given[0] in TOOLS:
            sys.exit(TOOLS[given[0]][0](given[1:]))
        # With args given, Lightning warns about the arguments of the process; None makes it read them itself.
        MERCLI(None if args is None else given, EPILOG)
    except (MERError, ValueError, TypeError) as error:
        # jsonargparse wraps what a constructor raises; anything that is not a user's mistake keeps its traceback.
        if not is_mistake(error):
            raise
        sys.stderr.write(f"mer-zoo: error: {explain(str(error), error)}\n")
        sys.exit(exit_code(error))
    except MisconfigurationException as error:
        sys.stderr.write(f"mer-zoo: error: {explain_trainer(error)}\n")
        sys.exit(2)
    except OSError as error:
        told = explain_place(error)
        if told is None:
            raise
        sys.stderr.write(f"mer-zoo: error: {told}\n")
        sys.exit(exit_code(error))
