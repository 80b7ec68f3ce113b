from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.data.store import store
from mer_zoo.data.store.cache import lock
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError


def stores(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_corpus_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl")
    first = open_corpus(path, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(store, "write_store", lambda *_: pytest.fail("converted again"))
    second = open_corpus(path, cache_dir=tmp_path / "cache")
    assert isinstance(second.split("train").features["audio"], np.memmap)
    np.testing.assert_array_equal(first.split("train").features["audio"], second.split("train").features["audio"])
    assert first.notes == second.notes
    assert len(stores(tmp_path / "cache")) == 1


def test_a_changed_source_is_converted_again_and_leftovers_go(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = corpora.dump(corpora.mmsa(0), tmp_path / "corpus.pkl")
    open_corpus(path, cache_dir=cache)
    (old,) = stores(cache)
    (cache / f"{old}.0123abcd.part").mkdir()
    (cache / f"{old}.0123abcd.part" / "train.audio.npy").touch()
    corpora.dump(corpora.mmsa(1), path)
    os.utime(path, ns=(1, 1))
    corpus = open_corpus(path, cache_dir=cache)
    np.testing.assert_array_equal(corpus.split("train").labels, corpora.mmsa(1)["train"]["regression_labels"])
    assert len(stores(cache)) == 1
    assert stores(cache) != [old]


def test_policies_and_sources_of_one_name_do_not_share_a_store(tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        open_corpus(corpora.dump(corpora.mmsa(seed), tmp_path / folder / "x.pkl"), cache_dir=tmp_path / "cache")
    open_corpus(tmp_path / "a" / "x.pkl", cache_dir=tmp_path / "cache", nan="zero")
    assert len(stores(tmp_path / "cache")) == 3


def test_an_own_folder_is_converted_again_when_a_file_changes(tmp_path: Path) -> None:
    path = corpora.write_folder(corpora.mmsa(), tmp_path / "own")
    open_corpus(path)
    np.save(path / "train" / "regression_labels.npy", np.full(8, 2.0))
    np.testing.assert_array_equal(open_corpus(path).split("train").labels, 2.0)


def test_the_cache_lies_beside_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MER_ZOO_CACHE")
    open_corpus(corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl"))
    assert len(stores(tmp_path / ".mer_zoo_cache")) == 1


def test_the_cache_lies_with_the_user_where_the_source_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MER_ZOO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    closed = tmp_path / "closed"
    closed.mkdir()
    path = corpora.dump(corpora.mmsa(), closed / "corpus.pkl")
    closed.chmod(0o555)
    open_corpus(path)
    closed.chmod(0o755)
    assert stores(closed) == ["corpus.pkl"]
    assert len(stores(tmp_path / "user" / "mer_zoo")) == 1


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    path = corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl")
    with pytest.raises(MERError, match="cache folder .* cannot be made .* set MER_ZOO_CACHE"):
        open_corpus(path, cache_dir=path / "below")


def test_several_at_once_convert_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl")
    calls, write = [], store.write_store

    def counted(*args: Any) -> None:
        calls.append(args)
        write(*args)

    monkeypatch.setattr(store, "write_store", counted)
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: open_corpus(path, cache_dir=tmp_path / "cache"), range(8)))
    assert len(calls) == 1
    assert {len(corpus.split("train")) for corpus in opened} == {8}


def test_several_at_once_without_locks_are_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl")
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError("no locks here")))
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: open_corpus(path, cache_dir=tmp_path / "cache"), range(8)))
    assert {len(corpus.split("train")) for corpus in opened} == {8}
    assert len(stores(tmp_path / "cache")) == 1


@pytest.mark.parametrize("kind", ["link to a file", "link to nothing", "text", "folder"])
def test_a_lock_follows_no_link_and_empties_nothing(tmp_path: Path, kind: str) -> None:
    precious, place = tmp_path / "precious.txt", tmp_path / "x.lock"
    precious.write_text("precious")
    if kind == "text":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(precious if kind == "link to a file" else tmp_path / "new")
    with lock(place) as exclusive:
        assert not exclusive
    assert precious.read_text() == "precious"
    assert not (tmp_path / "new").exists()
    assert place.is_symlink() or place.exists()
    assert kind != "text" or place.read_text() == "mine"


def test_a_lock_is_held_until_the_block_ends(tmp_path: Path) -> None:
    place, order = tmp_path / "new" / "x.lock", []

    def wait() -> None:
        with lock(place):
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with lock(place) as exclusive:
            assert exclusive
            waiting = pool.submit(wait)
            time.sleep(0.2)
            order.append("first")
        waiting.result(timeout=10)
    assert order == ["first", "second"]
    assert not place.exists()


def test_a_lock_excludes_all_others(tmp_path: Path) -> None:
    place, inside, most = tmp_path / "x.lock", [], []

    def work(number: int) -> bool:
        with lock(place) as exclusive:
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.001)
            inside.remove(number)
        return exclusive

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(100)))
    assert max(most) == 1
    assert not list(tmp_path.iterdir())
