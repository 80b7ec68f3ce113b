"""Tiny random corpora in every format that users have, sound and broken; nothing in them is real."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import IO, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Tree = dict[str, dict[str, Any]]

SIZES = {"train": 8, "valid": 5, "test": 6}
VIDEOS = {"train": ["_aB-1", "q--Wx"], "valid": ["Zz_09"], "test": ["-pO_i", "M4n$5"]}
WORDS = ["well", "this", "film", "was", "not", "so", "bad"]


class Wrapper:
    """Stands for joblib's NumpyArrayWrapper, so that joblib itself is not needed."""

    def __init__(self, array: Array) -> None:
        self.subclass = np.ndarray
        self.shape = array.shape
        self.order: Literal["F", "C"] = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        self.dtype = array.dtype
        self.allow_mmap = not array.dtype.hasobject
        self.numpy_array_alignment_bytes = 16


class CorpusPickler(pickle._Pickler):
    """Pickles under chosen module names, and arrays as joblib does, without importing what is named."""

    def __init__(self, file: IO[bytes], protocol: int, numpy1: bool = False, joblib: bool = False) -> None:
        super().__init__(file, protocol)
        self.numpy1, self.joblib, self.target, self.protocol = numpy1, joblib, file, protocol

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module, own = obj.__module__ or "builtins", name or obj.__qualname__
        if obj is Wrapper:
            module, own = "joblib.numpy_pickle", "NumpyArrayWrapper"
        if self.numpy1:
            module = module.replace("numpy._core", "numpy.core")
        if self.protocol >= 4:
            self.save(module)
            self.save(own)
            self.write(pickle.STACK_GLOBAL)  # type: ignore[attr-defined]
        else:
            self.write(pickle.GLOBAL + f"{module}\n{own}\n".encode())  # type: ignore[attr-defined]
        self.memoize(obj)  # type: ignore[attr-defined]

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if not self.joblib or type(obj) is not np.ndarray:
            super().save(obj, save_persistent_id)  # type: ignore[misc]
            return
        wrapper = Wrapper(obj)
        super().save(wrapper)  # type: ignore[misc]
        if self.protocol >= 4:
            self.framer.commit_frame(force=True)  # type: ignore[attr-defined]
        if obj.dtype.hasobject:
            pickle.dump(obj, self.target, protocol=2)
            return
        padding = 16 - (self.target.tell() + 1) % 16
        self.target.write(bytes([padding]) + b"\xff" * padding + obj.tobytes(wrapper.order))

    dispatch: ClassVar[dict[type, Any]] = {**pickle._Pickler.dispatch, FunctionType: save_global}


def dump(tree: Any, path: Path, protocol: int = 4, numpy1: bool = False, joblib: bool = False) -> Path:
    with path.open("wb") as file:
        CorpusPickler(file, protocol, numpy1, joblib).dump(tree)
    return path


def sequences(
    rng: np.random.Generator, lengths: Array, steps: int, dim: int, left: bool = False, dtype: str = "f4"
) -> Array:
    """Random features of the given lengths, zero elsewhere; with ``left`` the zeros stand in front."""
    x = np.zeros((len(lengths), steps, dim), dtype)
    for row, length in enumerate(lengths):
        place = slice(steps - length, steps) if left else slice(0, length)
        x[row, place] = rng.normal(size=(length, dim))
    return x


def sentiment(rng: np.random.Generator, count: int) -> Array:
    labels = rng.uniform(-3, 3, count).astype(np.float32)
    labels[:3] = 0.0, 3.0, -3.0
    return labels


def mmsa(seed: int = 0, aligned: bool = False, lists: bool = False, steps: tuple[int, int, int] = (7, 9, 11)) -> Tree:
    """MMSA's keys; aligned files have one length and no ``*_lengths``."""
    rng, tree = np.random.default_rng(seed), {}
    text, audio, vision = (steps[0],) * 3 if aligned else steps
    for split, count in SIZES.items():
        words = rng.integers(1, text - 1, count)
        lengths = {"audio": rng.integers(1, audio + 1, count), "vision": rng.integers(1, vision + 1, count)}
        if aligned:
            lengths = dict.fromkeys(lengths, words + 2)
        tokens = np.zeros((count, 3, text), np.int64 if aligned else np.float32)
        for row, number in enumerate(words):
            tokens[row, 0, 0], tokens[row, 0, number + 1] = 101, 102
            tokens[row, 0, 1 : number + 1] = rng.integers(1000, 2000, number)
            tokens[row, 1, : number + 2] = 1
        labels = sentiment(rng, count)
        fields: dict[str, Any] = {
            "raw_text": np.array([" ".join(rng.choice(WORDS, number)) for number in words]),
            "audio": sequences(rng, lengths["audio"], audio, 3, dtype="f8" if aligned else "f4"),
            "vision": sequences(rng, lengths["vision"], vision, 4, dtype="f8" if aligned else "f4"),
            "id": np.array([f"{VIDEOS[split][row % len(VIDEOS[split])]}$_${row}" for row in range(count)]),
            "text": sequences(rng, words + 2, text, 6),
            "text_bert": tokens,
            "annotations": np.array(["Negative", "Neutral", "Positive"])[np.sign(labels).astype(int) + 1],
            "classification_labels": np.sign(labels) + 1,
            "regression_labels": labels,
        }
        fields["audio"][0, 0, 0] = -np.inf
        if not aligned:
            fields |= {f"{key}_lengths": value.tolist() for key, value in lengths.items()}
        if lists:
            names = ("raw_text", "id", "annotations", "classification_labels", "regression_labels")
            fields |= {name: fields[name].tolist() for name in names}
        tree[split] = fields
    return tree


def mult(corpus: str = "mosi", aligned: bool = True, seed: int = 0) -> Tree:
    """MulT's keys for ``mosi``, ``mosei`` or ``iemocap``; zeros stand in front."""
    rng, tree = np.random.default_rng(seed), {}
    steps = {"text": 6, "audio": 6 if aligned else 8, "vision": 6 if aligned else 9}
    dims = {"text": 5, "audio": 3, "vision": 4}
    for split, count in SIZES.items():
        shared = rng.integers(1, 7, count)
        lengths = {key: shared if aligned else rng.integers(1, steps[key] + 1, count) for key in steps}
        dtypes = {"text": "f4", "audio": "f8" if corpus == "mosei" else "f4", "vision": "f4"}
        fields: dict[str, Any] = {
            key: sequences(rng, lengths[key], steps[key], dims[key], left=True, dtype=dtypes[key]) for key in steps
        }
        fields["audio"][1, -1, 0] = -np.inf
        if corpus == "iemocap":
            present = np.eye(4, dtype=np.int64)[np.arange(count) % 4]
            present[-1] = 0
            fields["labels"] = np.stack([1 - present, present], -1)
        else:
            fields["labels"] = sentiment(rng, count).reshape(count, 1, 1)
            video = VIDEOS[split][0]
            names = [f"{video}_{row}" if corpus == "mosi" else video for row in range(count)]
            rows = [[name, f"{row * 2.5:.2f}", f"{row * 2.5 + 2:.2f}"] for row, name in enumerate(names)]
            fields["id"] = np.array(rows, dtype="S12" if corpus == "mosi" else str)
        tree[split] = fields
    return tree if corpus != "iemocap" else {split: tree[split] for split in ("test", "train", "valid")}


def clips(seed: int = 0) -> dict[str, Any]:
    """Lists of clips, as the released code of MAG-BERT has them."""
    tree = mmsa(seed)
    return {
        split: [
            ((text.split(), vision[:length], audio[:length]), np.array([[label]]), name)
            for text, vision, audio, length, label, name in zip(
                fields["raw_text"].tolist(),
                fields["vision"],
                np.where(np.isfinite(fields["audio"]), fields["audio"], 0),
                fields["audio_lengths"],
                fields["regression_labels"].astype(float),
                fields["id"].tolist(),
                strict=True,
            )
        ]
        for split, fields in tree.items()
    }


class Evil:
    """Creates a file when it is unpickled by a careless reader."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def evil(marker: Path) -> Tree:
    tree = mmsa()
    tree["test"]["annotations"] = Evil(marker)
    return tree


def wrong_keys() -> Tree:
    x = np.ones((4, 3, 2), np.float32)
    return {split: {"txt": x, "acoustic": x, "visual": x, "y": np.ones(4)} for split in ("train", "dev", "test")}


def with_nan() -> Tree:
    """NaN in two samples of train's audio, one whole sample of train's vision, and one cell of test's text."""
    tree = mmsa()
    tree["train"]["audio"][1, 0, 1] = np.nan
    tree["train"]["audio"][2, 0, 2] = np.inf
    tree["train"]["vision"][4] = np.nan
    tree["test"]["text"][0, 1, 0] = np.nan
    return tree


def mismatched() -> Tree:
    """One fault in train, two in valid, one in test."""
    tree = mmsa()
    tree["train"]["audio"] = tree["train"]["audio"][:-1]
    tree["valid"]["audio_lengths"][2] = 999
    tree["valid"]["vision_lengths"][3] = 0
    tree["test"]["vision_lengths"] = tree["test"]["vision_lengths"][:-2]
    return tree


def without(tree: Tree, *fields: str) -> Tree:
    return {
        split: {key: value for key, value in content.items() if key not in fields} for split, content in tree.items()
    }


def write_folder(tree: Tree, path: Path) -> Path:
    """Write a user's own corpus: a folder of split/field.npy."""
    for split, fields in tree.items():
        (path / split).mkdir(parents=True)
        for key, value in fields.items():
            np.save(path / split / f"{key}.npy", value)
    return path


def write_npz(tree: Tree, path: Path) -> Path:
    """Write a user's own corpus: one .npz with members split/field."""
    members = {f"{split}/{key}": value for split, fields in tree.items() for key, value in fields.items()}
    np.savez_compressed(path, **members)
    return path


def write_all(folder: Path) -> dict[str, Path]:
    """Write one file of every kind into a folder and return the paths by name."""
    paths = {
        "mmsa_aligned": dump(mmsa(1, aligned=True), folder / "mmsa_aligned.pkl", 4, numpy1=True),
        "mmsa_unaligned": dump(mmsa(2), folder / "mmsa_unaligned.pkl", 4, numpy1=True),
        "mmsa_lists": dump(mmsa(3, lists=True), folder / "mmsa_lists.pkl", 5),
        "cider": dump(mmsa(4), folder / "cider.joblib.pkl", 4, joblib=True),
        "casp": dump(without(mmsa(5, aligned=True), "classification_labels"), folder / "casp.pkl"),
        "unlabelled": dump(
            without(mmsa(6), "classification_labels", "regression_labels", "annotations"), folder / "unlabelled.pkl"
        ),
        "own_folder": write_folder(mmsa(7), folder / "own"),
        "own_npz": write_npz(mmsa(7), folder / "own.npz"),
    }
    for corpus in ("mosi", "mosei", "iemocap"):
        for aligned, ending in ((True, ""), (False, "_noalign")):
            name = f"mult_{corpus}{ending}"
            paths[name] = dump(mult(corpus, aligned), folder / f"{name}.pkl", 3, numpy1=True)
    return paths
