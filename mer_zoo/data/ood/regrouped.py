"""Writing the samples of a corpus in new splits, as a store; the source stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.arrays import StoredArray, open_at
from mer_zoo.data.corpus.conversation import Conversation
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.files.drafts import Draft, HeardDraft, SplitDraft
from mer_zoo.data.files.heard import HEARD_TEXT
from mer_zoo.data.ood.partition import Ints
from mer_zoo.data.ood.pool import Pool
from mer_zoo.data.store.cache import lock, remove_parts
from mer_zoo.data.store.files import check_room, write_arrays, write_features, write_small
from mer_zoo.data.store.fingerprint import regrouped_sha256
from mer_zoo.data.store.progress import progress_bar
from mer_zoo.data.store.store import unfinished_store
from mer_zoo.errors import MERError

__all__ = ["Regrouped", "check_free", "write_regrouped"]


class Regrouped(NamedTuple):
    """Samples in new splits.

    Args:
        corpus: What they are of.
        pool: All N of them.
        splits: (N,) place of the split that each is in from now on.
        names: Names of the splits.
    """

    corpus: Corpus
    pool: Pool
    splits: Ints
    names: Sequence[str]


def check_free(source: Path, dest: Path) -> None:
    """Refuse a place where something is, or in the source.

    Args:
        source: The corpus.
        dest: Where the store is to be.

    Raises:
        MERError: If it is taken.
    """
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise MERError(f"{dest} exists and is not empty; give a new folder, so that nothing is overwritten")
    if dest.resolve().is_relative_to(source.resolve()):
        raise MERError(f"{dest} lies inside {source}, which is not to be changed; give a folder outside of it")


def write_regrouped(
    regrouped: Regrouped, source: Path, dest: Path, note: str, save: Callable[[Path], None], progress: bool
) -> None:
    """Write a store, whole or not at all.

    Args:
        regrouped: What is written.
        source: The corpus.
        dest: The store.
        note: What the store says of its splits.
        save: Writes what else is to stand in the store.
        progress: Whether to show a progress bar.

    Raises:
        MERError: If it cannot be written.
    """
    corpus, pool, splits, names = regrouped
    draft = Draft(aligned=corpus.aligned, vocab_size=corpus.vocab_size, notes=[*corpus.notes, note])
    draft.told, draft.made_by = corpus.meaning, dict(corpus.made_by)
    try:
        with lock(dest.parent / f".{dest.name}.lock") as exclusive:
            if exclusive:
                remove_parts(dest)
            check_free(source, dest)  # again, since finding the splits took its time
            with unfinished_store(dest, source, draft) as folder:
                size = sum(array.nbytes for part in pool.parts for array in part.features.values())
                with progress_bar(f"writing {dest.name}", check_room(size, source, folder), progress) as advance:
                    for place, name in enumerate(names):
                        draft.splits[name] = _write_split(folder, name, pool, np.flatnonzero(splits == place), advance)
                save(folder)
                draft.sha256 = regrouped_sha256(corpus.sha256, {name: part.ids for name, part in draft.splits.items()})
    except OSError as error:
        raise MERError(f"{dest} cannot be written ({error}); give another folder") from error


def _write_split(folder: Path, name: str, pool: Pool, rows: Ints, advance: Any) -> SplitDraft:
    features = {}
    for key, first in pool.parts[0].features.items():
        file = folder / f"{name}.{key}.npy"
        blocks = pool.array([part.features[key] for part in pool.parts], rows)
        write_features(file, (len(rows), *first.shape[1:]), blocks, advance)
        features[key] = StoredArray.from_npy(partial(open_at, file, 0), file.stat().st_size, str(file))

    def small(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate(arrays)[rows]

    spans = {key: small([part.spans[key] for part in pool.parts]) for key in pool.parts[0].spans}
    tokens = [part.token_ids for part in pool.parts if part.token_ids is not None]
    texts = [text for part in pool.parts for text in part.raw_text]
    told = Conversation.joined([(len(part), part.conversation) for part in pool.parts])
    draft = SplitDraft(
        ids=[pool.ids[row] for row in rows],
        raw_text=[texts[row] for row in rows],
        features=features,
        tokens=small(tokens) if tokens else None,
        labels=pool.labels[rows],
        unimodal={key: values[rows] for key, values in pool.unimodal().items()},
        conversation=told.take(rows.tolist()),
    )
    write_small(folder, name, spans, draft.tokens, draft.labels, draft.unimodal)
    draft.heard = _write_heard(folder, name, pool, rows, advance)
    return draft


def _write_heard(folder: Path, name: str, pool: Pool, rows: Ints, advance: Any) -> HeardDraft | None:
    """What was heard, where it is told of all samples in one form."""
    heard = [part.heard for part in pool.parts if part.heard is not None]
    features = [one.features for one in heard if one.features is not None]
    tokens = [one.token_ids for one in heard if one.token_ids is not None]
    shapes = {array.shape[1:] for array in features}
    if len(heard) < len(pool.parts) or len(features) not in (0, len(heard)) or len(shapes) > 1:
        return None
    texts = [text for one in heard for text in one.raw_text]
    draft = HeardDraft([texts[row] for row in rows])
    small = {f"{HEARD_TEXT}.spans": np.concatenate([one.span for one in heard])[rows]}
    if len(tokens) == len(heard) and len({ids.shape[1] for ids in tokens}) == 1:
        draft.tokens = small[f"{HEARD_TEXT}.tokens"] = np.concatenate(tokens)[rows]
    if features:
        file = folder / f"{name}.{HEARD_TEXT}.npy"
        write_features(file, (len(rows), *features[0].shape[1:]), pool.array(features, rows), advance)
        draft.features = StoredArray.from_npy(partial(open_at, file, 0), file.stat().st_size, str(file))
    write_arrays(folder, name, small)
    return draft
