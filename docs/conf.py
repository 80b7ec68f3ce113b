"""Sphinx's settings; ``make docs`` builds the site into build/docs."""

from __future__ import annotations

import shutil
import sys
from inspect import signature
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.inspect import stringify_signature

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS / "_ext")]

import mer_zoo
import elsewhere
import names
import prose
import reference
import zoo

project = "mer_zoo"
author = "the authors of mer_zoo"
copyright = "2026, the authors of mer_zoo; Apache-2.0"
version = release = mer_zoo.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_ext"]
default_role = "literal"
html_theme = "furo"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"mer_zoo {version}"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True
maximum_signature_line_length = 88

nitpick_ignore_regex = [
    # Objects of other packages, which a build without network can't look up; classes of ours begin with a capital.
    ("py:.*", r"(?!mer_zoo\b)[a-z_]\w*\..*"),
    ("py:(class|obj)", r"mer_zoo\..*\.T"),  # a type variable
]


WRITERS = {"reference": reference.write_modules, "zoo": zoo.write_zoo, "markdown": elsewhere.write_markdown}


def link_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Links of the repository become those of the site."""
    if not page.startswith("generated"):
        source[0] = elsewhere.site_links(source[0], (DOCS / page).parent)


def escape_docstring(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Before napoleon: asterisks and bars of docstrings are meant as such; a constant has only its type's docstring."""
    if isinstance(value, type) and issubclass(value, mer_zoo.Model) and "zoo" in app.env.docname:
        lines[:] = prose.without_arguments(lines)
    lines[:] = [] if what == "data" else prose.escape_lines(lines)


def class_signature(
    app: Sphinx, what: str, name: str, value: object, options: object, given: str | None, returned: str | None
) -> tuple[str, None] | None:
    """The arguments of a class are those of its constructor, also where a metaclass looks at calls first."""
    if what != "class" or not isinstance(value, type) or not given:
        return None
    return stringify_signature(signature(value), show_annotation=False, show_return_annotation=False), None


def skip_field(app: Sphinx, what: str, name: str, value: object, skip: bool, options: object) -> bool | None:
    """Fields of named tuples: the docstring of the class describes them."""
    return True if str(getattr(value, "__doc__", "")).startswith("Alias for field number") else None


def write_pages(app: Sphinx) -> None:
    """Write the generated part of the sources."""
    names.evaluate_annotations()
    for part, write in WRITERS.items():
        folder = DOCS / "generated" / part
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write(folder)


def setup(app: Sphinx) -> None:
    """Connect the extensions of docs/_ext."""
    app.connect("builder-inited", write_pages)
    app.connect("source-read", link_pages)
    app.connect("autodoc-process-docstring", escape_docstring, priority=400)
    app.connect("autodoc-process-signature", class_signature)
    app.connect("autodoc-skip-member", skip_field)
    app.connect("missing-reference", names.resolve)
