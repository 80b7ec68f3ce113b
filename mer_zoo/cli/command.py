"""The command ``mer-zoo``: fit, validate, test and predict, and the tools around them.

What a command needs is imported when it is called, so that help and lists come at once.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TextIO

from mer_zoo.cli.errors import exit_code, explain, explain_place, explain_service, is_mistake, stopped_by
from mer_zoo.cli.loading import imports_kept
from mer_zoo.cli.own_modules import OwnModules
from mer_zoo.errors import MERError
from mer_zoo.text import shown

__all__ = ["COMMANDS", "main"]


class Command(NamedTuple):
    """A command and where it is done.

    Attributes:
        what: What it does, in a line of the help.
        module: The module of the package whose ``main`` is called with what stands behind the command; None for what
            Lightning's command line does.
    """

    what: str
    module: str | None = None


GROUPS = {
    "Train a model and use it": {
        "fit": Command("train; the run's folder keeps configuration, curves and checkpoints"),
        "validate": Command("metrics of a checkpoint on the validation split"),
        "test": Command("metrics of a checkpoint under every test condition"),
        "seeds": Command("train and test under several seeds, and report their means", "cli.seeds"),
        "predict": Command("scores of a checkpoint for each sample, as a CSV file"),
        "adapt": Command("adapt a checkpoint to the unlabelled training split of other data", "cli.adapt"),
        "refit": Command("fit the last layer of a checkpoint again, to groups of equal size", "cli.refit"),
        "sweep": Command("search hyper-parameters by a sweep file, offline with Optuna", "cli.sweeps.command"),
    },
    "Data": {
        "extract": Command("make features of recordings: a folder of clips, or a table of them", "cli.extract"),
        "synthesise": Command("make recordings whose causal model is known", "clips.synthesise"),
        "validate-data": Command("every fault of a corpus, and what makes figures doubtful", "cli.validate_data"),
        "describe": Command("statistics of a corpus as papers print them, tables and pictures", "cli.describe"),
        "convert": Command("convert a corpus to a memory-mapped store", "data.convert"),
        "words": Command("words that go along with the label, to keep or to debias by", "cli.words"),
        "audit": Command("is this number possible? leaks in a corpus and in runs on it", "cli.audit"),
        "split": Command("new splits of a corpus that share no speaker or other group", "data.ood.by_group"),
        "split-ood": Command("new splits of a corpus, the test split out of distribution", "data.ood.resplit"),
    },
    "What there is": {
        "list": Command("names of networks, wrappers, corpora, metrics and configurations", "cli.catalogue"),
        "info": Command("paper, options, size and published figures of one of them", "cli.info"),
    },
    "Results": {
        "report": Command("compare finished runs in one table and one picture", "reports.report"),
        "demo": Command("a page on this machine that answers to recordings and sentences", "cli.demo"),
        "explain": Command("what the answer to a sample comes of: modalities, effects, words", "cli.explain"),
        "embeddings": Command("joint representations of tests in two dimensions, with numbers", "explain.embeddings"),
        "reproduce": Command(
            "train and test a row of a paper's table, its figures beside ours", "cli.reproduce.command"
        ),
        "export": Command("weights of a checkpoint with their configuration, for predictions", "sharing.export"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def _let_all_be_printed(*streams: TextIO) -> None:
    """A terminal of fewer characters, as of Latin-1, shows a mark for others; to fail there would cost a whole run."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; the exit code is 0 only where all that was asked for has been done.

    A mistake of the user's ends with one sentence and exit code 2, training that fails with 1, what a signal cut off
    with 128 and the number of the signal.

    Args:
        args: Command line without the program name; None takes it from the process.

    Example:
        >>> main(["convert", "nowhere.pkl", "store"])
        Traceback (most recent call last):
        SystemExit: 2
    """
    given = list(sys.argv[1:] if args is None else args)
    if args is None:
        sys.meta_path.append(OwnModules(Path.cwd()))
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:  # closed by who called; what is printed there is not wanted
                setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # for the whole process
        _let_all_be_printed(sys.stdout, sys.stderr)
    # Lightning's, on which no one can act: its own use of torch 2.9; that test and predict write no checkpoint; that
    # every process has already measured the whole split; that what is logged by epochs is not logged by steps.
    for message in (
        ".*LeafSpec.*",
        "It is recommended to use `self.log",
        "Checkpoint directory .* exists",
        "The number of training batches .* is smaller than the logging interval",
    ):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_of_this_run)
    try:
        code = _run(given, by_process=args is None)
    except (MERError, ValueError, TypeError) as error:
        # jsonargparse wraps what a constructor raises; anything that is not a user's mistake keeps its traceback.
        if not is_mistake(error):
            raise
        sys.stderr.write(f"mer-zoo: error: {shown(explain(str(error), error))}\n")
        sys.exit(exit_code(error))
    except OSError as error:
        told = explain_place(error)
        if told is None:
            raise
        sys.stderr.write(f"mer-zoo: error: {shown(told)}\n")
        sys.exit(exit_code(error))
    except Exception as error:
        told = explain_service(error)
        if told is None:
            raise
        sys.stderr.write(f"mer-zoo: error: {shown(told)}\n")
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as ended:
        kind = stopped_by(ended)
        if kind is None:
            raise
        further = "; --ckpt_path last goes on from its last checkpoint" if given[0] == "fit" else ""
        sys.stderr.write(f"mer-zoo: {given[0]} was stopped by {kind.name} before its end{further}\n")
        sys.exit(128 + kind)
    if code is not None:
        sys.exit(code)


def _run(given: list[str], by_process: bool) -> int | None:
    """Do what the first word asks for; the exit code, None where Lightning's command line has come to its end."""
    word = given[0] if given else None
    if word in (None, "-h", "--help"):
        (sys.stderr if word is None else sys.stdout).write(_screen())
        return 2 if word is None else 0
    if word == "--version":
        sys.stdout.write(f"mer-zoo {version('mer-zoo')}\n")
        return 0
    command = COMMANDS.get(str(word))
    if command is not None and command.module is not None:
        with imports_kept(by_process):
            module = import_module(f"mer_zoo.{command.module}")
        return module.main(given[1:]) or 0
    if word == "predict" and any(other.partition("=")[0] == "--clips" for other in given):
        from mer_zoo.cli.clips import predict_clips

        return predict_clips(given[1:])
    if command is None and not str(word).startswith("-"):
        close = get_close_matches(str(word), COMMANDS, 1)
        guess = f", did you mean {close[0]}" if close else ""
        raise MERError(f"there is no command {word!r}{guess}; choose from {', '.join(COMMANDS)}")
    with imports_kept(by_process):
        from mer_zoo.cli.parser import run

    # With arguments given, Lightning warns about those of the process; None makes it read them itself.
    run(None if by_process else given)
    return None


def _is_of_this_run(record: logging.LogRecord) -> bool:
    """Whether Lightning says something of this run, and not of other products or of a TPU that is not there."""
    return not any(words in str(record.msg) for words in ("try installing [lit", "TPU available: False"))


def _screen() -> str:
    """What ``mer-zoo --help`` says: every command, on one screen."""
    lines = [
        "usage: mer-zoo COMMAND [OPTIONS]",
        "",
        "Multimodal emotion recognition: networks, and wrappers that debias them.",
    ]
    for title, group in GROUPS.items():
        lines += ["", title, *(f"  {name:<15}{command.what}" for name, command in group.items())]
    lines += [
        "",
        "mer-zoo COMMAND --help tells the options of a command, mer-zoo --version the version.",
        "To begin with, on data that is made up: mer-zoo fit --config configs/quickstart.yaml",
    ]
    return "\n".join(lines) + "\n"
