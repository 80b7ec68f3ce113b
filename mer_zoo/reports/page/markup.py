"""Elements of a page; text gets into them by :func:`mer_zoo.text.in_html` alone."""

from __future__ import annotations

from mer_zoo.reports.measured import parse_figure
from mer_zoo.reports.tables import Table
from mer_zoo.text import in_html

__all__ = ["element", "folded", "html_table"]


def element(tag: str, content: str, **attributes: str) -> str:
    """An element around markup.

    Args:
        tag: Its tag.
        content: Markup.
        **attributes: Their values are text; an underscore stands for a hyphen, one at the end for nothing.

    Example:
        >>> element("p", in_html("a < b"), class_="note")
        '<p class="note">a &lt; b</p>'
    """
    named = "".join(f' {_attribute(name)}="{in_html(value)}"' for name, value in attributes.items())
    return f"<{tag}{named}>{content}</{tag}>"


def folded(title: str, content: str, is_open: bool = False) -> str:
    """Markup that unfolds below a title.

    Args:
        title: Text.
        content: Markup.
        is_open: Whether it is unfolded at first.
    """
    return f"<details{' open' if is_open else ''}>{element('summary', in_html(title))}{content}</details>"


def html_table(table: Table, captioned: bool = True) -> str:
    """A table whose columns a reader can sort by.

    Args:
        table: The table.
        captioned: Whether its title is seen above it.

    Example:
        >>> html_table(Table("Accuracy", ["model", "IID"], [["MulT", "83.1"]])).count("<button")
        2
    """
    heads = [
        element(
            "th",
            element("button", in_html(name or "row"), type="button"),
            scope="col",
            class_="name" if place < table.names else "figure",
        )
        for place, name in enumerate(table.header)
    ]
    rows = [element("tr", "".join(_cells(table, place))) for place in range(len(table.rows))]
    parts = [
        element("caption", in_html(table.title), **({} if captioned else {"class_": "unseen"})),
        element("thead", element("tr", "".join(heads))),
        element("tbody", "\n".join(rows)),
    ]
    # the region can be scrolled by keys, which only something with a place in the tab order can
    scrolled = {"class_": "wide", "tabindex": "0", "role": "region", "aria_label": table.title}
    notes = "".join(element("p", in_html(note), class_="note") for note in table.notes)
    return element("div", element("table", "\n".join(parts)), **scrolled) + notes


def _attribute(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _cells(table: Table, row: int) -> list[str]:
    cells = []
    for column, text in enumerate(table.rows[row]):
        content = in_html(text)
        if (row, column) in table.best:
            content = element("strong", content)
        elif (row, column) in table.second:
            content = element("em", content)
        if column < table.names:
            cells.append(element("th", content, scope="row"))
        else:
            figure = parse_figure(text) or {}
            key = figure.get("value") or figure.get("difference") or figure.get("low") or ""
            cells.append(element("td", content, data_key=key))
    return cells
