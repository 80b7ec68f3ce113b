from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.data.store import cache, store
from mer_zoo.data.store.cache import lock
from mer_zoo.data.store.files import write_features
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


def test_a_store_that_came_along_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MER_ZOO_CACHE")
    path = corpora.dump(corpora.mmsa(0), tmp_path / "corpus.pkl")
    labels = corpora.mmsa(0)["train"]["regression_labels"]
    open_corpus(path)
    (name,) = stores(tmp_path / ".mer_zoo_cache")
    made = tmp_path / ".mer_zoo_cache" / name
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another user"))
    np.save(made / "train.labels.npy", -labels)  # under the right name, with the right fingerprint
    np.testing.assert_array_equal(open_corpus(path).split("train").labels, labels)
    assert stores(tmp_path / ".mer_zoo_cache") == [name]


def test_a_sound_store_of_another_user_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MER_ZOO_CACHE")
    path = corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl")
    open_corpus(path)
    (name,) = stores(tmp_path / ".mer_zoo_cache")
    before = (tmp_path / ".mer_zoo_cache" / name).stat().st_ino
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another user"))
    open_corpus(path)
    assert (tmp_path / ".mer_zoo_cache" / name).stat().st_ino == before
    monkeypatch.setattr(store, "write_store", lambda *_: pytest.fail("converted again"))
    open_corpus(path)


@pytest.mark.parametrize("beside", [False, True])
def test_a_store_under_the_name_of_another_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    monkeypatch.delenv("MER_ZOO_CACHE")
    cache = None if beside else tmp_path / "cache"
    one, other = (corpora.dump(corpora.mmsa(seed), tmp_path / f"{seed}.pkl") for seed in (0, 1))
    open_corpus(one, cache)
    open_corpus(other, cache)
    folder = cache or tmp_path / ".mer_zoo_cache"
    first, second = stores(folder)
    shutil.rmtree(folder / first)
    (folder / second).rename(folder / first)
    labels = corpora.mmsa(0)["train"]["regression_labels"]
    np.testing.assert_array_equal(open_corpus(one, cache).split("train").labels, labels)


def test_a_source_of_equal_size_and_time_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = corpora.dump(corpora.mmsa(0), tmp_path / "corpus.pkl")
    open_corpus(path)
    before, size = path.stat().st_mtime_ns, path.stat().st_size
    tree = corpora.mmsa(0)
    tree["train"]["regression_labels"][:] *= -1
    path.unlink()
    corpora.dump(tree, path)
    os.utime(path, ns=(before, before))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, before)
    np.testing.assert_array_equal(open_corpus(path).split("train").labels, tree["train"]["regression_labels"])


def test_a_cache_folder_that_is_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MER_ZOO_CACHE")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".mer_zoo_cache").symlink_to(tmp_path / "elsewhere")
    open_corpus(corpora.dump(corpora.mmsa(), tmp_path / "corpus.pkl"))
    assert stores(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("way", ["renamed over", "written over"])
def test_a_source_that_changes_while_it_is_converted_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    path = corpora.dump(corpora.mmsa(0), tmp_path / "corpus.pkl")
    before = path.stat().st_mtime_ns

    def changing(file: Path, *rest: Any) -> None:
        if file.name == "valid.audio.npy":
            new = corpora.dump(corpora.mmsa(1), tmp_path / "new.pkl")
            if way == "renamed over":
                new.replace(path)
            else:
                path.write_bytes(new.read_bytes())
            os.utime(path, ns=(before, before))
        write_features(file, *rest)

    monkeypatch.setattr(store, "write_features", changing)
    with pytest.raises(MERError, match=r"corpus\.pkl has changed while it was read"):
        open_corpus(path, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    monkeypatch.undo()
    labels = corpora.mmsa(1)["train"]["regression_labels"]
    np.testing.assert_array_equal(open_corpus(path, cache_dir=tmp_path / "cache").split("train").labels, labels)


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


def test_whoever_waits_says_so_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cache, "WORD", 0.1)
    monkeypatch.setattr(cache, "PATIENCE", 0.4)
    place = tmp_path / "store.lock"
    refused = pytest.raises(MERError, match=rf"another process has held {place} for .* hours")
    with lock(place), refused, lock(place):
        pass
    assert capsys.readouterr().err == f"mer-zoo: waiting for another process, which holds {place}\n"
    with lock(place) as exclusive:
        assert exclusive
