"""CMU-MOSI spoken and heard: its sentences said by a synthesiser, transcribed, and both texts read by an encoder.

Whatever is done lies in a folder, so that a command that was stopped goes on: ``wav/`` what was said, ``SETTING.jsonl``
what was heard at one setting of the recogniser, and ``SETTING.pkl`` a corpus with both texts. Audio and vision are
those of the file: the voices carry no emotion.
"""

from __future__ import annotations

import argparse
import copy
import json
import pickle
import time
import wave
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.signal import resample_poly  # type: ignore[import-untyped]

from benchmarks.studies.spoken_words import spelt, training_prompt, word_errors
from benchmarks.studies.voices import Spoken, save, speak
from mer_zoo.clips.pretrained import PretrainedWords
from mer_zoo.clips.weights import WEIGHTS, weights_folder
from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.data.files.heard import HEARD_FEATURES, HEARD_LENGTHS, HEARD_TEXT
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError
from mer_zoo.reports.tables import Table
from mer_zoo.runs.files import whole_file

VOICES = ("en-us", "en-us+f3", "en-gb-x-rp+m3")  # two Americans and an Englishman
SLOWEST, SPEEDS = 140, 61  # words a minute
LOWEST, PITCHES = 35, 31
RATE = 16_000
LONGEST = 50  # words that are read
CONTRACTED = (
    "i'm i've don't didn't doesn't can't won't isn't wasn't weren't aren't couldn't wouldn't shouldn't haven't hasn't"
    " hadn't ain't that's there's he's she's you're they're you've we've they've what's where's who's here's let's"
    " you'll they'll it'll that'll you'd they'd"
)
ALOUD = {word.replace("'", ""): word for word in CONTRACTED.split()}  # the file has no apostrophes


class Clip(NamedTuple):
    """One sentence.

    Args:
        name: Its id.
        text: What is said.
        voice: Who says it.
    """

    name: str
    text: str
    voice: str


class Heard(NamedTuple):
    """What was heard of a sentence.

    Args:
        text: As the recogniser writes it.
        length: Seconds of sound.
        seconds: Of one processor that it took.
    """

    text: str
    length: float
    seconds: float


def clips_of(split: SplitData) -> list[Clip]:
    """The sentences of a split; those of a recording have one voice."""
    recordings = [name.partition("$_$")[0] for name in split.ids]
    voices = [VOICES[zlib.crc32(recording.encode()) % len(VOICES)] for recording in recordings]
    return [Clip(*clip) for clip in zip(split.ids, split.raw_text, voices, strict=True)]


def say(clip: Clip, file: Path) -> None:
    """Write a sentence as sound, at the speed and pitch that its id draws."""
    drawn = zlib.crc32(clip.name.encode())
    text = " ".join(ALOUD.get(word, word) for word in clip.text.split())
    speed, pitch = SLOWEST + drawn % SPEEDS, LOWEST + (drawn >> 8) % PITCHES
    said = speak(text, clip.voice, speed, pitch)
    samples = resample_poly(said.samples.astype(np.float64), RATE, said.rate)
    with whole_file(file) as part:
        save(part, Spoken(np.clip(samples, -(2**15), 2**15 - 1).astype(np.int16), RATE))


def asked(options: argparse.Namespace, corpus: Corpus) -> argparse.Namespace:
    """The options, with what the recogniser is told."""
    if not options.told:
        return options
    return argparse.Namespace(**{**vars(options), "prompt": training_prompt(corpus.split("train").raw_text)})


def setting_of(options: argparse.Namespace) -> str:
    """The name of a setting of the recogniser."""
    is_prompted = bool(options.prompt) and not options.told
    parts = {"-vad": options.vad, "-times": options.times, "-prompt": is_prompted, "-told": options.told}
    return f"beam{options.beam}" + "".join(name for name, is_on in parts.items() if is_on)


def options_of(beam: int, vad: bool, prompt: str, times: bool) -> dict[str, Any]:
    """A setting, as faster-whisper takes it."""
    return {
        "beam_size": beam,
        "vad_filter": vad,
        "initial_prompt": prompt or None,
        "without_timestamps": not times,
    }


class Recogniser:
    """Whisper at one setting.

    Args:
        model: A name of ``mer_zoo.clips.weights``, or a folder of CTranslate2's.
        beam: Readings that are followed at a time.
        vad: Whether what is no voice is left out first.
        prompt: What it is told to have heard before.
        times: Whether it writes times between the words.
    """

    def __init__(self, model: str, beam: int, vad: bool, prompt: str, times: bool = False) -> None:
        import faster_whisper  # an extra

        folder = weights_folder(model) if model in WEIGHTS else model
        self.model: Any = faster_whisper.WhisperModel(str(folder), "cpu", compute_type="int8", cpu_threads=1)
        self.options = options_of(beam, vad, prompt, times)

    def otherwise(self, beam: int, vad: bool, prompt: str, times: bool) -> Recogniser:
        """The same model at another setting."""
        other = copy.copy(self)
        other.options = options_of(beam, vad, prompt, times)
        return other

    def __call__(self, file: Path) -> Heard:
        """Transcribe a file of :func:`say`."""
        with wave.open(str(file)) as sound:
            samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 2**15
        begun = time.process_time()
        segments, _ = self.model.transcribe(
            samples,
            language="en",
            temperature=0.0,
            condition_on_previous_text=False,
            **self.options,
        )
        text = " ".join(segment.text.strip() for segment in segments)
        return Heard(text, round(len(samples) / RATE, 3), round(time.process_time() - begun, 3))


def read_heard(file: Path) -> dict[str, Heard]:
    """What was heard at a setting, by the ids of the clips; a line that was cut short is left out."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[row["id"]] = Heard(row["heard"], row["length"], row["seconds"])
    return found


def hear(clips: Sequence[Clip], folder: Path, options: argparse.Namespace) -> dict[str, Heard]:
    """Say and transcribe what is not transcribed yet."""
    file = folder / f"{setting_of(options)}.jsonl"
    known = read_heard(file)
    left = [clip for clip in clips if clip.name not in known]
    listen = Recogniser(options.whisper, options.beam, options.vad, options.prompt, options.times) if left else None
    (folder / "wav").mkdir(exist_ok=True)
    for clip in left:
        sound = folder / "wav" / f"{clip.name}.wav"
        if not sound.exists():
            say(clip, sound)
        assert listen is not None
        known[clip.name] = found = listen(sound)
        with file.open("a", encoding="utf-8") as opened:
            row = {"id": clip.name, "heard": found.text, "length": found.length, "seconds": found.seconds}
            opened.write(json.dumps(row) + "\n")
    return known


def write_corpus(corpus: Corpus, heard: dict[str, Heard], dest: Path, encoder: str, as_heard: bool) -> None:
    """Write the corpus with features of both texts, as MMSA's files are.

    Args:
        corpus: The corpus.
        heard: What was heard of each clip.
        dest: The file.
        encoder: A name of ``mer_zoo.clips.weights``, or a pretrained encoder of words.
        as_heard: Whether what was heard keeps its capital letters and punctuation.
    """
    words = PretrainedWords(str(weights_folder(encoder)) if encoder in WEIGHTS else encoder)
    tree: dict[str, Any] = {}
    for name, split in corpus.splits.items():
        texts = [heard[sample].text if as_heard else spelt(heard[sample].text) for sample in split.ids]
        text, _ = _read(split.raw_text, words)
        features, lengths = _read(texts, words)
        second = {HEARD_TEXT: texts, HEARD_FEATURES: features, HEARD_LENGTHS: lengths}
        tree[name] = {"id": split.ids, "raw_text": split.raw_text, "text": text, **_others(split), **second}
    with whole_file(dest) as part, part.open("wb") as file:
        pickle.dump(tree, file, protocol=5)


def _others(split: SplitData) -> dict[str, Any]:
    """Audio and vision with their lengths, and the labels."""
    found: dict[str, Any] = {"regression_labels": np.asarray(split.labels)}
    for key in ("audio", "vision"):
        found[key] = np.asarray(split.features[key])
        found[f"{key}_lengths"] = np.asarray(split.spans[key][:, 1])
    return found


def _read(texts: Sequence[str], words: PretrainedWords) -> tuple[npt.NDArray[np.float32], list[int]]:
    """(N, LONGEST, D) a step a word, and how many."""
    states = np.zeros((len(texts), LONGEST, words.spec.dim), np.float32)
    lengths = []
    for row, text in enumerate(texts):
        known = text.split()[:LONGEST]
        lengths.append(len(known))
        states[row, : len(known)] = words.encode(known)
    return states, lengths


def heard_table(corpus: Corpus, folder: Path) -> Table:
    """What each setting of the recogniser made of the sentences."""
    rows = []
    for file in sorted(folder.glob("*.jsonl")):
        known = read_heard(file)
        for name, split in corpus.splits.items():
            found = [(text, known[id_]) for id_, text in zip(split.ids, split.raw_text, strict=True) if id_ in known]
            if not found:
                continue
            pairs = [(spelt(text).split(), spelt(one.text).split()) for text, one in found]
            wrong = sum(word_errors(*pair) for pair in pairs) / sum(len(said) for said, _ in pairs)
            nothing = sum(not words for _, words in pairs)
            factor = sum(one.seconds for _, one in found) / sum(one.length for _, one in found)
            rows.append([file.stem, name, str(len(found)), f"{100 * wrong:.1f}", str(nothing), f"{factor:.2f}"])
    header = ["setting", "split", "clips", "word error rate (%)", "nothing heard", "seconds a second"]
    return Table("what was heard", header, rows)


def make(options: argparse.Namespace) -> None:
    """Say, hear and read a corpus.

    Raises:
        MERError: If it lacks texts.
    """
    options.dest.mkdir(parents=True, exist_ok=True)
    corpus = open_corpus(options.path, options.dest / "cache")
    if not all(text.strip() for split in corpus.splits.values() for text in split.raw_text):
        raise MERError(f"{options.path} has samples without raw_text; give a file whose sentences can be said")
    splits = options.splits.split(",") if options.splits else list(corpus.splits)
    clips = [clip for name in splits for clip in clips_of(corpus.split(name))]
    heard = hear(clips, options.dest, asked(options, corpus))
    name = f"{setting_of(options)}{'-as-heard' if options.as_heard else ''}.pkl"
    if all(sample in heard for split in corpus.splits.values() for sample in split.ids):
        write_corpus(corpus, heard, options.dest / name, options.encoder, options.as_heard)
    heard_table(corpus, options.dest).show(Console(width=140))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``make``."""
    parser.add_argument("path", type=Path, help="a file of CMU-MOSI with raw_text")
    parser.add_argument("dest", type=Path)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--vad", action="store_true", help="leave out what is no voice")
    parser.add_argument("--prompt", default="", help="what the recogniser is told to have heard before")
    parser.add_argument("--told", action="store_true", help="it is told sentences of the training split")
    parser.add_argument("--times", action="store_true", help="it writes times between the words")
    parser.add_argument("--whisper", default="whisper-tiny.en")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--as_heard", action="store_true", help="keep capital letters and punctuation")
    parser.add_argument("--splits", default="", help="those that are heard; without some of them no corpus is written")
