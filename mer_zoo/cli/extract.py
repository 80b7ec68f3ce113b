"""``mer-zoo extract``: a corpus file of recordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mer_zoo.clips.extract import extract
from mer_zoo.clips.extractor import LONGEST, Settings
from mer_zoo.text import shown

__all__ = ["main"]

TOLD = 5  # faults
NAMES = "none, or name or folder of a pretrained encoder"


def main(args: list[str]) -> int:
    """Run ``mer-zoo extract``.

    Args:
        args: Command line after the word extract.

    Returns:
        The exit code: 0 where all clips are in the file, 3 where some are, 2 where none is.

    Raises:
        MERError: If the clips can't be listed.
    """
    options = _parser().parse_args(args)
    settings = Settings(
        options.text,
        options.audio,
        options.vision,
        options.longest,
        options.fps,
        options.layers,
        options.audio_rate,
        dict(options.revision),
    )
    result = extract(
        options.source, options.dest, settings, options.split_by, options.seed, options.processes, progress=True
    )
    for clip, fault in (result.failed + result.faulty)[:TOLD]:
        sys.stderr.write(f"{shown(clip.id)}: {shown(fault)}\n")
    listed = (
        "" if not result.failed + result.faulty else f"; all faults are in {shown(str(options.dest.stem))}.faults.csv"
    )
    sys.stdout.write(f"{result}{listed}\n")
    return result.exit_code


def _revision(text: str) -> tuple[str, str]:
    modality, _, revision = text.partition("=")
    if modality not in ("text", "audio", "vision") or not revision:
        raise argparse.ArgumentTypeError("it is written as text=main, audio=... or vision=...")
    return modality, revision


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mer-zoo extract",
        description="Make features of recordings: a corpus file that mer-zoo fit and predict take.",
        epilog="An extraction that was stopped goes on. The exit code is 0 where all clips are in the file, 3"
        " where some are, 2 where none is.",
        allow_abbrev=False,
    )
    parser.add_argument("source", type=Path, help="a folder of recordings, or a CSV file with a column path")
    parser.add_argument("dest", type=Path, help="the pickle to make, such as features.pkl")
    parser.add_argument("--text", default="hash", help=f"hash (no weights), {NAMES} (default: hash)")
    parser.add_argument("--audio", default="mel", help=f"mel (no weights), {NAMES} (default: mel)")
    parser.add_argument("--vision", default="frame", help=f"frame (no weights), {NAMES} (default: frame)")
    parser.add_argument("--fps", type=float, default=5.0, help="pictures a second (default: 5)")
    parser.add_argument(
        "--layers", choices=["last", "last4", "all"], default="last", help="of pretrained encoders (default: last)"
    )
    parser.add_argument(
        "--audio-rate", type=float, default=10.0, help="steps a second of pretrained encoders of sound (default: 10)"
    )
    parser.add_argument(
        "--revision",
        type=_revision,
        action="append",
        default=[],
        metavar="MODALITY=REVISION",
        help="branch, tag or commit of a pretrained encoder on the Hub",
    )
    parser.add_argument(
        "--longest", type=float, default=LONGEST, help=f"seconds of a clip that are read (default: {LONGEST:g})"
    )
    parser.add_argument(
        "--split-by", choices=["video", "speaker", "clip"], help="make train, valid and test, these kept together"
    )
    parser.add_argument("--seed", type=int, default=0, help="of these splits (default: 0)")
    parser.add_argument("--processes", type=int, default=1, help="how many work at a time (default: 1)")
    return parser
