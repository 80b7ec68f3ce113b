"""The text of docstrings as reStructuredText.

Module docstrings are written to be read in the file: a heading that ends in a colon, and below it, indented, bullets,
two columns aligned by spaces, or sentences. Asterisks and bars in them are meant as such. This module makes bold
headings, bullets and tables of that, and leaves alone what is markup already: literals, roles, a word between
asterisks, doctests, directives.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from docstring_parser import parse

__all__ = ["Part", "arguments", "escape", "escape_lines", "parts", "render", "summary", "table", "without_arguments"]

_MARKUP = re.compile(r"``.+?``|:[\w:]+:`[^`]+`|`[^`]+`_{0,2}|(?<![\w*])\*[A-Za-z]+\*(?![\w*])", re.DOTALL)
_LABEL = re.compile(r"(?P<title>[A-Z][^:;,.(`]{1,70})(?P<rest>[^:.]*?):(?: (?P<text>.*))?$", re.DOTALL)
_GAP = re.compile(r"(?<=\S) {2,}(?=\S)")


@dataclass
class Part:
    """A heading, what stands behind it on its line, and the blocks below it.

    Attributes:
        title: The heading, empty for what stands before the first.
        rest: What the docstring says between heading and colon, such as "(by equation)".
        blocks: Paragraphs, lists and tables, each as lines of reStructuredText.
    """

    title: str
    rest: str = ""
    blocks: list[list[str]] = field(default_factory=list)


def escape(text: str) -> str:
    r"""Backslashes before asterisks, bars and underscores that would be markup, but not in markup that is meant.

    Example:
        >>> print(escape("logits (B, *shape), ``*args``, |a - b|, x_ and T_m"))
        logits (B, \*shape), ``*args``, \|a - b\|, x\_ and T_m
    """
    pieces, end = [], 0
    for found in _MARKUP.finditer(text):
        pieces += [_escape(text[end : found.start()]), found[0]]
        end = found.end()
    return "".join([*pieces, _escape(text[end:])])


def _escape(text: str) -> str:
    return re.sub(r"(?<!\\)(\*(?=\S)|(?<=\S)\*|\||(?<=\w)_+(?!\w))", r"\\\1", text)


def summary(docstring: str | None) -> str:
    """The first paragraph of a docstring in one line, escaped; what it refers to is named, not linked."""
    first = " ".join((docstring or "").strip().split("\n\n")[0].split())
    return escape(re.sub(r":(?!math)\w+:`~?([^`]+)`", r"``\1``", first))


def table(rows: Iterable[Iterable[str]], header: Iterable[str] = (), widths: str = "auto") -> list[str]:
    r"""A list-table; cells are reStructuredText of one paragraph.

    Example:
        >>> print("\n".join(table([["a", "1"]], ["name", "value"])))
        .. list-table::
           :widths: auto
           :header-rows: 1
        <BLANKLINE>
           * - name
             - value
           * - a
             - 1
    """
    header = list(header)
    lines = [".. list-table::", f"   :widths: {widths}", *(["   :header-rows: 1"] if header else []), ""]
    for row in [*([header] if header else []), *rows]:
        lines += [f"   {'* -' if i == 0 else '  -'} {cell}".rstrip() for i, cell in enumerate(row)]
    return lines


def arguments(docstring: str) -> dict[str, str]:
    r"""What the section Args of a docstring says of each argument, escaped.

    Example:
        >>> said = arguments("Sum.\n\nArgs:\n    a: (B, *shape),\n        or none.\n    b: Another.\n\nRaises: no.")
        >>> print(said["a"], said["b"])
        (B, \*shape), or none. Another.
    """
    found = parse(docstring).params
    return {each.arg_name: escape(" ".join((each.description or "").split())) for each in found}


def render(text: str) -> list[str]:
    """The lines of a module docstring as reStructuredText, with headings in bold."""
    lines: list[str] = []
    for i, part in enumerate(parts(text)):
        blocks = list(part.blocks)
        if part.title:
            # The first sentence says what the module is; a colon in it makes no heading.
            lead = f"**{part.title}**{part.rest}:" if i else f"{part.title}{part.rest}:"
            # A label and its sentence stay one paragraph; lists and tables start below.
            inline = bool(blocks) and _is_paragraph(blocks[0])
            blocks = [[f"{lead} {blocks[0][0]}"], *blocks[1:]] if inline else [[lead], *blocks]
        for block in blocks:
            lines += [*block, ""]
    return lines


def parts(text: str) -> list[Part]:
    """A module docstring cut at its headings."""
    found = [Part("")]
    for head, body in _chunks(text.expandtabs().splitlines()):
        label = _LABEL.match(" ".join(head)) if head else None
        if head and (head[-1].endswith("::") or head[0].startswith(".. ")):
            gap = [""] if head[-1].endswith("::") else []
            found[-1].blocks.append(
                [*map(escape if gap else str, head), *gap, *(f"   {line}".rstrip() for line in body)]
            )
        elif head and (head[0].startswith(">>>")):
            found[-1].blocks.append(head)
        elif head and re.match(r"[*-] ", head[0]):
            found[-1].blocks.append(_bullets([*head, *body]))
        elif label and _is_heading(label["title"], bool(body)):
            title = label["title"].rstrip()
            found.append(Part(title, escape(label["title"][len(title) :] + label["rest"])))
            if label["text"]:
                found[-1].blocks.append([escape(" ".join(label["text"].split()))])
            if body:
                found[-1].blocks.append(_body(body))
        else:
            found[-1].blocks += [[escape(" ".join(head))]] if head else []
            found[-1].blocks += [_body(body)] if body else []
    return [part for part in found if part.title or part.blocks]


def _is_heading(title: str, has_body: bool) -> bool:
    """Whether words before a colon are a heading: any before indented lines, else few that begin no sentence."""
    words = title.split()
    return len(words) <= 10 if has_body else len(words) <= 4 and words[0] not in ("A", "An", "It", "The")


def _chunks(lines: list[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Lines at the margin, and the indented ones that follow at once."""
    head: list[str] = []
    body: list[str] = []
    for line in [*lines, ""]:
        blank, indented = not line.strip(), line.startswith("  ")
        if (blank and not body and not (head and head[-1].endswith("::"))) or (not blank and not indented and body):
            if head or any(map(str.strip, body)):
                yield head, _dedent(body)
            head, body = [], []
        if blank and body:
            body.append("")
        elif not blank and indented:
            body.append(line)
        elif not blank:
            head.append(line.strip())
    if head or any(map(str.strip, body)):
        yield head, _dedent(body)


def _dedent(lines: list[str]) -> list[str]:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    lines = [line[margin:].rstrip() for line in lines]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _is_paragraph(block: list[str]) -> bool:
    return len(block) == 1 and not block[0].startswith(("* ", ".. "))


def _body(lines: list[str]) -> list[str]:
    if lines[0].startswith(">>>"):
        return lines
    if re.match(r"[*-] ", lines[0]):
        return _bullets(lines)
    return _columns(lines) or _sentences(lines)


def _bullets(lines: list[str]) -> list[str]:
    items: list[str] = []
    for line in filter(None, lines):
        if re.match(r"[*-] ", line):
            items.append(line[2:])
        else:
            items[-1] += f" {line.strip()}"
    return [f"* {escape(item)}" for item in items]


def _columns(lines: list[str]) -> list[str]:
    """A table, where spaces align a second column; nothing where they do not."""
    gaps = [found.end() for line in lines if not line.startswith(" ") and (found := _GAP.search(line))]
    if not gaps or len(set(gaps)) > 1:
        return []
    column, rows = gaps[0], list[list[str]]()
    for line in filter(None, lines):
        left, right = line[:column], line[column:].strip()
        if left.strip() and not left.endswith(" "):
            return []
        if left.strip() and not left.startswith(" "):
            rows.append([left.strip(), right])
        else:
            rows[-1] = [f"{rows[-1][0]} {left.strip()}".strip(), f"{rows[-1][1]} {right}".strip()]
    return table([[escape(left), escape(right)] for left, right in rows])


def _sentences(lines: list[str]) -> list[str]:
    """Bullets, one for each line that begins after the end of a sentence or clause; a paragraph where there is one."""
    items: list[str] = []
    for line in filter(None, lines):
        if not items or (items[-1][-1] in ".;:" and not line.startswith(" ")):
            items.append(line)
        else:
            items[-1] += f" {line.strip()}"
    return [escape(items[0])] if len(items) == 1 else [f"* {escape(item)}" for item in items]


def without_arguments(lines: list[str]) -> list[str]:
    """A docstring without its section Args, where a table tells of the arguments."""
    return re.sub(r"^Args:\n(?:    .*\n|\n)*", "", "\n".join([*lines, ""]), flags=re.MULTILINE).split("\n")


def escape_lines(lines: list[str]) -> list[str]:
    """The lines of a docstring of a class or function, escaped but for doctests, literal blocks and directives.

    Returns and Yields become fields at once: napoleon would take what stands before a colon for a type.
    """
    result: list[str] = []
    kept: int | None = None
    for line in lines:
        margin = len(line) - len(line.lstrip())
        if kept is not None and line.strip() and margin <= kept:
            kept = None
        if kept is None and line.lstrip().startswith((">>>", ".. ")):
            kept = margin - 1 if line.lstrip().startswith(">>>") else margin
        result.append(line if kept is not None else escape(line))
        if kept is None and line.rstrip().endswith("::"):
            kept = margin
    text = "\n".join(result)
    return re.sub(r"^(Return|Yield)s:\n +", lambda found: f":{found[1].lower()}s: ", text, flags=re.MULTILINE).split(
        "\n"
    )
