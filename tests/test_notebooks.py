"""The notebooks run from top to bottom, and what is committed shows it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MAX_BYTES = 300_000
read: Any = nbformat.read  # it has no types

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.stem))


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def pictures(notebook: Any) -> list[bytes]:
    return [base64.b64decode(o.data["image/png"]) for o in outputs(notebook) if "image/png" in o.get("data", {})]


def tables(notebook: Any) -> list[str]:
    shown = [o.data["text/markdown"] for o in outputs(notebook) if "text/markdown" in o.get("data", {})]
    return [text for text in shown if "majority class" in text]


def check(notebook: Any) -> None:
    """Every cell has run, one table and at least one picture came of it, and nothing was complained about."""
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert [o for o in outputs(notebook) if o.output_type in ("error", "stream")] == []
    assert pictures(notebook)
    assert all(picture.startswith(b"\x89PNG") for picture in pictures(notebook))
    assert len(tables(notebook)) == 1


def test_both_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["01_quickstart", "02_wrap_your_own_backbone"]


@each_notebook
def test_is_committed_with_its_outputs(path: Path) -> None:
    check(read(path, as_version=4))
    text = path.read_text(encoding="utf-8")
    assert len(text) < MAX_BYTES
    assert not [folder for folder in ("/tmp/", "/home/", "/root/", "/opt/", "/Users/") if folder in text]


@pytest.mark.slow
@each_notebook
def test_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs on a few samples, in a fresh folder: a notebook needs nothing but the package."""
    monkeypatch.setenv("MER_ZOO_NOTEBOOK_FAST", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = read(path, as_version=4)
    shown = len(pictures(notebook)), tables(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    check(notebook)
    assert len(pictures(notebook)) == shown[0]
    assert tables(notebook) != shown[1]  # these are the outputs of this run
