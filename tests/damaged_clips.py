"""Recordings and lists of clips with a damage, or a form that is seldom met, and what should come of each."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import random
import struct
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import av
import matplotlib
import numpy as np
from media_toys import RATE, tone, write_media, write_pictures
from PIL import Image

__all__ = ["Damage", "Listing", "Sources", "beside", "damages", "listings", "portrait", "write_pair"]

SOUND = ("wav", "mp3", "flac", "ogg")
FORMATS = ("mp4", "mov", "mkv", "webm", "avi", *SOUND)
HOURS = 3
EXTRACTED, FAULTY, FAILED = "extracted", "extracted with faults", "failed"
READ, ANY = (EXTRACTED, FAULTY), (EXTRACTED, FAULTY, FAILED)
Make = Callable[[Path, "Sources"], Any]


@dataclass(frozen=True)
class Damage:
    """One recording.

    Args:
        name: What is wrong with it, or odd about it.
        group: Of the table.
        file: What it is called.
        make: Writes it.
        outcomes: What it may end as.
        told: What the faults have to say, where there are any.
        interval: Start and end of the clip, if it is not the whole file.
        faces: Whether faces are looked for.
    """

    name: str
    group: str
    file: str
    make: Make
    outcomes: tuple[str, ...]
    told: str = ""
    interval: dict[str, float] = field(default_factory=dict)
    faces: bool = False


@dataclass(frozen=True)
class Listing:
    """One table of clips, beside two sound recordings a.wav and b.wav.

    Args:
        name: What is wrong with it.
        data: Its bytes.
        told: What the refusal, or the faults of a clip, have to say; empty where all are to be extracted.
        failed: How many of its clips fail; None where the table as a whole is refused.
    """

    name: str
    data: bytes
    told: str
    failed: int | None = None


class Sources:
    """The sound recordings that others are made of.

    Args:
        folder: Where to make them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, kind: str) -> bytes:
        return self._all[kind]

    @cached_property
    def _all(self) -> dict[str, bytes]:
        found = {}
        for kind in FORMATS:
            path = self.folder / f"source.{kind}"
            if kind in SOUND or kind == "webm":
                _write(path, kind)
            else:
                write_media(path)
            found[kind] = path.read_bytes()
            path.unlink()
        return found


CODECS = {"wav": "pcm_s16le", "mp3": "libmp3lame", "flac": "flac", "ogg": "libopus", "webm": "libopus"}


def _write(
    path: Path, kind: str, rate: int | None = None, layout: str = "mono", codec: str = "", seconds: float = 1
) -> None:
    """A tone as a sound of any codec; of WebM with a picture."""
    rate = rate or (48_000 if CODECS[kind] == "libopus" else RATE)
    with av.open(str(path), "w", format=kind) as container:
        video: Any = container.add_stream("libvpx", rate=10) if kind == "webm" else None
        audio: Any = container.add_stream(codec or CODECS[kind], rate=rate)
        audio.layout = layout
        if video:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for place in range(10):
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 100 + place, np.uint8), format="rgb24")
                picture.pts = place
                container.mux(video.encode(picture))
            container.mux(video.encode())
        x: Any = np.tile(tone(220, seconds, rate), (audio.layout.nb_channels, 1))
        sound = av.AudioFrame.from_ndarray(x, format="fltp", layout=layout)
        sound.sample_rate, sound.pts = rate, 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode())


def damages() -> list[Damage]:
    """All recordings, in an order of their own."""
    parts = (_cut, _overwritten, _misnamed, _no_media, _headers, _streams, _sounds, _times, _names, _long, _faces)
    return [damage for part in parts for damage in part()]


def _bytes(data: bytes) -> Make:
    return lambda path, _sources: path.write_bytes(data)


def _cut() -> Iterator[Damage]:
    def make(kind: str, share: float) -> Make:
        return lambda path, sources: path.write_bytes(sources[kind][: int(len(sources[kind]) * share)])

    for kind in FORMATS:
        for share in (0.0, 0.001, 0.1, 0.5, 0.9, 0.99):
            outcomes = (FAILED,) if share < 0.01 else ANY
            told = "empty" if not share else ""
            yield Damage(f"{kind} cut at {share:.1%}", "cut", f"cut{share:g}.{kind}", make(kind, share), outcomes, told)


def _overwritten() -> Iterator[Damage]:
    def make(kind: str, place: float, with_what: bytes) -> Make:
        def write(path: Path, sources: Sources) -> None:
            data = bytearray(sources[kind])
            at = int(len(data) * place)
            data[at : at + len(with_what)] = with_what
            path.write_bytes(bytes(data))

        return write

    noise = random.Random(0).randbytes(200)
    for kind in FORMATS:
        yield Damage(f"{kind}, zeros at its head", "zeros and noise", f"head.{kind}", make(kind, 0, bytes(64)), ANY)
        yield Damage(f"{kind}, zeros inside", "zeros and noise", f"inside.{kind}", make(kind, 0.5, bytes(500)), ANY)
        yield Damage(f"{kind}, noise inside", "zeros and noise", f"noise.{kind}", make(kind, 0.4, noise), ANY)


def _misnamed() -> Iterator[Damage]:
    def make(kind: str) -> Make:
        return lambda path, sources: path.write_bytes(sources[kind])

    for kind, other in zip(FORMATS, (*FORMATS[3:], *FORMATS[:3]), strict=True):
        yield Damage(f"{kind} called {other}", "another ending", f"{kind}.as.{other}", make(kind), READ)


class _Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch executed",)


def _no_media() -> Iterator[Damage]:
    texts = {
        "a text": b"so good\n" * 100,
        "zeros alone": bytes(5000),
        "noise": random.Random(1).randbytes(5000),
        "a page": b"<html><body><script>alert(1)</script></body></html>",
        "a pickle that would execute": pickle.dumps(_Hostile()),
        "a script": b"#!/bin/sh\ntouch executed\n",
        "a play list": b"#EXTM3U\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        "a list of files": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "a session": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        "an archive": b"PK\x03\x04" + bytes(200),
        "a PDF": b"%PDF-1.4\n" + bytes(200),
        "an executable": b"\x7fELF\x02\x01\x01" + bytes(200),
    }
    for place, (name, data) in enumerate(texts.items()):
        yield Damage(name, "no recording", f"none{place}.mp4", _bytes(data), (FAILED,), "no recording that can be read")
    yield Damage("a picture", "no recording", "picture.mp4", _picture, ANY)
    yield Damage("a folder", "no recording", "folder.mp4", lambda path, _: path.mkdir(), (FAILED,))
    yield Damage("a pipe", "no recording", "pipe.mp4", lambda path, _: os.mkfifo(path), (FAILED,))
    link = "a link to a device that never ends"
    yield Damage(link, "no recording", "device.mp4", lambda path, _: path.symlink_to("/dev/zero"), (FAILED,))
    yield Damage("a link to nothing", "no recording", "gone.mp4", lambda path, _: path.symlink_to("nowhere"), (FAILED,))


def _picture(path: Path, _sources: Sources) -> None:
    image = io.BytesIO()
    Image.new("RGB", (64, 48)).save(image, "PNG")
    path.write_bytes(image.getvalue())


def _headers() -> Iterator[Damage]:
    """Numbers in headers that promise what is not there."""

    def patched(kind: str, mark: bytes, offset: int, value: bytes) -> Make:
        def write(path: Path, sources: Sources) -> None:
            data = bytearray(sources[kind])
            at = data.find(mark)
            assert at >= 0, (kind, mark)
            data[at + offset : at + offset + len(value)] = value
            path.write_bytes(bytes(data))

        return write

    most = b"\xff\xff\xff\xff"
    wide = struct.pack(">HH", 65535, 65535)
    cases: list[tuple[str, str, bytes, int, bytes]] = [
        ("4 GB of samples", "wav", b"data", 4, most),
        ("no samples", "wav", b"data", 4, bytes(4)),
        ("4 GB in all", "wav", b"RIFF", 4, most),
        ("a rate of 4 GHz", "wav", b"fmt ", 12, most),
        ("a rate of 0", "wav", b"fmt ", 12, bytes(4)),
        ("65535 channels", "wav", b"fmt ", 10, b"\xff\xff"),
        ("no channels", "wav", b"fmt ", 10, bytes(2)),
        ("an unknown codec", "wav", b"fmt ", 8, b"\xfe\xca"),
        ("a box of 4 GB", "mp4", b"moov", -4, most),
        ("a box of no bytes", "mp4", b"trak", -4, b"\0\0\0\1"),
        ("4 billion samples", "mp4", b"stts", 8, most),
        ("4 billion chunks", "mp4", b"stco", 8, most),
        ("4 billion sizes", "mp4", b"stsz", 12, most),
        ("a time scale of 0", "mp4", b"mdhd", 16, bytes(4)),
        ("pictures of 65535 x 65535", "mp4", b"mp4v", 28, wide),
        ("pictures of 0 x 0", "mp4", b"mp4v", 28, bytes(4)),
        ("4 billion pictures", "avi", b"avih", 24, most),
        ("pictures of 4 billion x 4 billion", "avi", b"avih", 40, most * 2),
        ("pictures of 65535 x 65535", "avi", b"strf", 12, struct.pack("<ii", 65535, 65535)),
        ("a block of 2^56 bytes", "mkv", b"\x1f\x43\xb6\x75", 4, b"\x01" + b"\xff" * 7),
        ("a rate of 0", "flac", b"fLaC", 18, bytes(3)),
        ("an index that leads out", "mp4", b"stco", 12, most),
    ]
    for place, (name, kind, mark, offset, value) in enumerate(cases):
        yield Damage(f"{kind}: {name}", "headers", f"header{place}.{kind}", patched(kind, mark, offset, value), ANY)


def _rotated(degrees: int) -> Make:
    """The display matrix, which stands 40 bytes behind the name of the track's header."""
    cosine, sine = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]

    def write(path: Path, sources: Sources) -> None:
        data = bytearray(sources["mp4"])
        at = data.find(b"tkhd") + 44
        one = 1 << 16
        data[at : at + 36] = struct.pack(
            ">9i", cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30
        )
        path.write_bytes(bytes(data))

    return write


def _pictures_at(times: list[int]) -> Make:
    """Pictures at times in tenths of a second."""

    def write(path: Path, _sources: Sources) -> None:
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for place, time in enumerate(times):
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 50 + place, np.uint8), format="rgb24")
                picture.pts = time
                container.mux(stream.encode(picture))
            container.mux(stream.encode())

    return write


def _media(**given: Any) -> Make:
    return lambda path, _sources: write_media(path, **given)


def _streams() -> Iterator[Damage]:
    for degrees in (90, 180, 270):
        yield Damage(f"turned by {degrees} degrees", "streams", f"turned{degrees}.mp4", _rotated(degrees), (EXTRACTED,))
    several = {
        "varying": [0, 1, 5, 6, 20, 21, 29],
        "one a second": [0, 10, 20],
        "with a gap of an hour": [0, 1, 36_000],
    }
    for place, (name, times) in enumerate(several.items()):
        yield Damage(f"pictures {name}", "streams", f"rate{place}.mkv", _pictures_at(times), (FAULTY,), "no sound")
    yield Damage("one picture", "streams", "one.mp4", _pictures_at([0]), (FAULTY,), "no sound")
    yield Damage("no sound", "streams", "mute.mp4", _media(hertz=None), (FAULTY,), "no sound")
    yield Damage("no pictures", "streams", "blind.mp4", _media(brightness=None), (FAULTY,), "no pictures")
    yield Damage("silence", "streams", "silence.mp4", _media(hertz=0.0), (FAULTY,), "nothing but silence")
    yield Damage("black pictures", "streams", "black.mp4", _media(brightness=0.0), (EXTRACTED,))
    yield Damage("neither", "streams", "neither.wav", _media(brightness=None, hertz=0.0), (FAILED,), "nothing in it")
    yield Damage("two streams of sound", "streams", "two.mkv", _two_sounds, (FAULTY,), "no pictures")


def _two_sounds(path: Path, _sources: Sources) -> None:
    with av.open(str(path), "w") as container:
        streams: list[Any] = [container.add_stream("aac", rate=RATE) for _ in range(2)]
        for stream in streams:
            stream.layout = "mono"
        for stream, hertz in zip(streams, (200, 400), strict=True):
            sound = av.AudioFrame.from_ndarray(tone(hertz, 1)[None], format="fltp", layout="mono")
            sound.sample_rate, sound.pts = RATE, 0
            container.mux(stream.encode(sound))
            container.mux(stream.encode())


def _wave(width: int, rate: int, data: bytes, kind: int = 1) -> Make:
    """A WAV file by hand, of any kind of samples."""
    form = struct.pack("<HHIIHH", kind, 1, rate, rate * width, width, 8 * width)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return _bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)


def _sounds() -> Iterator[Damage]:
    for rate in (8000, 11_025, 44_100, 96_000, 192_000):
        yield Damage(
            f"{rate} Hz", "sounds", f"r{rate}.wav", _media(brightness=None, rate=rate), (FAULTY,), "no pictures"
        )
    for layout in ("stereo", "5.1", "7.1"):
        make = _media(brightness=None, rate=48_000, layout=layout)
        yield Damage(f"{layout} channels", "sounds", f"c{layout}.wav", make, (FAULTY,), "no pictures")
    x = tone(220, 1)
    odd = x.copy()
    odd[100:200], odd[300:400] = np.nan, np.inf
    kinds = {
        "8 bits": _wave(1, RATE, (128 + 127 * x).astype(np.uint8).tobytes()),
        "32 bits": _wave(4, RATE, (2e9 * x).astype("<i4").tobytes()),
        "floats": _wave(4, RATE, x.astype("<f4").tobytes(), 3),
        "floats that are not finite": _wave(4, RATE, odd.astype("<f4").tobytes(), 3),
        "floats of 1e30": _wave(4, RATE, (1e30 * x).astype("<f4").tobytes(), 3),
    }
    for place, (name, make) in enumerate(kinds.items()):
        outcomes = (FAILED,) if "1e30" in name else (FAULTY,)
        yield Damage(name, "sounds", f"kind{place}.wav", make, outcomes, "no pictures")
    yield Damage("one sample", "sounds", "one.wav", _wave(2, RATE, b"\0\x10"), (FAULTY, FAILED))


def _times() -> Iterator[Damage]:
    intervals: dict[str, tuple[dict[str, float], tuple[str, ...], str]] = {
        "behind the end": ({"start": 7, "end": 8}, (FAILED,), "it begins at 7 s"),
        "beyond the end": ({"start": 0.5, "end": 9}, (FAULTY,), "before its stated end"),
        "end before start": ({"start": 0.8, "end": 0.2}, (FAILED,), "give a start from 0 on"),
        "before the beginning": ({"start": -3, "end": 0.5}, (FAILED,), "give a start from 0 on"),
        "of no length": ({"start": 0.5, "end": 0.5}, (FAILED,), "give a start from 0 on"),
        "of a microsecond": ({"start": 0.5, "end": 0.500001}, ANY, ""),
        "in a thousand years": ({"start": 3e10}, (FAILED,), "give a start from 0 on"),
    }
    for place, (name, (interval, outcomes, told)) in enumerate(intervals.items()):
        yield Damage(f"an interval {name}", "times", f"time{place}.mp4", _media(), outcomes, told, interval)
    late = _pictures_at([36_000_000 + place for place in range(10)])
    yield Damage("times that begin at 1000 hours", "times", "late.mkv", late, (FAULTY, FAILED))


def _names() -> Iterator[Damage]:
    names = (
        "你好世界",
        "עברית",
        "😀",
        "with two  spaces",
        "-leading",
        "%d%s",
        "a'b\"c",
        "file:x",
        "$(touch executed)",
        "é",
        "w" * 150,
    )
    for name in names:
        yield Damage(f"called {name[:20]}", "names", f"{name}.wav", _media(brightness=None), (FAULTY,), "no pictures")


def _long() -> Iterator[Damage]:
    """Three hours that are small: silence compresses, and one picture a minute is little."""
    told = "it is cut after 60 s"
    yield Damage("3 hours of sound", "3 hours", "long.flac", _hours_of_sound, (FAULTY,), told)
    late = {"start": HOURS * 3600 - 90.0, "end": HOURS * 3600 - 80.0}
    yield Damage("the end of 3 hours of sound", "3 hours", "late.flac", _hours_of_sound, (FAULTY,), "no pictures", late)
    pictures = _pictures_at([600 * minute for minute in range(60 * HOURS)])
    yield Damage("3 hours of pictures", "3 hours", "long.mp4", pictures, (FAULTY,), told)
    yield Damage("the end of 3 hours of pictures", "3 hours", "late.mp4", pictures, (FAULTY,), "^no sound$", late)


def _hours_of_sound(path: Path, _sources: Sources) -> None:
    rate, piece = 8000, 8000 * 60
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("flac", rate=rate)
        stream.layout = "mono"
        x = np.zeros((1, piece), np.int16)
        x[0, ::400] = 3000  # 20 clicks a second
        for place in range(60 * HOURS):
            sound = av.AudioFrame.from_ndarray(x, format="s16", layout="mono")
            sound.sample_rate, sound.pts = rate, place * piece
            container.mux(stream.encode(sound))
        container.mux(stream.encode())


def portrait(width: int) -> Any:
    """The photograph that matplotlib brings."""
    image = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    return np.asarray(image.resize((width, round(image.height * width / image.width))))


def beside(*portraits: Any, width: int = 640, height: int = 360) -> Any:
    """Portraits on grey, each from its left edge on."""
    picture = np.full((height, width, 3), 110, np.uint8)
    for left, own in portraits:
        rows, columns = min(height, own.shape[0]), min(width - left, own.shape[1])
        picture[:rows, left : left + columns] = own[:rows, :columns]
    return picture


def _faces() -> Iterator[Damage]:
    if importlib.util.find_spec("facenet_pytorch") is None:
        return
    large, small = portrait(280), portrait(150)
    told = {
        "no face": beside(),
        "one face": beside((100, large)),
        "several faces": beside((30, large), (450, small)),
        "half a face": beside((540, large)),
    }
    for place, (name, picture) in enumerate(told.items()):
        outcomes, fault = ((FAILED,), "no face") if name == "no face" else (READ, "" if place != 2 else "several faces")
        make = partial(lambda path, _sources, seen: write_pictures(path, [seen] * 3), seen=picture)
        yield Damage(
            name, "faces", f"face{place}.mp4", make, (*outcomes, FAILED) if place == 3 else outcomes, fault, faces=True
        )


def listings() -> list[Listing]:
    """All tables."""
    good = "path,text\na.wav,so good\nb.wav,schön\n"
    twice = "path,id\na.wav,x\nb.wav,x\n"
    many = "path\n" + "a.wav\n" * 3
    header = "path,start,end,id\n"
    return [
        Listing("UTF-8", good.encode(), "", 0),
        Listing("UTF-8 with a mark", good.encode("utf-8-sig"), "", 0),
        Listing("UTF-16", good.encode("utf-16"), "UTF-8"),
        Listing("cp1252", good.encode("cp1252"), "row 3 is not in UTF-8"),
        Listing("GB 18030", "path,text\na.wav,你好\n".encode("gb18030"), "row 2 is not in UTF-8"),
        Listing("Shift JIS", "path,text\na.wav,感情\n".encode("shift-jis"), "row 2 is not in UTF-8"),
        Listing("line ends of Windows", good.replace("\n", "\r\n").encode(), "", 0),
        Listing("line ends of an old Mac", good.replace("\n", "\r").encode(), "", 0),
        Listing("an id twice", twice.encode(), "row 2 and row 3 have the same id"),
        Listing("a file three times without ids", many.encode(), "have the same id"),
        Listing("a time that is none", (header + "a.wav,soon,,x\n").encode(), "row 2 has the time 'soon'"),
        Listing("a time that is no number", (header + "a.wav,nan,,x\n").encode(), "row 2 has the time 'nan'"),
        Listing("a time without end", (header + "a.wav,0,inf,x\n").encode(), "row 2 has the time 'inf'"),
        Listing("a time of 1e300", (header + "a.wav,1e300,,x\nb.wav,,,y\n").encode(), "give a start from 0 on", 1),
        Listing("a time of 400 digits", (header + f"a.wav,{'9' * 400},,x\n").encode(), "row 2 has the time"),
        Listing("a path that leads out", b"path\n../../../../etc/passwd\na.wav\n", "no recording|no file", 1),
        Listing("an absolute path", b"path\n/etc/passwd\na.wav\n", "no recording|no file", 1),
        Listing("a device", b"path\n/dev/zero\na.wav\n", "no file|regular", 1),
        Listing("an address", b"path\nhttp://127.0.0.1:9/c.mp4\na.wav\n", "there is no file", 1),
        Listing("a protocol", b"path\nconcat:a.wav|b.wav\na.wav\n", "there is no file", 1),
        Listing("a command", b"path\n|touch executed\na.wav\n", "there is no file", 1),
        Listing("a formula", b"path,text\na.wav,\"=cmd|'/c calc'!A0\"\n", "", 0),
        Listing("a file that is not there", b"path\nc.wav\na.wav\n", "there is no file", 1),
        Listing("no file in a row", b"path,text\n,so\na.wav,so\n", "row 2 names no file"),
        Listing("zeros in a text", b"path,text\na.wav,so\0good\n", "row 2"),
        Listing("zeros in a path", b"path\na.wav\0\n", "row 2"),
        Listing("signs that steer a terminal in an id", b"path,id\na.wav,\x1b[2Jx\n", "odd characters"),
        Listing("a quote that does not end", b'path,text\na.wav,"so\nb.wav,good\n', "cannot be read as CSV"),
        Listing("a cell too many", b"path,text\na.wav,so,good\n", "row 2 has another number of columns"),
        Listing("a cell too few", b"path,text\na.wav\n", "row 2 has another number of columns"),
        Listing("semicolons", b"path;text\na.wav;so\n", "columns apart by commas"),
        Listing("nothing", b"", "has no column path"),
        Listing("a first line alone", b"path,text\n", "has no row"),
        Listing("a text of a megabyte", b"path,text\na.wav," + b"so " * 350_000 + b"\n", "cannot be read as CSV"),
        Listing("an id of a megabyte", b"path,id\na.wav," + b"x" * 100_000 + b"\n", "odd characters"),
        Listing("a column twice", b"path,text,Text\na.wav,so,good\n", "two columns text"),
        Listing("words among numbers", b"path,label\na.wav,1\nb.wav,good\n", "row 3 has 'good' in label"),
        Listing("a label that is no number", b"path,label\na.wav,1\nb.wav,nan\n", "row 3 has 'nan' in label"),
        Listing("a split that is none", b"path,split\na.wav,other\nb.wav,test\n", "row 2 is of the split 'other'"),
        Listing("a split here and there", b"path,split\na.wav,train\nb.wav,\n", "row 3 has no split"),
        Listing("2000 classes", _classes(), "classes may be"),
    ]


def _classes() -> bytes:
    return b"path,label,id\n" + b"".join(f"a.wav,word{place},{place}\n".encode() for place in range(2000))


def write_pair(folder: Path) -> None:
    """The recordings beside a table."""
    for name in "ab":
        with wave.open(str(folder / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, RATE, RATE, "NONE", ""))
            file.writeframes((8000 * tone(220, 0.5)).astype("<i2").tobytes())
