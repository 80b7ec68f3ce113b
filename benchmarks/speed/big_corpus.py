"""A corpus of CMU-MOSEI's shapes in MMSA's format, of random numbers, written without being held in memory."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MOSEI", "SHAPES", "split_sizes", "write_corpus"]

MOSEI = {"train": 16326, "valid": 1871, "test": 4659}
SHAPES = {"text": (50, 768), "audio": (500, 74), "vision": (500, 35)}
RATES = {"text": 2.6, "audio": 20.0, "vision": 15.0}  # steps a second; an assumption, as is the spread of durations
SECONDS, SPREAD = 7.3, 0.6
BLOCK = 64  # samples
WORDS = np.array(
    [
        "so",
        "i",
        "think",
        "this",
        "movie",
        "was",
        "really",
        "not",
        "that",
        "good",
        "but",
        "the",
        "ending",
        "made",
        "me",
        "cry",
    ]
)

Array = npt.NDArray[Any]


class _Streamed:
    """Stands for a float64 array that is drawn while it is written."""

    def __init__(self, lengths: npt.NDArray[np.int64], shape: tuple[int, int], seed: list[int]) -> None:
        self.lengths, self.shape, self.seed = lengths, (len(lengths), *shape), seed

    def blocks(self) -> Iterator[Array]:
        rng, time = np.random.default_rng(self.seed), np.arange(self.shape[1])
        for start in range(0, len(self.lengths), BLOCK):
            lengths = self.lengths[start : start + BLOCK]
            block = np.zeros((len(lengths), *self.shape[1:]))
            inside = time < lengths[:, None]
            block[inside] = rng.standard_normal((int(inside.sum()), self.shape[2]), dtype=np.float32)
            yield block


class _Payload:
    """The bytes of such an array, inside its pickled state."""

    def __init__(self, array: _Streamed) -> None:
        self.array = array


class _StreamingPickler(pickle._Pickler):
    """Writes streamed arrays as numpy's own, block by block; the rest as ever."""

    def __init__(self, file: Any, advance: Callable[[int], None]) -> None:
        super().__init__(file, 4)
        self.advance = advance

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Streamed):
            rebuild: Any = np.empty(0).__reduce__()
            version, _, dtype, fortran, _ = rebuild[2]
            state = (version, obj.shape, dtype, fortran, _Payload(obj))
            self.save_reduce(rebuild[0], rebuild[1], state)  # type: ignore[attr-defined]
        elif isinstance(obj, _Payload):
            framer = self.framer  # type: ignore[attr-defined]
            framer.commit_frame(force=True)
            framer.file_write(pickle.BINBYTES8 + (8 * int(np.prod(obj.array.shape))).to_bytes(8, "little"))
            for block in obj.array.blocks():
                framer.file_write(block.data)
                self.advance(block.nbytes)
        else:
            super().save(obj, save_persistent_id)  # type: ignore[misc]


def split_sizes(samples: int) -> dict[str, int]:
    """Share out samples among the splits as in CMU-MOSEI."""
    total = sum(MOSEI.values())
    return {name: round(samples * count / total) for name, count in MOSEI.items()}


def write_corpus(
    path: Path,
    sizes: dict[str, int],
    seed: int = 0,
    full: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the pickle.

    Args:
        path: The file to make.
        sizes: Samples of each split.
        seed: Equal seeds give equal files.
        full: Whether every sample has full length instead of lengths drawn around 7.3 seconds.
        advance: Told of every further bytes written.
    """
    tree = {name: _split(name, count, [seed, place], full) for place, (name, count) in enumerate(sizes.items())}
    with path.open("wb") as file:
        _StreamingPickler(file, advance).dump(tree)


def _split(name: str, count: int, seed: list[int], full: bool) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    seconds = SECONDS * rng.lognormal(-(SPREAD**2) / 2, SPREAD, count)
    lengths = {}
    for key, (steps, _) in SHAPES.items():
        drawn = np.clip((seconds * RATES[key]).astype(np.int64), 1, steps)
        lengths[key] = np.full(count, steps) if full else drawn
    tokens = np.zeros((count, 3, SHAPES["text"][0]), dtype=np.float32)
    tokens[:, 1] = np.arange(tokens.shape[2]) < lengths["text"][:, None]
    tokens[:, 0] = tokens[:, 1] * rng.integers(1000, 30000, tokens[:, 1].shape)
    labels = rng.uniform(-3, 3, count).astype(np.float32)
    features = {
        key: _Streamed(lengths[key], shape, [*seed, place + 1]) for place, (key, shape) in enumerate(SHAPES.items())
    }
    return {
        "raw_text": np.array([" ".join(rng.choice(WORDS, 12)) for _ in range(count)]),
        "audio": features["audio"],
        "vision": features["vision"],
        "id": np.array([f"{name}{row // 10}$_${row % 10}" for row in range(count)]),
        "text": features["text"],
        "text_bert": tokens,
        "audio_lengths": lengths["audio"].tolist(),
        "vision_lengths": lengths["vision"].tolist(),
        "annotations": np.array(["Negative", "Neutral", "Positive"])[np.sign(labels).astype(int) + 1],
        "classification_labels": np.sign(labels) + 1,
        "regression_labels": labels,
    }
