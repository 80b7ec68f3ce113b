"""What writes the pages of the site: docstrings become markup, names have one place, pages tell what the code does."""

from __future__ import annotations

import ast
import importlib
import re
from inspect import signature
from pathlib import Path

import pytest
from elsewhere import site_links
from figures import measured_rows, printed_rows
from names import entries, modules, public_name
from nests import refusals
from prose import escape, escape_lines, render
from zoo import write_zoo

import mer_zoo
import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.reports import published
from mer_zoo.reports.measured import measured_about

ROOT = Path(__file__).parents[1]
ZOO = [*mer_zoo.backbones.__all__, *mer_zoo.wrappers.__all__]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("zoo")
    write_zoo(folder)
    return {path.stem: path.read_text("utf-8") for path in folder.iterdir()}


def test_importing_the_command_does_not_run_it(capsys: pytest.CaptureFixture[str]) -> None:
    importlib.reload(importlib.import_module("mer_zoo.__main__"))
    assert capsys.readouterr().out == ""


def test_columns_become_a_table() -> None:
    text = "A module.\n\nWhere it is:\n    one thing    here,\n                 and there\n    another      elsewhere"
    assert render(text)[2] == "**Where it is**:"
    assert [line.strip(" *-") for line in render(text)[7:11]] == [
        "one thing",
        "here, and there",
        "another",
        "elsewhere",
    ]


def test_lines_without_columns_become_sentences() -> None:
    assert render("Shapes (B batch):\n    forward: a,\n    b;\n    predict: c.")[2:4] == [
        "* forward: a, b;",
        "* predict: c.",
    ]


def test_bullets_keep_their_second_lines() -> None:
    assert render("Ours:\n    * one\n      more\n    * two\nNext: words.")[2:] == [
        "* one more",
        "* two",
        "",
        "**Next**: words.",
        "",
    ]


@pytest.mark.parametrize("text", [">>> f(*args)", "    ``*args``", ":math:`|x|`", "an *important* word"])
def test_markup_that_is_meant_stays(text: str) -> None:
    assert escape_lines([text]) == [text]


def test_what_is_no_markup_is_escaped() -> None:
    assert escape("(B, *shape) and |x|, T_") == r"(B, \*shape) and \|x\|, T\_"


def test_returns_are_no_types() -> None:
    assert escape_lines(["Returns:", "    (B,) places: sample i."]) == [":returns: (B,) places: sample i."]


def test_every_name_has_one_place() -> None:
    places = [entry.public for entry in entries().values()]
    assert len(places) == len(set(places))
    for entry in entries().values():
        module, _, name = entry.public.rpartition(".")
        assert getattr(modules()[module], name) is entry.value


def test_references_find_the_place() -> None:
    assert public_name("mer_zoo.model.Backbone.fuse") == "mer_zoo.Backbone.fuse"
    assert public_name("mer_zoo.data.missing.RMM") == "mer_zoo.data.RMM"
    assert public_name("WarmupCosine", "mer_zoo.training.resume") == "mer_zoo.WarmupCosine"
    assert public_name("fuse", "mer_zoo", "Backbone") == "mer_zoo.Backbone.fuse"
    assert public_name("mer_zoo.model.Nothing") is None


@pytest.mark.parametrize("name", ZOO)
def test_a_page_has_all_options_and_partners(name: str, pages: dict[str, str]) -> None:
    options = signature(getattr(mer_zoo, name)).parameters.keys() - {"spec", "task", "backbone"}
    assert [option for option in options if f"- ``{option}``" not in pages[name]] == []
    network = name in mer_zoo.backbones.__all__
    partners = mer_zoo.wrappers.__all__ if network else mer_zoo.backbones.__all__
    assert [partner for partner in partners if f":py:class:`~mer_zoo.{partner}`" not in pages[name]] == []
    for partner in partners:
        for reason in (refusals(name, partner) if network else refusals(partner, name)).values():
            assert escape(reason) in pages[name]


def test_a_page_has_the_figures(pages: dict[str, str]) -> None:
    figure = published("DMD", "CMU-MOSI", "Acc2", "AUILC")[0]
    assert f"{figure.value:g}" in "\n".join(printed_rows("DMD"))
    assert "".join(printed_rows("EMTDLFR")) != ""
    ours = next(one for some in measured_about("DMD").values() for one in some if one.metric == "Acc2_non0").text()
    assert ours in "\n".join(measured_rows("DMD"))
    assert ours in pages["DMD"]


def test_links_out_of_the_pages_lead_into_the_site() -> None:
    assert (
        site_links("[a](../LICENSE) [b](https://x.y/z.md)", ROOT / "docs") == "[a](/licence.md) [b](https://x.y/z.md)"
    )


@pytest.mark.parametrize(
    "path", sorted((ROOT / "mer_zoo").rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_files_that_docstrings_name_are_there(path: Path) -> None:
    said = set(re.findall(r"(?<![\w/.])[\w/]+\.py\b", ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""))
    assert [
        name for name in said if not any((base / name).exists() for base in (ROOT, ROOT / "mer_zoo", path.parent))
    ] == []
