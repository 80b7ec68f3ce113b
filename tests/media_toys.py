"""Recordings of a second that tests make on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 16_000


def tone(hertz: float, seconds: float, rate: int = RATE) -> Any:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_media(
    path: Path,
    hertz: float | None = 220.0,
    brightness: float | None = 0.5,
    seconds: float = 1.0,
    rate: int = RATE,
    layout: str = "mono",
) -> Path:
    """Write a tone and pictures that grow brighter; None for what the file is to lack."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video: Any = None if brightness is None else _video_stream(container)
        audio: Any = None
        if hertz is not None:
            audio = container.add_stream("pcm_s16le" if path.suffix == ".wav" else "aac", rate=rate)
            audio.layout = layout
        for place in range(round(seconds * 10)) if video else ():
            grey = np.full((48, 64, 3), 255 * (brightness or 0) * (0.5 + 0.05 * place), np.uint8)
            picture = av.VideoFrame.from_ndarray(grey, format="rgb24")
            picture.pts = place
            container.mux(video.encode(picture))
        if video:
            container.mux(video.encode())
        if audio:
            planar = path.suffix != ".wav"
            x: Any = tone(hertz or 0, seconds, rate)[None].repeat(audio.layout.nb_channels, 0)
            if not planar:
                x = (x.T.reshape(1, -1) * 32767).astype(np.int16)
            sound = av.AudioFrame.from_ndarray(x, format="fltp" if planar else "s16", layout=layout)
            sound.sample_rate, sound.pts = rate, 0
            container.mux(audio.encode(sound))
            container.mux(audio.encode())
    return path


def write_pictures(path: Path, pictures: Sequence[Any], rate: int = 2) -> Path:
    """Write pictures (H, W, 3), without sound."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = _video_stream(container, rate, width, height)
        stream.bit_rate = 2_000_000
        for place, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = place
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _video_stream(container: Any, rate: int = 10, width: int = 64, height: int = 48) -> Any:
    stream = container.add_stream("mpeg4", rate=rate)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    return stream
