"""Markdown that stands elsewhere in the repository: notebooks with their stored outputs, changelog, contributing."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["site_links", "write_markdown"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
COPIED = {ROOT / "CHANGELOG.md": "changelog", ROOT / "CONTRIBUTING.md": "contributing"}
ELSEWHERE = {path: f"generated/markdown/{name}.md" for path, name in COPIED.items()}
ELSEWHERE |= {path: f"generated/markdown/{path.stem}.md" for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
ELSEWHERE |= {ROOT / "README.md": "index.md", ROOT / "LICENSE": "licence.md"}


def site_links(text: str, folder: Path) -> str:
    """Links between files of the repository, as links between pages of the site.

    Args:
        text: Markdown.
        folder: Where its file stands, to which its links are relative.

    Example:
        >>> site_links("[try it](../notebooks/01_quickstart.ipynb), [data](data.md#shapes)", DOCS)
        '[try it](/generated/markdown/01_quickstart.md), [data](/data.md#shapes)'
    """

    def page(found: re.Match[str]) -> str:
        path = (folder / found[1]).resolve()
        known = ELSEWHERE.get(path) or (path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else None)
        return f"](/{known}{found[2] or ''})" if known and path.exists() else found[0]

    return re.sub(r"\]\((?!\w+:|/|#)([^)#\s]+)(#[^)]*)?\)", page, text)


def write_markdown(folder: Path) -> None:
    """Write a page for each file that stands elsewhere."""
    for path, name in COPIED.items():
        (folder / f"{name}.md").write_text(site_links(path.read_text(encoding="utf-8"), path.parent), encoding="utf-8")
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n\n".join(
            block for i, cell in enumerate(cells) for block in _cell(cell, folder / f"{path.stem}_{i}.png")
        )
        (folder / f"{path.stem}.md").write_text(f"{site_links(text, path.parent)}\n", encoding="utf-8")


def _cell(cell: dict[str, Any], picture: Path) -> Iterator[str]:
    """Markdown of a cell and of its outputs; its picture, if it has one, is written."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield source
        return
    yield f"```python\n{source}\n```"
    for output in cell["outputs"]:
        shown = output.get("data", {})
        if "image/png" in shown:
            picture.write_bytes(base64.b64decode("".join(shown["image/png"])))
            yield f"![output of the cell above]({picture.name})"
        elif "text/markdown" in shown:
            yield "".join(shown["text/markdown"])
        elif text := "".join(shown.get("text/plain", output.get("text", []))):
            yield f"```text\n{text.rstrip()}\n```"
