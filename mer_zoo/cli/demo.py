"""``mer-zoo demo``: a page on this machine that answers to recordings and sentences."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mer_zoo.cli.hearing import add_hearing, hearing_of
from mer_zoo.clips.settings import LONGEST
from mer_zoo.demo.answer import LEVEL
from mer_zoo.demo.page import serve
from mer_zoo.demo.predictor import Predictor

__all__ = ["main"]

PORT = 7860


def main(args: list[str]) -> None:
    """Run ``mer-zoo demo`` until it is stopped.

    Args:
        args: Command line after the word demo.

    Raises:
        MERError: If the run can't be opened, or what makes the page is not installed.
    """
    options = _parser().parse_args(args)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # of the process that makes features: the page fetches nothing
    hearing = hearing_of(options)
    predictor = Predictor(options.run, options.module, options.longest, hearing, options.level, apart=True)
    try:
        serve(predictor, options.port, options.browser, lambda told: sys.stdout.write(f"{told}\n"))
    except KeyboardInterrupt:
        sys.stdout.write("the page is closed\n")  # which is how it is meant to end
    finally:
        predictor.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mer-zoo demo",
        description="Open a page on this machine: drop a recording or type a sentence, and see what a trained model"
        " answers, how sure it is, and what its answer comes of.",
        epilog="Nobody else can reach the page, nothing leaves the machine, and recordings are deleted when they are"
        " read. Ctrl+C ends it.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, or a checkpoint in it")
    parser.add_argument("--port", type=int, default=PORT, help=f"where the page is served; 0 for any (default: {PORT})")
    parser.add_argument("--no-browser", dest="browser", action="store_false", help="do not open a browser")
    parser.add_argument(
        "--level", type=float, default=LEVEL, help=f"share that intervals are to cover (default: {LEVEL:g})"
    )
    parser.add_argument("--longest", type=float, default=LONGEST, help=f"seconds of a recording (default: {LONGEST:g})")
    parser.add_argument(
        "--module", action="append", default=[], help="a module of yours that defines a part of the model"
    )
    add_hearing(parser)
    return parser
