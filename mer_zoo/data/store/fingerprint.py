"""Fingerprints of data: SHA-256 of what a corpus was read from, or of what was generated."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.corpus import SplitData
from mer_zoo.data.files.heard import HEARD_TEXT
from mer_zoo.data.files.sources import source_files

__all__ = ["labelling_sha256", "regrouped_sha256", "source_sha256", "splits_sha256"]

_CHUNK = 2**20  # bytes


def source_sha256(source: Path) -> str:
    """SHA-256 of a source, which is read once, a chunk at a time.

    Args:
        source: A file, whose own digest comes back, or a folder, of which names and digests of its files are digested.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "corpus.pkl"
        >>> _ = file.write_bytes(b"abc")
        >>> source_sha256(file)[:8]
        'ba7816bf'
    """
    if not source.is_dir():
        return _file_sha256(source)
    lines = [f"{_file_sha256(file)}  {file.relative_to(source).as_posix()}\n" for file in source_files(source)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_sha256(file: Path) -> str:
    digest, buffer = hashlib.sha256(), bytearray(_CHUNK)
    with file.open("rb", buffering=0) as opened:
        while count := opened.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()


def regrouped_sha256(source: str | None, ids: Mapping[str, Sequence[str]]) -> str | None:
    """SHA-256 of samples of a corpus in other splits; None where the corpus has no fingerprint.

    Args:
        source: Fingerprint of the corpus.
        ids: Sample ids of each split.
    """
    if source is None:
        return None
    lines = [source, *(f"{name} {sample!r}" for name, samples in ids.items() for sample in samples)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def labelling_sha256(folder: Path, splits: Mapping[str, Mapping[str, Any]], told: Mapping[str, Any]) -> str:
    """SHA-256 of what is small in a store, ids, texts, labels and the like; features are too large to read twice.

    Args:
        folder: The store.
        splits: Ids, texts and speakers of each split, as its index has them.
        told: What the index says about the meaning of labels; nothing in stores of earlier versions.

    Raises:
        OSError: If an array can't be read.
    """
    digest = hashlib.sha256()
    for name, about in splits.items():
        parts = [f"{modality}.spans" for modality in MODALITIES] + [f"labels.{modality}" for modality in MODALITIES]
        parts += [f"{HEARD_TEXT}.spans", f"{HEARD_TEXT}.tokens"]
        for key in ("labels", "tokens", *parts):
            file = folder / f"{name}.{key}.npy"
            if file.is_file():
                digest.update(f"{name}.{key} {_file_sha256(file)}\n".encode())
        digest.update(json.dumps([about["ids"], about["raw_text"]]).encode())
        told_of = ("speaker", "dialogue", "turn", HEARD_TEXT)
        spoken = {key: about[key] for key in told_of if about.get(key) is not None}
        if spoken:
            digest.update(json.dumps(spoken, sort_keys=True).encode())
    if told:
        digest.update(json.dumps(told, sort_keys=True).encode())
    return digest.hexdigest()


def splits_sha256(splits: Mapping[str, SplitData]) -> str:
    """SHA-256 of arrays in memory: names, types, shapes and content.

    Args:
        splits: By name.

    Example:
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> one, other = (generate(SyntheticConfig(train=4, valid=2, test=2, seed=seed)) for seed in (0, 1))
        >>> splits_sha256(one.splits) == splits_sha256(other.splits)
        False
    """
    digest = hashlib.sha256()
    for name, split in splits.items():
        arrays: dict[str, npt.NDArray[Any] | None] = {
            "tokens": split.token_ids,
            "labels": split.labels,
            **split.features,
        }
        arrays |= {f"{key} spans": spans for key, spans in split.spans.items()}
        arrays |= {f"{key} labels": labels for key, labels in split.unimodal.items()}
        if (heard := split.heard) is not None:
            arrays |= {f"{HEARD_TEXT} spans": heard.span, HEARD_TEXT: heard.features}
            arrays |= {f"{HEARD_TEXT} tokens": heard.token_ids}
        for key, array in arrays.items():
            if array is not None:
                digest.update(f"{name} {key} {array.dtype.str} {array.shape}\n".encode())
                digest.update(np.ascontiguousarray(array).data)
        texts = [*split.raw_text, *([] if heard is None else heard.raw_text)]
        digest.update("\n".join([*split.ids, *texts]).encode("utf-8", "surrogatepass"))
        if told := dict(split.conversation):
            digest.update(json.dumps(told).encode())
    return digest.hexdigest()
