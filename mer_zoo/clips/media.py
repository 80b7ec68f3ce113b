"""Decoding: the sound of a clip at 16 kHz and its pictures at a rate, piece by piece, so that memory stays bounded.

Files are opened here and handed to FFmpeg as bytes, with a list of the containers that it may take: a play list that
calls itself mp4 leads nowhere, neither to other files nor to the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.clips.clip import Clip
from mer_zoo.errors import MERError
from mer_zoo.foreign import open_regular

__all__ = ["MOST_PIXELS", "RATE", "SUFFIXES", "Media", "need_av"]

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".wav", ".mp3", ".flac", ".m4a", ".ogg", ".opus")
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,wav,w64,mp3,flac,ogg,aac,mpeg,mpegts,flv,asf"
RATE = 16_000
DECODING, ENCODING = 10.0, 600.0  # seconds that a frame may take, and what is done with it
MOST_PIXELS = 7680 * 4320
SEEK_BACK = 1.0  # seconds before the start of a clip at which decoding begins, as sound needs some to settle

Samples = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]


def need_av() -> Any:
    """PyAV, which brings FFmpeg.

    Raises:
        MERError: If it is not installed.
    """
    try:
        import av
    except ImportError:
        raise MERError("recordings are decoded by PyAV, which is not installed; pip install 'mer-zoo[clips]'") from None
    return av


class Media:
    """The streams of a clip.

    Args:
        clip: The file and the interval.
        longest: Seconds that are read at most.
        beat: Called with the seconds within which it will be called again, so that somebody else can notice that
            nothing goes on.
        frames: Where frames come from by their kind, with their times, instead of the file.
    """

    def __init__(
        self,
        clip: Clip,
        longest: float,
        beat: Callable[[float], None] = lambda _seconds: None,
        frames: Callable[[str], Iterator[tuple[float, Any]]] | None = None,
    ) -> None:
        self.clip, self.beat, self._frames = clip, beat, frames or self._decoded
        stop = math.inf if clip.end is None else clip.end - clip.start
        self.seconds = min(stop, longest)
        self.may_be_cut, self.goes_on = stop > longest, False
        self.read: dict[str, float] = {}

    def sound(self) -> Iterator[Samples]:
        """Mono samples at 16 kHz; nothing where there is no sound.

        Raises:
            MERError: If the file can't be opened, or the clip begins behind its end.
        """
        resampler = need_av().AudioResampler(format="flt", layout="mono", rate=RATE)
        wanted = round(self.seconds * RATE)
        left, position = wanted, None
        for time, frame in self._frames("audio"):
            if position is None:  # what the frames of a clip in the middle of a file begin with lies before it
                position = round(time * RATE)
                yield np.zeros(min(max(0, position), left), np.float32)
                left -= max(0, position)
            frame.pts = None
            for part in resampler.resample(frame):
                x = part.to_ndarray().reshape(-1)
                skipped = min(len(x), max(0, -position))
                position += skipped
                self.goes_on |= len(x) - skipped > max(0, left)
                x = np.nan_to_num(x[skipped:][: max(0, left)].astype(np.float32), posinf=0, neginf=0)
                left -= len(x)
                self.read["audio"] = (wanted - left) / RATE
                yield x
            if self.goes_on:
                return

    def pictures(self, rate: float, size: int, whole: bool = False) -> Iterator[Frame]:
        """Pictures at equal distances, upright, their middle (size, size, 3); nothing where there are none.

        Args:
            rate: Pictures a second.
            size: Their height and width.
            whole: The whole pictures instead, made smaller where their longer side is above the size.

        Raises:
            MERError: If the file can't be opened, or has pictures that are too large.
        """
        count, last, held = (
            0,
            0.0,
            0.5 / rate,
        )  # until when the last picture is seen: half a step, or as long as that before
        kept: Frame | None = None
        for time, frame in self._frames("video"):
            while kept is not None and (count + 0.5) / rate < min(time, self.seconds):
                yield kept
                count += 1
            if time >= self.seconds:
                self.goes_on = True
                if kept is not None:  # it is seen until then
                    self.read["video"] = self.seconds
                break
            kept = _upright(frame, size, whole)
            held = max(0.5 / rate, min(time - last, 1 / rate))
            self.read["video"] = last = max(0.0, time)
        while kept is not None and (not count or (count + 0.5) / rate < min(last + held, self.seconds)):
            yield kept
            count += 1

    def _decoded(self, kind: str) -> Iterator[tuple[float, Any]]:
        """Frames of the best stream of a kind from the beginning of the clip on, or a little before, and their times.

        Seconds are counted from the beginning of the clip. Nothing is yielded where there is no such stream.
        """
        av = need_av()
        self.beat(DECODING)
        with _open(av, self.clip.path) as container:
            streams = [s for s in container.streams if s.type == kind and "attached_pic" not in str(s.disposition)]
            if not streams:
                return
            best = container.streams.best(kind)
            stream = best if best in streams else streams[0]
            if stream.codec_context is None:
                raise ValueError("of an unknown codec")
            stream.codec_context.thread_count = 1  # several clips are decoded at a time, each by a process
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
            length = (container.duration or 0) / av.time_base
            if self.clip.start > length > 0:
                raise MERError(f"it begins at {self.clip.start:g} s, and the file has {length:.1f} s; mend its start")
            if self.clip.start > SEEK_BACK:
                container.seek(int((self.clip.start - SEEK_BACK) * av.time_base))
            frames = container.decode(stream)
            while True:
                self.beat(DECODING)
                frame = next(frames, None)
                self.beat(ENCODING)
                if frame is None:
                    return
                time = self.read.get(kind, 0.0)
                if frame.pts is not None:
                    time = float((frame.pts - (stream.start_time or 0)) * frame.time_base) - self.clip.start
                yield time, frame


@contextmanager
def _open(av: Any, path: Path) -> Iterator[Any]:
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "none"}
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise MERError("there is no such file; mend its path") from None
    with file:
        if not file.read(1):
            raise MERError("it is empty; copy it again")
        file.seek(0)
        try:
            container = av.open(file, options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise MERError(f"it is no recording that can be read ({reason}); give a sound one") from None
        with container:
            yield container


def _upright(frame: Any, size: int, whole: bool) -> Frame:
    """A picture, or its middle square, turned as it is shown."""
    if frame.width * frame.height > MOST_PIXELS:
        raise ValueError(f"they are {frame.width} x {frame.height}, too large to be decoded")
    if whole:
        scale = min(1, size / max(frame.width, frame.height))
        width, height = (max(1, round(side * scale)) for side in (frame.width, frame.height))
        return _turned(frame.to_ndarray(format="rgb24", width=width, height=height), frame)
    short = min(frame.width, frame.height)
    width, height = (min(max(size, round(side * size / short)), 16 * size) for side in (frame.width, frame.height))
    x = frame.to_ndarray(format="rgb24", width=width, height=height)
    left, top = (width - size) // 2, (height - size) // 2
    return _turned(x[top : top + size, left : left + size], frame)


def _turned(x: Frame, frame: Any) -> Frame:
    turned: Frame = np.ascontiguousarray(np.rot90(x, round(frame.rotation / 90)))
    return turned
