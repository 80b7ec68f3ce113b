"""eGeMAPS with something in place of openSMILE, which its licence keeps out of tests."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mer_zoo.clips.settings import Settings
from mer_zoo.errors import MERError


class Smile:
    """A frame every 10 ms, as long as 60 are left; it holds the sample at its beginning."""

    def __init__(self, **_options: Any) -> None:
        pass

    def process_signal(self, x: Any, rate: int) -> Any:
        assert rate == 16000
        frames = np.repeat(x[: len(x) - 960 + 1 : 160, None], 25, 1)
        return SimpleNamespace(to_numpy=frames.astype)


def test_a_step_is_the_mean_of_five_frames_wherever_a_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    library = SimpleNamespace(
        Smile=Smile,
        FeatureSet=SimpleNamespace(eGeMAPSv02="eGeMAPSv02"),
        FeatureLevel=SimpleNamespace(LowLevelDescriptors="lld"),
        __version__="2.6.0",
    )
    monkeypatch.setitem(sys.modules, "opensmile", library)
    encoder = Settings(audio="egemaps").audio_encoder()
    assert encoder is not None
    assert (encoder.spec.rate, encoder.spec.dim, encoder.spec.versions) == (20.0, 25, "opensmile 2.6.0")
    x = np.linspace(0, 1, 65 * 16000 + 100, dtype=np.float32)
    found = encoder.encode(iter(np.split(x, [7000, 600_000])))
    wanted = np.pad(x, (0, 700)).reshape(-1, 5, 160)[:, :, 0].mean(1)
    assert found == pytest.approx(np.repeat(wanted[:, None], 25, 1), abs=1e-6)
    assert len(encoder.encode(iter([np.zeros(9000, np.float32)]))) == 0


def test_without_it_it_is_said_what_to_install_and_what_its_licence_forbids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(MERError, match=r"pip install opensmile, if its licence.*no commercial use"):
        Settings(audio="egemaps").audio_encoder()
