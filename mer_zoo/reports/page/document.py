"""The page as a whole."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files

from mer_zoo.reports.groups import Group
from mer_zoo.reports.page.markup import element, html_table
from mer_zoo.reports.page.settings import settings
from mer_zoo.reports.pictures.style import BAND, COLOURS, FAINT, GRID, INK, Picture, svg
from mer_zoo.reports.tables import Table
from mer_zoo.text import in_html

__all__ = ["document", "page"]

# the variables of style.css that stand for the colours of pictures, which so follow the page into the dark
_NAMES = {"#FFFFFF": "paper", INK: "ink", FAINT: "faint", GRID: "grid", BAND: "band"}
_NAMES |= {colour: f"series-{place}" for place, colour in enumerate(COLOURS)}
_VARIABLES = {colour.lower(): f"var(--{name})" for colour, name in _NAMES.items()}
_NOWHERE = "base-uri 'none'; form-action 'none'"
_COLOUR = re.compile("|".join(_VARIABLES))


def page(metric: str, tables: Sequence[Table], pictures: Sequence[Picture], groups: Sequence[Group]) -> str:
    """Write a comparison as a page.

    Args:
        metric: What it is about.
        tables: Its tables.
        pictures: Its pictures.
        groups: The models.
    """
    more = {"settings": ("Runs and their configurations", settings(groups))}
    return document(f"Comparison by {metric}", _about(groups), tables, pictures, more)


def document(
    title: str,
    about: str,
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    more: Mapping[str, tuple[str, str]] | None = None,
) -> str:
    """Write a page: everything is in it, and nothing is fetched or run that comes from elsewhere.

    Args:
        title: Its heading.
        about: What stands below that.
        tables: Its tables.
        pictures: Its pictures, of which the first stands above the tables.
        more: Further sections, by name their heading and markup.
    """
    style, script = (files(__package__).joinpath(name).read_text("utf-8") for name in ("style.css", "sort.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; {_NOWHERE}"
    parts = {
        **{f"picture-{picture.name}": (picture.caption.rstrip("."), _figure(picture)) for picture in pictures[:1]},
        **{
            f"table-{place}": (table.title, html_table(table, captioned=False)) for place, table in enumerate(tables, 1)
        },
        **{f"picture-{picture.name}": (picture.caption.rstrip("."), _figure(picture)) for picture in pictures[1:]},
        **(more or {}),
    }
    contents = [element("li", element("a", in_html(title), href=f"#{name}")) for name, (title, _) in parts.items()]
    sections = [
        element("section", element("h2", in_html(title)) + body, id=name) for name, (title, body) in parts.items()
    ]
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        element("title", in_html(title)),
        f"<style>{style}</style>",
    ]
    body = [
        element("header", element("h1", in_html(title)) + element("p", in_html(about))),
        element("nav", element("ul", "\n".join(contents)), aria_label="Contents"),
        element("main", "\n".join(sections)),
        '<p id="told" class="unseen" role="status"></p>',
        f"<script>{script}</script>",
    ]
    lines = ["<!DOCTYPE html>", '<html lang="en">', element("head", "\n".join(head)), element("body", "\n".join(body))]
    return "\n".join([*lines, "</html>", ""])


def _about(groups: Sequence[Group]) -> str:
    runs = [run for group in groups for run in group.runs]
    told = {
        "": f"{_counted(len(groups), 'model')}, {_counted(len(runs), 'run')}",
        "data": " and ".join(sorted({str(run.data["corpus"]) for run in runs if run.data.get("corpus")})),
        "task": " and ".join(sorted({run.task for run in runs if run.task})),
        "convention": " and ".join(sorted({run.convention for run in runs})),
        "made by": f"mer_zoo {version('mer-zoo')}",
    }
    return " · ".join(f"{name} {value}".strip() for name, value in told.items() if value)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _figure(picture: Picture) -> str:
    drawn = _COLOUR.sub(lambda colour: _VARIABLES[colour[0]], svg(picture.figure, picture.name))
    return element("figure", drawn.replace("<svg", f'<svg role="img" aria-label="{in_html(picture.caption)}"', 1))
