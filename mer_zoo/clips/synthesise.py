"""SyntheticMER as recordings: the words are spoken, and the emotion is in a voice and in a drawn face.

The same structural causal model as :mod:`mer_zoo.data.synthetic`: the same words, emotions and topics, and so the same
confounder, its reverse (test_ood) and its randomised trial (test_rct). What replaces the sequences of numbers is a mood
for the voice and one for the face, each the emotion's shift with noise of its own, so that either helps and none
decides.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mer_zoo.clips.drawn import RATE, SIDE, draw_face, speak
from mer_zoo.clips.media import need_av
from mer_zoo.data.synthetic.generate import generate, latents
from mer_zoo.data.synthetic.scm import SPLITS, SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.runs.files import whole_file, write_rows

__all__ = ["main", "sizes_of", "synthesise"]

TABLE = "clips.csv"
FPS = 10
NOISE = 0.7  # deviation of a mood, where the emotions are 1 apart
BLINK = 3.0  # openings of the mouth a second


def synthesise(dest: str | Path, config: SyntheticConfig | None = None) -> Path:
    """Write recordings and their table.

    Args:
        dest: A folder, new or empty.
        config: The causal model, and how many samples each split has; as many as :func:`sizes_of` 60 by default. What
            the strengths of audio and vision are is not used: they are the deviation of the moods.

    Returns:
        The table, which ``mer-zoo extract`` takes.

    Raises:
        MERError: If the folder holds something, or PyAV is not installed.

    Example:
        >>> synthesise(__file__)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: ... is not an empty folder; give a new one
    """
    dest, config = Path(dest).expanduser(), config or sizes_of(60)
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise MERError(f"{dest} is not an empty folder; give a new one")
    av = need_av()
    corpus = generate(config, "continuous")
    rows = []
    for place, split in enumerate(SPLITS):
        rng = np.random.default_rng([config.seed, 1 + place])
        samples, hidden = corpus.split(split), latents(config, split)
        labels: Any = samples.labels
        for row, name in enumerate(samples.ids):
            shift = float(hidden.emotion[row] - 1)
            voice, face = (
                rng.normal(shift if start[row] >= 0 else 0.0, NOISE)
                for start in (hidden.audio_start, hidden.vision_start)
            )
            text = samples.raw_text[row]
            path = dest / "media" / f"{name}.mp4"
            with whole_file(path) as part:
                _write(av, part, speak(text.split(), voice, rng), face, rng)
            rows.append(
                {"id": name, "path": f"media/{name}.mp4", "split": split, "text": text, "label": f"{labels[row]:.3f}"}
            )
    write_rows(dest / TABLE, list(rows[0]), rows)
    return dest / TABLE


def sizes_of(clips: int, config: SyntheticConfig | None = None) -> SyntheticConfig:
    """Half of the clips train, a tenth validates, the rest are the three tests.

    Args:
        clips: How many in all.
        config: What else is varied.

    Raises:
        MERError: For fewer than ten.

    Example:
        >>> config = sizes_of(60)
        >>> config.train, config.valid, config.test
        (30, 6, 8)
    """
    if clips < 10:
        raise MERError(f"clips is {clips}; give at least 10, as there are five splits")
    return replace(
        config or SyntheticConfig(), train=clips // 2, valid=clips // 10, test=(clips - clips // 2 - clips // 10) // 3
    )


def _write(av: Any, path: Path, voice: Any, mood: float, rng: np.random.Generator) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=FPS)
        video.width, video.height, video.pix_fmt, video.bit_rate = SIDE, SIDE, "yuv420p", 400_000
        video.codec_context.thread_count = 1
        audio = container.add_stream("aac", rate=RATE)
        audio.layout = "mono"
        for place in range(len(voice) * FPS // RATE):
            opened = 0.5 + 0.5 * np.sin(2 * np.pi * BLINK * place / FPS)
            picture = av.VideoFrame.from_ndarray(draw_face(mood, opened, rng), format="rgb24")
            picture.pts = place
            container.mux(video.encode(picture))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(voice[None], format="fltp", layout="mono")
        sound.sample_rate, sound.pts = RATE, 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode())


def main(args: list[str]) -> None:
    """Run ``mer-zoo synthesise``.

    Args:
        args: Command line after the word synthesise.

    Raises:
        MERError: If the recordings can't be written.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo synthesise", description="Recordings whose causal model is known.", allow_abbrev=False
    )
    parser.add_argument("dest", type=Path, help="a new folder")
    parser.add_argument("--clips", type=int, default=60, help="how many in all (default: 60)")
    parser.add_argument("--rho", type=float, default=0.8, help="how often the topic agrees with the emotion")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default: 0)")
    options = parser.parse_args(args)
    table = synthesise(options.dest, sizes_of(options.clips, SyntheticConfig(rho=options.rho, seed=options.seed)))
    sys.stdout.write(f"written: {table}; next, mer-zoo extract {table} features.pkl\n")
