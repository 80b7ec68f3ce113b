"""From sound to words with their times, by Whisper as faster-whisper runs it: an extra, used where it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.clips import sound
from mer_zoo.clips.encoders import SILENCE
from mer_zoo.clips.weights import WEIGHTS, how_to_fetch, weights_folder
from mer_zoo.clips.words import Word
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import SpeechSpec

__all__ = ["Hearing", "Recogniser", "heard_by", "quiet_place"]

Samples = npt.NDArray[np.float32]
WINDOW, LATEST = 30 * sound.RATE, 10 * sound.RATE  # what Whisper hears at a time, and how much may go to the next
QUIET = sound.RATE // 10
PRECISION = "int8"
MOST_BEAMS = 20
EXAMPLES = "whisper-tiny.en, a size such as small, or the folder of a model of CTranslate2"


@dataclass(frozen=True)
class Hearing:
    """How words are heard.

    Args:
        model: One of :data:`~mer_zoo.clips.weights.WEIGHTS`, a size or a name that faster-whisper knows, or a folder.
        language: Its code, such as ``en``; empty, so that it is found out.
        beam: How many readings are followed at a time.
        vad: Whether what is no voice is left out first.
        beside: Whether clips with a transcript are listened to as well, their words kept beside it.

    Raises:
        MERError: For a beam that makes no sense.

    Example:
        >>> Hearing("whisper-tiny.en", beam=0)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: beam is 0; give a number from 1 to 20
    """

    model: str
    language: str = ""
    beam: int = 5
    vad: bool = True
    beside: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.beam <= MOST_BEAMS:
            raise MERError(f"beam is {self.beam}; give a number from 1 to {MOST_BEAMS}")

    @classmethod
    def of(cls, spec: SpeechSpec) -> Hearing:
        """What hears as a spec says.

        Args:
            spec: What heard the words that a model was trained on.
        """
        return cls(spec.model, spec.language, spec.beam, spec.vad)


def heard_by(own: Hearing | None, given: Hearing | None, model: str) -> Hearing | None:
    """How words are heard for a model.

    Args:
        own: How those were that it was trained on; None where it was trained on transcripts.
        given: How they are to be heard; None leaves that as it was.
        model: The model, for the message.

    Raises:
        MERError: If they are to be heard otherwise than they were.

    Example:
        >>> heard_by(None, Hearing("small"), "best.ckpt").model
        'small'
    """
    if own is not None and given is not None and replace(own, beside=given.beside) != given:
        raise MERError(f"{model} was trained on words heard by {own.model}; leave the options of speech out")
    return given or own


class Recogniser:
    """Hears words in sound, a window at a time, so that memory does not grow with its length.

    Args:
        hearing: The model and how it is used.

    Raises:
        MERError: If faster-whisper or the model is not there, or the model knows no such language.
    """

    def __init__(self, hearing: Hearing) -> None:
        self.hearing = hearing
        library = _need_library()
        folder = _folder(library, hearing.model)
        try:
            self.model = library.WhisperModel(str(folder), device="cpu", compute_type=PRECISION)
        except (OSError, ValueError, RuntimeError) as error:
            raise _refusal(hearing.model, error) from error
        if hearing.language and hearing.language not in self.model.supported_languages:
            raise MERError(
                f"speech {hearing.model!r} does not know the language {hearing.language!r}; give one of"
                f" {', '.join(self.model.supported_languages[:8])}, or leave it out"
            )
        versions = f"faster-whisper {library.__version__}, {PRECISION}"
        revision = WEIGHTS[hearing.model].revision if hearing.model in WEIGHTS else _fingerprint(folder)
        self.spec = SpeechSpec(hearing.model, revision, hearing.language, hearing.beam, hearing.vad, versions)

    def listen(self, samples: Iterator[Samples], heard: list[Word]) -> Iterator[Samples]:
        """Hear words while somebody else uses the sound, too.

        Args:
            samples: Pieces of any length, at 16 kHz.
            heard: Where the words go, in their order; all are there when the sound has ended.

        Yields:
            The same pieces.
        """
        held, count, start = [np.zeros(0, np.float32)], 0, 0
        for piece in samples:
            held.append(piece)
            count += len(piece)
            while count >= WINDOW:
                x = np.concatenate(held)
                cut = WINDOW - LATEST + quiet_place(x[WINDOW - LATEST : WINDOW])
                heard += self._words(x[:cut], start / sound.RATE)
                held, count, start = [x[cut:]], len(x) - cut, start + cut
            yield piece
        heard += self._words(np.concatenate(held), start / sound.RATE)

    def _words(self, x: Samples, start: float) -> list[Word]:
        if float(np.abs(x).max(initial=0)) < SILENCE:
            return []
        segments, _ = self.model.transcribe(
            x,
            language=self.hearing.language or None,
            beam_size=self.hearing.beam,
            vad_filter=self.hearing.vad,
            word_timestamps=True,
            temperature=0.0,  # others draw words at random where it is unsure
            condition_on_previous_text=False,  # of windows each on its own, none passes a mistake on
        )
        length = len(x) / sound.RATE
        found = []
        for word in (word for segment in segments for word in segment.words or ()):
            text = "".join(sign for sign in word.word if sign.isprintable()).replace(" ", "")
            if text:
                end = min(float(word.end), length)
                found.append(Word(text, start + min(float(word.start), end), start + end))
        return found


def quiet_place(x: Samples) -> int:
    """Where the quietest tenth of a second is, at which speech is cut without cutting a word.

    Args:
        x: (n,) samples; a place is wanted in them.

    Returns:
        The sample in its middle.

    Example:
        >>> quiet_place(np.concatenate([np.ones(16000), np.zeros(1600), np.ones(16000)]).astype(np.float32))
        16800
    """
    frames = x[: len(x) // QUIET * QUIET].reshape(-1, QUIET)
    loudness = (frames.astype(np.float64) ** 2).mean(1)
    return int(loudness.argmin()) * QUIET + QUIET // 2


def _need_library() -> Any:
    try:
        import faster_whisper
    except ImportError:
        raise MERError(
            "speech is heard by faster-whisper, which is not installed; pip install 'mer-zoo[clips]', or give"
            " transcripts in a column text"
        ) from None
    return faster_whisper


def _folder(library: Any, model: str) -> Path:
    """The folder of a model, which is fetched where it is not on the disk and there is a network."""
    if model in WEIGHTS:
        return weights_folder(model)
    if Path(model).is_dir():
        return Path(model)
    try:
        return Path(library.download_model(model))
    except (OSError, ValueError, RuntimeError) as error:
        raise _refusal(model, error, _repository(library, model)) from error


def _repository(library: Any, model: str) -> str:
    """Where the library would fetch a model from, as far as it tells."""
    known: dict[str, str] = getattr(getattr(library, "utils", None), "_MODELS", {})
    return known.get(model, model)


def _refusal(model: str, error: Exception, on_hub: str = "") -> MERError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return MERError(f"speech {model!r} can't be loaded ({reason}); {how_to_fetch(error, on_hub)}give {EXAMPLES}")


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    with (folder / "model.bin").open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()[:16]
