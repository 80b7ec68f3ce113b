"""Time and memory of `mer-zoo extract` with real weights: by stage for clips as long as CMU-MOSI's, and for long files.

    python -m benchmarks.speed.clips time --csv results/clips_cpu.csv
    python -m benchmarks.speed.clips memory --minutes 5 20 60 --csv results/clips_cpu.csv

Sentences spoken by eSpeak NG beside a drawn face, 480 x 360 at 25 pictures a second: Whisper tiny hears them (beam 5,
voice detected first), MiniLM reads them, MTCNN looks for faces twice a second. The real-time factor is seconds of
processor a second of clip, in one thread, the models loaded: a busy machine moves it little. Memory: a process for each
length; the highest resident size less that after a first short clip. Needs the extras and requirements/clips-demo.txt.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import torch

from benchmarks.options import add_results_options
from benchmarks.speed.timing import in_fresh_process, resident
from benchmarks.studies.voices import VOICES, Spoken, speak
from mer_zoo.clips import Clip, Extractor, Settings
from mer_zoo.clips.drawn import draw_face
from mer_zoo.clips.speech import Hearing
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import write_measured
from mer_zoo.reports.tables import Table

SENTENCES = (
    "This film was great, and the actors were wonderful.",
    "I really did not like the story, it was boring and far too long.",
    "The music was beautiful, but the ending made me sad.",
    "If you liked the first one, you will probably like this one as well, because it is more of the same.",
    "Do not waste your money on it.",
    "My children laughed the whole time, and so did I, although some of the jokes are for grown ups.",
)
WHOLE = Settings(text="minilm", vision="landmarks", speech=Hearing("whisper-tiny.en", language="en"))
STAGES = {
    "words heard, Whisper tiny": Settings("hash", "none", "none", speech=WHOLE.speech),
    "text, MiniLM": Settings("minilm", "none", "none"),
    "audio, mel": Settings("none", "mel", "none"),
    "vision, MTCNN 2 a second": Settings("none", "none", "landmarks"),
    "all": WHOLE,
}
LONG = replace(WHOLE, vision="frame", fps=2.0, longest=24 * 3600.0)
WIDTH, HEIGHT, FPS = 480, 360, 25
MODULE, TIME, MEMORY = "benchmarks.speed.clips", "extraction, by stage", "extraction of a long file"


def write_clip(path: Path, spoken: Spoken, repeats: int = 1, fps: int = FPS) -> float:
    """Write a sentence and a drawn face as mp4, said several times; its seconds.

    Args:
        path: The file.
        spoken: What is said.
        repeats: How often.
        fps: Pictures a second.
    """
    rng = np.random.default_rng(0)
    face = np.kron(draw_face(0.5, 0.5, rng), np.ones((3, 3, 1), np.uint8))
    picture = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    picture[36 : 36 + len(face), 96 : 96 + len(face)] = face
    seconds = len(spoken.samples) / spoken.rate * repeats
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=fps)
        video.width, video.height, video.pix_fmt, video.bit_rate = WIDTH, HEIGHT, "yuv420p", 400_000
        audio = container.add_stream("aac", rate=spoken.rate)
        audio.layout = "mono"
        for place in range(int(seconds * fps)):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, place % 40, 1), format="rgb24")
            frame.pts = place
            container.mux(video.encode(frame))
        container.mux(video.encode())
        for place in range(repeats):
            sound = av.AudioFrame.from_ndarray(spoken.samples[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts = spoken.rate, place * len(spoken.samples)
            container.mux(audio.encode(sound))
        container.mux(audio.encode())
    return seconds


def clips_in(folder: Path, count: int) -> Iterator[tuple[Clip, float]]:
    """Spoken sentences as files, and their seconds."""
    for place in range(count):
        sentence, path = SENTENCES[place % len(SENTENCES)], folder / f"c{place}.mp4"
        yield Clip(path, text=sentence), write_clip(path, speak(sentence, VOICES[place % len(VOICES)]))


def measure_time(count: int) -> Table:
    """Real-time factors by stage."""
    torch.set_num_threads(1)
    rows = []
    with TemporaryDirectory() as folder:
        clips = list(clips_in(Path(folder), count))
        total = sum(seconds for _, seconds in clips)
        for name, settings in STAGES.items():
            extractor = Extractor(settings)
            own = [replace(clip, text=None) if settings.speech else clip for clip, _ in clips]
            extractor(own[0])
            start = time.process_time()
            for clip in own:
                extractor(clip)
            spent = time.process_time() - start
            rows.append([name, f"{spent / total:.3f}", f"{spent / count:.2f}"])
            sys.stdout.write(f"{rows[-1]}\n")
    header = ["stage", "seconds of processor a second of clip", "seconds a clip"]
    return Table(f"{count} clips, {total / count:.1f} s on average", header, rows)


def measure_memory(minutes: Sequence[int]) -> Table:
    """What long files take beyond a short one."""
    rows = []
    for length in minutes:
        found = json.loads(in_fresh_process(MODULE, "child", "--minutes", str(length)).splitlines()[-1])
        rows.append([f"{length:g}", f"{found['growth'] / 2**20:.0f}", f"{found['peak'] / 2**20:.0f}", found["words"]])
        sys.stdout.write(f"{rows[-1]}\n")
    header = ["minutes", "beyond a short clip, MiB", "whole process, MiB", "words heard"]
    return Table("Memory of long files", header, rows)


def child(minutes: int) -> None:
    """What the fresh process does: extract a short clip, then a long one."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as name:
        folder = Path(name)
        spoken = speak(" ".join(SENTENCES[:2]))
        write_clip(folder / "short.mp4", spoken, fps=5)
        repeats = round(60 * minutes / (len(spoken.samples) / spoken.rate))
        write_clip(folder / "long.mp4", spoken, repeats, fps=5)
        extractor = Extractor(LONG)
        extractor(Clip(folder / "short.mp4"))
        before = max(resident("VmRSS"), resident("VmHWM"))
        found = extractor(Clip(folder / "long.mp4"))
    peak = resident("VmHWM")
    sys.stdout.write(json.dumps({"growth": peak - before, "peak": peak, "words": str(len(found.text.split()))}))


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "memory", "child"])
    parser.add_argument("--clips", type=int, default=18, help="how many are timed (default: 18)")
    parser.add_argument("--minutes", type=int, nargs="+", default=[5, 20, 60], help="lengths of long files")
    add_results_options(parser)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Measure what is asked for."""
    options = parser().parse_args(args)
    if options.what == "child":
        child(options.minutes[0])
        return
    table = measure_time(options.clips) if options.what == "time" else measure_memory(options.minutes)
    if options.csv is not None:
        words = "time" if options.what == "time" else f"memory --minutes {' '.join(map(str, options.minutes))}"
        about = {"device": "CPU, one thread", "commit": options.commit, "command": f"python -m {MODULE} {words}"}
        write_measured(options.csv, figures_of(table, TIME if options.what == "time" else MEMORY, **about))


if __name__ == "__main__":
    main()
