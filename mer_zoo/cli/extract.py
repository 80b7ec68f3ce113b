"""``mer-zoo extract``: a corpus file of recordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mer_zoo.cli.hearing import add_hearing, hearing_of
from mer_zoo.cli.trained import like
from mer_zoo.clips.extract import Extraction, extract
from mer_zoo.clips.settings import AUDIO_RATE, FACES_FPS, FPS, LONGEST, Settings
from mer_zoo.data.convert import convert
from mer_zoo.data.store import is_store
from mer_zoo.errors import MERError
from mer_zoo.text import shown

__all__ = ["main", "tell"]

TOLD = 5  # faults
NOTHING = 2  # the exit code where no clip is left
# what a checkpoint tells
MAKERS = ("text", "audio", "vision", "fps", "faces", "faces_fps", "layers", "audio_rate", "revision", "aligned")
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
    parser = _parser()
    options = parser.parse_args(args)
    if options.like is None:
        settings, lengths = _settings(options), None
    else:
        for name in MAKERS:
            if getattr(options, name) != parser.get_default(name):
                raise MERError(f"--like takes {name} from the checkpoint; leave --{name.replace('_', '-')} out")
        settings, lengths = like(options.like, options.longest, hearing_of(options))
    split = {"split_by": options.split_by, "seed": options.seed}
    file = _file_of(options.dest, options.overwrite)
    result = extract(
        options.source,
        file,
        settings,
        processes=options.processes,
        progress=True,
        lengths=lengths,
        **split,
        overwrite=options.overwrite,
    )
    if file != options.dest and result.exit_code != NOTHING:
        convert(file, options.dest, progress=False, overwrite=options.overwrite)
        file.unlink()
    tell(result, options.dest)
    return result.exit_code


def _file_of(dest: Path, overwrite: bool) -> Path:
    """The pickle to make: the destination itself, or one beside the folder of a store, made on the way to it."""
    if dest.suffix:
        return dest
    if dest.exists() and not is_store(dest):
        raise MERError(f"{dest} exists, and is no store; give another name, or call it {dest.name}.pkl")
    if dest.exists() and not overwrite:
        raise MERError(f"{dest} exists; give another name, or replace it by --overwrite")
    return dest.with_name(f"{dest.name}.pkl")


def tell(result: Extraction, dest: Path) -> None:
    """Say what became of the clips.

    Args:
        result: What became of them.
        dest: The file of their features.
    """
    for note in result.notes:
        sys.stderr.write(f"{shown(note)}\n")
    for clip, fault in (result.failed + result.faulty)[:TOLD]:
        place = f"{shown(clip.place)}, " if clip.place else ""
        sys.stderr.write(f"{place}{shown(clip.id)}: {shown(fault)}\n")
    has_faults = bool(result.failed or result.faulty)
    listed = f"; all faults are in {shown(str(dest.with_name(f'{dest.stem}.faults.csv')))}" if has_faults else ""
    sys.stdout.write(f"{result}{listed}\n")


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        options.text,
        options.audio,
        options.vision,
        options.longest,
        options.fps,
        options.layers,
        options.audio_rate,
        dict(options.revision),
        faces=options.faces,
        faces_fps=options.faces_fps,
        speech=hearing_of(options),
        aligned=options.aligned,
    )


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
    parser.add_argument(
        "dest", type=Path, help="the pickle to make, such as features.pkl; a name without an ending makes a store"
    )
    parser.add_argument("--text", default="hash", help=f"hash (no weights), minilm, {NAMES} (default: hash)")
    parser.add_argument(
        "--audio", default="mel", help=f"mel (no weights), egemaps (by openSMILE), {NAMES} (default: mel)"
    )
    parser.add_argument(
        "--vision", default="frame", help=f"frame (no weights), landmarks (of a face), {NAMES} (default: frame)"
    )
    parser.add_argument("--fps", type=float, default=FPS, help="pictures a second (default: 5)")
    parser.add_argument(
        "--faces",
        choices=["none", "mtcnn"],
        default="none",
        help="look at a face, not at whole pictures (default: none)",
    )
    parser.add_argument(
        "--faces-fps", type=float, default=FACES_FPS, help="pictures a second in which it is looked for (default: 2)"
    )
    parser.add_argument(
        "--layers", choices=["last", "last4", "all"], default="last", help="of pretrained encoders (default: last)"
    )
    parser.add_argument(
        "--audio-rate",
        type=float,
        default=AUDIO_RATE,
        help="steps a second of pretrained ones of sound (default: 10)",
    )
    parser.add_argument(
        "--revision",
        type=_revision,
        action="append",
        default=[],
        metavar="MODALITY=REVISION",
        help="branch, tag or commit of a pretrained encoder on the Hub",
    )
    add_hearing(parser)
    parser.add_argument(
        "--aligned", action="store_true", help="pool audio and vision to the words, whose times are heard (--speech)"
    )
    parser.add_argument(
        "--like", type=Path, metavar="CHECKPOINT", help="make features as those that a checkpoint was trained on"
    )
    parser.add_argument(
        "--longest", type=float, default=LONGEST, help=f"seconds of a clip that are read (default: {LONGEST:g})"
    )
    parser.add_argument(
        "--split-by", choices=["video", "speaker", "clip"], help="make train, valid and test, these kept together"
    )
    parser.add_argument("--seed", type=int, default=0, help="of these splits (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file that is there")
    parser.add_argument("--processes", type=int, default=1, help="how many work at a time (default: 1)")
    return parser
