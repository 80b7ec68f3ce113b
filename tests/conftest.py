"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import corpora
import pytest


@pytest.fixture(scope="session")
def corpus_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of one tiny random corpus of every format; see :func:`corpora.write_all` for the names."""
    return corpora.write_all(tmp_path_factory.mktemp("corpora"))


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep converted corpora out of the user's caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MER_ZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user")))
        yield


@pytest.fixture(autouse=True)
def _no_global_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what ``seed_everything`` of an earlier test left behind,
    so that a test does not depend on those before it.
    """
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and trials are processes of their own, but for the import; see :mod:`forks`."""
    import forks  # it takes torch, for which many tests do not ask

    for module in ("mer_zoo.cli.reproduce.runner", "mer_zoo.cli.sweeps.jobs"):
        monkeypatch.setattr(f"{module}.subprocess", forks.subprocesses())
