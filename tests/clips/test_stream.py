"""Sound and pictures that come in pieces, beside a file of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("av")

from media_toys import write_media

from mer_zoo.clips import Clip, Extractor, Settings, Stream
from mer_zoo.clips.media import RATE, Media
from mer_zoo.errors import MERError

PICTURE = np.full((48, 64, 3), 90, np.uint8)


def sine(seconds: float, hertz: float = 200.0, rate: int = RATE) -> npt.NDArray[np.float64]:
    wave: npt.NDArray[np.float64] = 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return wave


def test_the_last_seconds_are_described_as_a_clip_of_them_is(tmp_path: Path) -> None:
    """Those of a file that are decoded here and given piece by piece."""
    write_media(tmp_path / "a.mp4", seconds=4.0)
    extractor = Extractor(Settings(text="none"))
    media = Media(Clip(tmp_path / "a.mp4"), 60.0)
    stream = Stream(extractor, seconds=2.0)
    heard = np.concatenate(list(media.sound()))[: 4 * RATE]
    for piece in np.array_split(heard, 20):
        stream.hear(piece, RATE)
    for place, picture in enumerate(Media(Clip(tmp_path / "a.mp4"), 60.0).pictures(5.0, 64)):
        stream.see(picture, place / 5)
    wanted = extractor(Clip(tmp_path / "a.mp4", start=2.0, end=4.0)).features
    found = stream.features()
    assert found.features["audio"][2:-2] == pytest.approx(wanted["audio"][2:-2], abs=0.2)
    assert found.features["vision"][1:10, :16] == pytest.approx(wanted["vision"][1:10, :16], abs=0.05)


def test_memory_holds_the_last_seconds_alone() -> None:
    stream = Stream(Extractor(Settings(text="none")), seconds=1.0)
    for place in range(200):
        stream.hear(sine(0.1), RATE)
        for part in range(3):
            stream.see(PICTURE, place / 10 + part / 30)
    stream.hear(sine(30.0), RATE)
    assert stream.now == pytest.approx(50.0, abs=0.05)
    assert sum(map(len, stream._sound)) <= 2.1 * RATE
    assert len(stream._pictures) <= 7
    assert stream.features().features["audio"].shape == (20, 56)


def test_what_does_not_come_is_missing_and_other_rates_and_channels_are_heard() -> None:
    stream = Stream(Extractor(Settings()), seconds=2.0)
    with pytest.raises(MERError, match="nothing in it can be used"):
        stream.features()
    stereo = np.repeat(sine(1.0, 200.0, 44_100)[:, None], 2, 1)
    for piece in np.array_split(stereo, 7):
        stream.hear(piece, 44_100)
    found = stream.features("so good")
    assert set(found.features) == {"audio", "text"}
    assert found.faults == ["no pictures"]
    assert np.median(found.features["audio"][2:18, 54]) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda s: s.hear(np.zeros((2, 3, 4)), RATE), "shape"),
        (lambda s: s.hear(np.zeros(5, np.int64), RATE), "int64"),
        (lambda s: (s.hear(sine(0.1), RATE), s.hear(sine(0.1), 8000)), "the same in all pieces"),
        (lambda s: s.see(PICTURE[..., 0], 0.0), "uint8 of"),
        (lambda s: (s.see(PICTURE, 1.0), s.see(PICTURE, 0.5)), "times that rise"),
        (lambda s: s.see(PICTURE, float("nan")), "times that rise"),
        (lambda s: Stream(s.extractor, 1e6), "at most 60"),
    ],
)
def test_odd_pieces_are_refused(given: Callable[[Stream], object], told: str) -> None:
    with pytest.raises(MERError, match=told):
        given(Stream(Extractor(Settings(text="none"))))
