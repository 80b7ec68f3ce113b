"""Sentences spoken by eSpeak NG, whose library and voices the package espeakng-loader carries.

Three voices, with speed and pitch, and the time at which each word begins. Prosody carries nothing but the punctuation.
"""

from __future__ import annotations

import _ctypes
import ctypes
import re
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["VOICES", "Spoken", "can_speak", "save", "speak"]

VOICES = ("en-us", "en-us+f3", "en+m3")
"""A man and a woman of America, a man of Britain."""
SPEED, PITCH = 165, 50
RETRIEVE, PIECE = 1, 100  # how sound leaves the library, and milliseconds of it at a time
LONGEST = 20_000  # bytes of a text
RATE_PARAMETER, PITCH_PARAMETER = 1, 3
CHARACTERS, UTF8 = 1, 1
END, WORD = 0, 1  # of the list of events, and the kind of one


class _Event(ctypes.Structure):
    """``espeak_EVENT`` of ``speak_lib.h``."""

    _fields_ = [
        ("kind", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("place", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Spoken:
    """What was said.

    Args:
        samples: (n,) int16.
        rate: Samples a second.
        starts: Word of the text and second at which it begins, as far as the voice tells; words that it says in one go
            have one entry.
    """

    samples: npt.NDArray[np.int16]
    rate: int
    starts: tuple[tuple[str, float], ...] = ()


def can_speak() -> bool:
    """Whether espeakng-loader is installed."""
    return find_spec("espeakng_loader") is not None


@contextmanager
def _loaded() -> Iterator[tuple[Any, int]]:
    """The library and its rate; loaded for each sentence, as it remembers the one before, and sounds otherwise then."""
    import espeakng_loader  # an extra

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        rate = library.espeak_Initialize(RETRIEVE, PIECE, espeakng_loader.get_data_path().encode(), 0)
        if rate <= 0:
            raise RuntimeError("eSpeak NG does not find its voices; install espeakng-loader again")
        yield library, rate
        library.espeak_Terminate()
    finally:
        if hasattr(_ctypes, "dlclose"):
            _ctypes.dlclose(library._handle)


def speak(text: str, voice: str = VOICES[0], speed: int = SPEED, pitch: int = PITCH) -> Spoken:
    """Say a sentence.

    Args:
        text: What is said.
        voice: A name of eSpeak NG, as those of :data:`VOICES`.
        speed: Words a minute, 80 to 450.
        pitch: 0 to 99; 50 is the voice's own.

    Raises:
        ValueError: For a text that is too long or empty, a voice that there is not, or another speed or pitch.
    """
    data = text.encode()
    if not text.strip() or len(data) > LONGEST or b"\0" in data:
        raise ValueError(f"a text has 1 to {LONGEST} bytes, not {len(data)}")
    if not (80 <= speed <= 450 and 0 <= pitch <= 99):
        raise ValueError(f"speed {speed} and pitch {pitch} are not within 80 to 450 and 0 to 99")
    pieces: list[npt.NDArray[np.int16]] = []
    starts: list[tuple[str, float]] = []

    def receive(samples: Any, count: int, events: Any) -> int:
        if samples and count:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).astype(np.int16))
        at = 0
        while events[at].kind != END:
            if events[at].kind == WORD:
                word = re.match(r"\S+", text[events[at].place - 1 :])
                starts.append((word.group() if word else "", events[at].milliseconds / 1000))
            at += 1
        return 0

    callback = _Callback(receive)  # it has to outlive what calls it
    with _loaded() as (library, rate):
        if library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice {voice!r}")
        library.espeak_SetParameter(RATE_PARAMETER, speed, 0)
        library.espeak_SetParameter(PITCH_PARAMETER, pitch, 0)
        library.espeak_SetSynthCallback(callback)
        library.espeak_Synth(data, len(data) + 1, 0, CHARACTERS, 0, UTF8, None, None)
        library.espeak_Synchronize()
    return Spoken(np.concatenate(pieces) if pieces else np.zeros(0, np.int16), rate, tuple(starts))


def save(path: Path, spoken: Spoken) -> None:
    """Write a sentence as WAV.

    Args:
        path: The file.
        spoken: What was said.
    """
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, spoken.rate, len(spoken.samples), "NONE", ""))
        file.writeframes(spoken.samples.astype("<i2").tobytes())
