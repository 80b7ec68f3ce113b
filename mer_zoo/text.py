"""Text that comes from a file is data wherever it is shown: in a terminal, Markdown, LaTeX, HTML, in a picture."""

from __future__ import annotations

import codecs
import html
import re
import unicodedata

__all__ = ["in_html", "in_latex", "in_markdown", "in_picture", "shown", "told"]

_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # controls, what reorders or hides text, halves of characters, ends of lines
_LONGEST = 60  # of a value in a sentence
codecs.lookup("unicode_escape")  # looked up now, since showing what a file holds imports nothing


def shown(text: str) -> str:
    r"""Text for a terminal, on one line: what moves the cursor, changes colours or reorders what is read is spelt out.

    Args:
        text: Text of a file.

    Example:
        >>> shown("MulT\x1b[2J\nsecond line")
        'MulT\\x1b[2J\\nsecond line'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _UNSEEN else character
        for character in text
    )


def in_markdown(text: str) -> str:
    r"""Text for a line or a table's cell of Markdown, in which it makes no markup of its own, HTML included.

    Args:
        text: Text of a file.

    Example:
        >>> in_markdown("MACI[oracle](CIDerNet) <b>bold</b> | Acc2_non0")
        'MACI[oracle]\\(CIDerNet) &lt;b>bold&lt;/b> \\| Acc2_non0'
    """
    flat = re.sub(r"([\\`*|$])", r"\\\1", shown(" ".join(text.split())))
    flat = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", flat)
    flat = re.sub(r"\](?=[(\[:])", "]\\\\", flat)
    return re.sub(r"&(?=#?\w+;)", "&amp;", flat).replace("<", "&lt;")


def in_html(text: str) -> str:
    r"""Text for an element or a quoted attribute of a page, on one line.

    Args:
        text: Text of a file.

    Example:
        >>> in_html("<img src=x onerror='f()'> & \"so\"\n")
        '&lt;img src=x onerror=&#x27;f()&#x27;&gt; &amp; &quot;so&quot;\\n'
    """
    return html.escape(shown(text), quote=True)


_LATEX = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "…": r"\ldots{}",
}


def in_latex(text: str) -> str:
    r"""Text for LaTeX, in which it is no command.

    Args:
        text: Text of a file.

    Example:
        >>> in_latex("{l,a} of Acc2_non0: 80 % \\input{x}")
        '\\{l,a\\} of Acc2\\_non0: 80 \\% \\textbackslash{}input\\{x\\}'
    """
    return "".join(_LATEX.get(character, character) for character in shown(" ".join(text.split())))


def in_picture(text: str, longest: int = 60) -> str:
    r"""Text for a picture: no formula, and no longer than there is room for.

    Args:
        text: Text of a file.
        longest: Number of characters.

    Example:
        >>> in_picture("a $x$ in a name", longest=8)
        'a \\$x\\$ i…'
    """
    flat = shown(text)
    return (flat if len(flat) <= longest else f"{flat[: longest - 1]}…").replace("$", r"\$")


def told(value: object) -> str:
    """A value of a file for a sentence: short, whatever it is.

    Args:
        value: The value.

    Example:
        >>> told("MulT"), told(10**5000), told([1, 2])
        ("'MulT'", 'a very large number', 'a list')
    """
    if isinstance(value, str):
        return f"'{shown(value[:_LONGEST])}'" + ("..." if len(value) > _LONGEST else "")
    if isinstance(value, int) and abs(value) >= 10**18:
        return "a very large number"
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)
    return f"a {type(value).__name__}"
