"""Options of how words are heard, which ``extract`` and ``predict --clips`` share."""

from __future__ import annotations

import argparse

from mer_zoo.clips.speech import Hearing
from mer_zoo.errors import MERError

__all__ = ["add_hearing", "hearing_of"]

DEFAULT = Hearing("")


def add_hearing(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser.

    Args:
        parser: The parser of a command.
    """
    parser.add_argument(
        "--speech",
        metavar="MODEL",
        help="hear the words of clips without a transcript by this Whisper: whisper-tiny.en (of a package), a size such"
        " as small, or the folder of a model of CTranslate2",
    )
    parser.add_argument("--language", default="", help="that is spoken, as en (default: it is found out)")
    parser.add_argument("--beam", type=int, default=DEFAULT.beam, help="readings followed at a time (default: 5)")
    parser.add_argument("--no-vad", action="store_true", help="listen to everything, not to voices alone")
    parser.add_argument(
        "--hear-all",
        action="store_true",
        help="listen to clips with a transcript, too, and keep what is heard beside it",
    )


def hearing_of(options: argparse.Namespace) -> Hearing | None:
    """What the options say; None where nothing is heard.

    Args:
        options: Of a command line.

    Raises:
        MERError: For options of hearing without a model.
    """
    found = Hearing(options.speech or "", options.language, options.beam, not options.no_vad, options.hear_all)
    if options.speech:
        return found
    if found != DEFAULT:
        raise MERError("--language, --beam, --no-vad and --hear-all are of --speech; name its model, too")
    return None
