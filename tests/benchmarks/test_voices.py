"""Spoken sentences."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.voices import VOICES, can_speak, save, speak

pytestmark = pytest.mark.skipif(
    not can_speak(), reason="espeakng-loader (requirements/clips-demo.txt) is not installed"
)


@pytest.mark.parametrize("voice", VOICES)
def test_a_sentence_and_when_its_words_begin(voice: str, tmp_path: Path) -> None:
    spoken = speak("This film was great, truly.", voice)
    assert [word for word, _ in spoken.starts] == ["This", "film", "was", "great,", "truly."]
    times = [time for _, time in spoken.starts]
    assert times == sorted(times)
    assert times[-1] < len(spoken.samples) / spoken.rate < 4
    assert np.array_equal(spoken.samples, speak("This film was great, truly.", voice).samples)
    save(tmp_path / "a.wav", spoken)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (spoken.rate, len(spoken.samples))


def test_voices_speed_and_pitch_differ() -> None:
    plain = speak("so good")
    assert len(speak("so good", speed=300).samples) < len(plain.samples)
    others = [speak("so good", pitch=90), *(speak("so good", voice) for voice in VOICES[1:])]
    assert not any(np.array_equal(other.samples, plain.samples) for other in others)


@pytest.mark.parametrize("wrong", [{"text": " "}, {"text": "a", "voice": "nobody"}, {"text": "a", "speed": 5}])
def test_what_cannot_be_said(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"a text has|no voice|not within"):
        speak(**wrong)  # type: ignore[arg-type]
