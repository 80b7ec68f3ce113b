from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest

from mer_zoo.data.convert import convert
from mer_zoo.data.store import store
from mer_zoo.data.store.files import write_small
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked and killed")

MOMENTS = ("lock held", "first numbers", "one split", "before corpus.json", "half of corpus.json", "before renaming")
PATIENCE = 300  # seconds, for a machine that does much else


def digest(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_half_way(content: Any, file: Any) -> None:
    file.write('{"version": 1')
    file.flush()
    die()


def die_after_one(function: Callable[..., Any]) -> Callable[..., Any]:
    done: list[Any] = []

    def once(*args: Any) -> Any:
        if done:
            die()
        done.append(args)
        return function(*args)

    return once


def die_at(moment: str) -> None:
    """Prepare this process to die by SIGKILL at a moment of its next conversion."""
    places: dict[str, tuple[Any, str, Any]] = {
        "lock held": (store, "read_draft", die),
        "first numbers": (store, "write_features", lambda *args: die(args[0].write_bytes(b"\x93NUMPY"))),
        "one split": (store, "_write_split", die_after_one(store._write_split)),
        "before corpus.json": (store, "_write_meta", die),
        "half of corpus.json": (json, "dump", die_half_way),
        "before renaming": (store, "_publish", die),
        "old store moved away": (store, "_publish", move_old_and_die),
        "renamed": (shutil, "rmtree", die),
        "lock to be released": (Path, "unlink", die),
    }
    place, name, fault = places[moment]
    assert hasattr(place, name)
    setattr(place, name, fault)


def move_old_and_die(unfinished: Path, target: Path, replace: bool) -> None:
    renamed = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path == unfinished:
            die()
        return renamed(path, target)

    Path.rename = rename  # type: ignore[assignment,method-assign]
    original_publish(unfinished, target, replace)


original_publish = store._publish


def fork(function: Callable[..., Any], *args: Any) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=function, args=args)
    process.start()
    return process


def end(process: BaseProcess) -> int | None:
    process.join(PATIENCE)
    return process.exitcode


def killed(moment: str, function: Callable[..., Any], *args: Any) -> None:
    def run() -> None:
        die_at(moment)
        function(*args)

    assert end(fork(run)) == -signal.SIGKILL, "the fault was not injected"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, dict[str, str], dict[str, str]]:
    """An old and a new corpus, and what their stores should be."""
    old, new = (corpora.dump(corpora.mmsa(seed), tmp_path / f"{seed}.pkl") for seed in (0, 1))
    (tmp_path / "undisturbed").mkdir()
    for source in (old, new):
        convert(source, tmp_path / "undisturbed" / source.stem, progress=False)
    before, after = (digest(tmp_path / "undisturbed" / source.stem) for source in (old, new))
    assert before != after
    return old, new, before, after


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_conversion_on_first_use_is_begun_anew(tmp_path: Path, files: Any, moment: str) -> None:
    _, source, _, expected = files
    folder = tmp_path / "cache"
    killed(moment, open_corpus, source, folder)
    leftovers = [entry for entry in folder.iterdir() if entry.is_dir()]
    assert all(entry.suffix == ".part" for entry in leftovers)
    assert bool(leftovers) == (moment != "lock held")
    assert len(open_corpus(source, folder).split("train")) == 8
    (only,) = folder.iterdir()
    assert digest(only) == expected


@pytest.mark.parametrize("moment", [*MOMENTS, "old store moved away", "renamed", "lock to be released"])
def test_a_killed_replacement_leaves_a_whole_store_or_none(tmp_path: Path, files: Any, moment: str) -> None:
    old, new, before, after = files
    dest = tmp_path / "stores" / "mosi"
    convert(old, dest, progress=False)
    bystander = dest.with_name("mosi.new-kept.part")
    bystander.mkdir()
    killed(moment, convert, new, dest, "error", False, True)
    if moment == "old store moved away":
        with pytest.raises(MERError, match="does not exist"):
            open_corpus(dest)
    else:
        open_corpus(dest)
        assert digest(dest) == (after if moment in ("renamed", "lock to be released") else before)
    convert(new, dest, progress=False, overwrite=True)
    assert digest(dest) == after
    assert sorted(entry.name for entry in dest.parent.iterdir()) == ["mosi", "mosi.new-kept.part"]


def test_processes_that_convert_at_once_make_one_store(tmp_path: Path, files: Any) -> None:
    _, source, _, expected = files
    folder, context = tmp_path / "cache", multiprocessing.get_context("fork")
    start = context.Barrier(3)

    def run() -> None:
        start.wait(PATIENCE)
        assert len(open_corpus(source, folder).split("train")) == 8

    processes = [fork(run) for _ in range(3)]
    assert [end(process) for process in processes] == [0, 0, 0]
    (only,) = folder.iterdir()
    assert digest(only) == expected


def test_processes_that_convert_to_one_place_leave_one_whole_store(tmp_path: Path, files: Any) -> None:
    old, new, before, after = files
    dest, context = tmp_path / "stores" / "mosi", multiprocessing.get_context("fork")
    start = context.Barrier(2)

    def run(source: Path) -> None:
        start.wait(PATIENCE)
        for _ in range(5):
            convert(source, dest, progress=False, overwrite=True)

    processes = [fork(run, source) for source in (old, new)]
    assert [end(process) for process in processes] == [0, 0]
    assert digest(dest) in (before, after)
    assert [entry.name for entry in dest.parent.iterdir()] == ["mosi"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let every write beyond a size fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the disk turn out to be full when written pages are to reach it."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        yield


@pytest.mark.parametrize("way", ["write", "fsync"])
@pytest.mark.parametrize("kind", ["first use", "convert"])
def test_a_disk_that_fills_up_is_named_and_leaves_nothing(
    tmp_path: Path, files: Any, monkeypatch: pytest.MonkeyPatch, way: str, kind: str
) -> None:
    old, new, before, _ = files
    dest, folder = tmp_path / "stores" / "mosi", tmp_path / "cache"
    convert(old, dest, progress=False)
    cause, full = {
        "write": ("File too large", files_of_at_most(300)),
        "fsync": ("No space left on device", nothing_left(monkeypatch)),
    }[way]
    place = {"first use": "/cache/1.pkl-", "convert": "/stores/mosi"}[kind]
    replace = partial(convert, new, dest, progress=False, overwrite=True)
    run: Callable[[], object] = partial(open_corpus, new, folder) if kind == "first use" else replace
    message = rf"{place}\S* cannot be written \({cause}\), for which 0\.0 GB \(8,588 bytes\) are needed; make room"
    with full, pytest.raises(MERError, match=message):
        run()
    assert not folder.exists()
    assert [entry.name for entry in dest.parent.iterdir()] == ["mosi"]
    assert digest(dest) == before


def test_small_arrays_tell_why_they_cannot_be_written(tmp_path: Path) -> None:
    with files_of_at_most(300), pytest.raises(OSError, match="File too large") as caught:
        write_small(tmp_path, "train", {}, np.zeros((50, 50), dtype=np.int32), None, {})
    assert caught.value.errno == errno.EFBIG
