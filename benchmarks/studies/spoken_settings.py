"""What settings of a recogniser make of the same sentences; chosen by these, of a split that is not the test."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.options import add_results_options
from benchmarks.studies import spoken_clips
from benchmarks.studies.spoken_words import spelt, word_errors
from mer_zoo.data.store.store import open_corpus
from mer_zoo.metrics.resampling import resamplings
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import write_measured
from mer_zoo.reports.tables import Table

REVIEW = "This is a review of a movie."
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "five readings": {},
    "one reading": {"beam": 1},
    "ten readings": {"beam": 10},
    "five, with times between the words": {"times": True},
    "five, told that a movie is reviewed": {"prompt": REVIEW},
    "five, told sentences of the training split": {"told": True},
    "five, what is no voice left out": {"vad": True},
}
BENCHMARK = "CMU-MOSI spoken: settings"
DRAWS = 2000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``settings``."""
    parser.add_argument("path", type=Path, help="a file of CMU-MOSI with raw_text")
    parser.add_argument("dest", type=Path, help="the folder of make")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--every", type=int, default=2, help="one of as many sentences is heard")
    parser.add_argument("--whisper", default="whisper-tiny.en")
    add_results_options(parser)


def compare(options: argparse.Namespace) -> None:
    """Hear some sentences at all settings, and print and keep what is wrong in them."""
    (options.dest / "wav").mkdir(parents=True, exist_ok=True)
    corpus = open_corpus(options.path, options.dest / "cache")
    clips = spoken_clips.clips_of(corpus.split(options.split))[:: options.every]
    asked = {name: _asked(options, corpus, own) for name, own in SETTINGS.items()}
    first = spoken_clips.Recogniser(options.whisper, 5, False, "")
    first.model.encode = remembered(first.model.encode)
    ears = {name: first.otherwise(own.beam, own.vad, own.prompt, own.times) for name, own in asked.items()}
    wrong: dict[str, list[int]] = {name: [] for name in ears}
    for clip in clips:
        sound = options.dest / "wav" / f"{clip.name}.wav"
        if not sound.exists():
            spoken_clips.say(clip, sound)
        said = spelt(clip.text).split()
        for name, listen in ears.items():
            wrong[name].append(word_errors(said, spelt(listen(sound).text).split()))
    groups = [clip.name.partition("$_$")[0] for clip in clips]
    table = errors_table(wrong, [len(spelt(clip.text).split()) for clip in clips], groups)
    table.show(Console(width=140))
    if options.csv is not None:
        about = {"device": "CPU", "commit": options.commit, "clusters": str(len(set(groups)))}
        about["command"] = (
            f"python -m benchmarks.studies.spoken_mosi settings {options.path.name} runs/spoken --split {options.split}"
            f" --every {options.every}"
        )
        write_measured(options.csv, figures_of(table, BENCHMARK, "", next(iter(SETTINGS)), **about))


def _asked(options: argparse.Namespace, corpus: Any, own: Mapping[str, Any]) -> argparse.Namespace:
    plain = {"beam": 5, "vad": False, "prompt": "", "told": False, "times": False, "whisper": options.whisper}
    return spoken_clips.asked(argparse.Namespace(**{**plain, **own}), corpus)


def remembered(encode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What encodes, and gives the same again for the same sound: nearly all of the time goes there."""
    known: dict[bytes, Any] = {}

    def encode_once(features: Any) -> Any:
        key = np.ascontiguousarray(features).tobytes()
        if key not in known:
            known.clear()
            known[key] = encode(features)
        return known[key]

    return encode_once


def errors_table(wrong: Mapping[str, list[int]], words: list[int], groups: list[str]) -> Table:
    """Word error rates, and differences to the first setting with intervals that draw recordings.

    Args:
        wrong: Errors in each sentence, by setting.
        words: Words of each sentence.
        groups: The recording of each.
    """
    places = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    times = resamplings(len(places), DRAWS, seed=0).double().numpy()[:, [places[name] for name in groups]]
    base = next(iter(wrong.values()))
    rows = []
    for name, own in wrong.items():
        rate = 100 * sum(own) / sum(words)
        shift = 100 * (times @ (np.array(own) - np.array(base))) / (times @ np.array(words))
        low, high = np.quantile(shift[:-1], [0.025, 0.975])
        told = "" if own is base else f" ({shift[-1]:+.1f} [{low:.1f}, {high:.1f}])"
        rows.append([name, f"{rate:.1f}{told}"])
    note = f"{len(words)} sentences; in brackets against the first, with 95 % intervals that count recordings."
    return Table("settings of the recogniser", ["setting", "word error rate (%)"], rows, [note])
