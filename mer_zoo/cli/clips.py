"""``mer-zoo predict --clips``: from recordings to predictions at once."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from mer_zoo.cli.extract import tell
from mer_zoo.cli.hearing import add_hearing, hearing_of
from mer_zoo.cli.trained import like
from mer_zoo.clips.extract import extract
from mer_zoo.clips.settings import LONGEST
from mer_zoo.errors import MERError
from mer_zoo.runs.folder import folder_of
from mer_zoo.text import shown

__all__ = ["predict_clips"]


def predict_clips(args: list[str]) -> int:
    """Extract features as the checkpoint says, and predict.

    Args:
        args: Command line after the word predict.

    Returns:
        The exit code: 0 where all clips were predicted, 3 where some were.

    Raises:
        MERError: If none of the clips can be used, or the checkpoint does not tell how.
    """
    options, rest = _parser().parse_known_args(args)
    if any(word.startswith(("--data.path", "--data.predict_split")) for word in rest):
        raise MERError("--clips are what is predicted; leave --data.path and --data.predict_split out")
    settings, lengths = like(options.ckpt_path, options.longest, hearing_of(options))
    config = options.config or folder_of(options.ckpt_path) / "config.yaml"
    if not config.is_file():
        raise MERError(f"{config} does not exist; give the config.yaml of the run as --config")
    file = options.features or Path(f"{options.clips.stem}.features.pkl")
    result = extract(
        options.clips,
        file,
        settings,
        processes=options.processes,
        progress=True,
        lengths=lengths,
        for_prediction=True,
        overwrite=True,
    )
    tell(result, file)
    if result.exit_code == 2:
        raise MERError(f"{shown(str(options.clips))}: none of the clips can be used; the reasons stand above")
    from mer_zoo.cli.parser import run

    data = [f"--data.path={file}", "--data.predict_split=test", "--data.conditions=default"]
    sys.stdout.flush()
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter")  # the user gave other ones, on purpose
    run(["predict", f"--config={config}", f"--ckpt_path={options.ckpt_path}", *data, *rest])
    return result.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("mer-zoo predict --clips", allow_abbrev=False)
    parser.add_argument("--clips", type=Path, required=True, help="a folder of recordings, or a CSV file")
    parser.add_argument("--ckpt_path", type=Path, required=True, help="a checkpoint of a run on extracted features")
    parser.add_argument("--config", type=Path, help="the run's config.yaml (default: that beside the checkpoint)")
    parser.add_argument("--features", type=Path, help="where their features go (default: NAME.features.pkl)")
    parser.add_argument("--processes", type=int, default=1, help="how many work at a time (default: 1)")
    parser.add_argument("--longest", type=float, default=LONGEST, help=f"seconds of a clip (default: {LONGEST:g})")
    add_hearing(parser)
    return parser
