"""A store described as a file is, so that the same checks and tables are of both."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from mer_zoo.data.corpus.arrays import StoredArray, open_at
from mer_zoo.data.corpus.corpus import SplitData
from mer_zoo.data.corpus.heard import HeardText
from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.files.about import compare_labels
from mer_zoo.data.files.drafts import Draft, HeardDraft, SplitDraft
from mer_zoo.data.files.heard import HEARD_TEXT
from mer_zoo.data.store.store import open_store

__all__ = ["describe_splits", "describe_store"]


def describe_store(path: Path, told: Meaning | None = None) -> Draft:
    """Describe a store whose splits can be used.

    Args:
        path: The folder.
        told: What the user says about the meaning of its labels.

    Raises:
        MERError: If it is damaged, or its splits share samples.
    """
    corpus = open_store(path, str(path))
    draft = Draft(
        describe_splits(path, corpus.splits),
        corpus.aligned,
        corpus.vocab_size,
        notes=list(corpus.notes),
        sha256=corpus.sha256,
        told=corpus.meaning,
    )
    compare_labels(draft, told)
    return draft


def describe_splits(folder: Path, splits: Mapping[str, SplitData]) -> dict[str, SplitDraft]:
    """Describe splits whose features are still in the files of a store.

    Args:
        folder: The store.
        splits: Its splits, opened.
    """
    found = {}
    for name, split in splits.items():
        files = {key: folder / f"{name}.{key}.npy" for key in split.features}
        features = {key: _stored(file) for key, file in files.items()}
        found[name] = SplitDraft(
            split.ids,
            split.raw_text,
            features,
            tokens=split.token_ids,
            token_spans=split.spans["text"],
            labels=split.labels,
            unimodal=dict(split.unimodal),
            conversation=split.conversation,
            heard=_heard(folder / f"{name}.{HEARD_TEXT}.npy", split.heard),
        )
    return found


def _heard(file: Path, heard: HeardText | None) -> HeardDraft | None:
    if heard is None:
        return None
    features = None if heard.features is None else _stored(file)
    return HeardDraft(heard.raw_text, features, tokens=heard.token_ids, token_spans=heard.span)


def _stored(file: Path) -> StoredArray:
    return StoredArray.from_npy(partial(open_at, file, 0), file.stat().st_size, str(file))
