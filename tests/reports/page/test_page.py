"""The page as text: what it holds, and that nothing of a run gets into its markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_toys import write_run
from rich.console import Console

from mer_zoo.reports.page.markup import html_table
from mer_zoo.reports.page.settings import differing_options, flat_options
from mer_zoo.reports.report import report
from mer_zoo.reports.tables import Table

EVIL = "\x1b[2J</style></script><script>f()</script><img src=x onerror=f()> \" ' & `a` \u202e &lt;"
VOID = {"meta", "path", "use", "rect"}


class Tags(HTMLParser):
    """Tags and attributes of a page, which must be nested soundly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    for model in ("MulT", f"CUMDF{EVIL}"):
        for seed in range(2):
            run = write_run(
                folder / model[:4] / str(seed),
                model=model,
                seed=seed,
                curves=["RMFM"] if seed == 0 else [],
                notes=[EVIL],
                diagnostics={EVIL: 1.0},
            )
            (run / "config.yaml").write_text(f"seed_everything: {seed}\nmodel: {{dim: {len(model)}, heads: 2}}\n")
            (run / "provenance.json").write_text(
                '{"git": {"mer_zoo": {"commit": "<b>", "dirty": true}}, "device": [1]}'
            )
    made = report([folder], samples=0, console=Console(quiet=True), html=folder / "report.html")
    assert (folder / "report.html").read_text(encoding="utf-8") == made.html()  # equal reports are equal pages
    return made.html()


def test_nothing_of_a_run_is_markup(text: str) -> None:
    page = Tags(text)
    assert page.open == []
    names = [tag for tag, _ in page.seen]
    assert names.count("script") == names.count("style") == 1
    assert not {"img", "link", "iframe", "object", "foreignobject"} & set(names)
    for _, attributes in page.seen:
        assert not any(name.startswith("on") for name in attributes)
        assert all((attributes.get(name) or "#").startswith("#") for name in ("href", "src", "xlink:href"))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_nothing_is_fetched(text: str) -> None:
    addresses = set(re.findall(r"\w+://[^\s\"'<>]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "default-src 'none'" in text
    assert "url(#" not in text or not re.search(r"url\((?!#)", text)


def test_ids_are_each_its_own(text: str) -> None:
    ids = re.findall(r"\bid=\"([^\"]*)\"", text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"href=\"#([^\"]*)\"", text)) <= set(ids)


def test_differences_come_before_the_whole_configuration(text: str) -> None:
    difference = text.index("What differs between the models")
    assert difference < text.index("<details>")
    assert "model.dim" in text[difference : text.index("<details>")]
    assert "model.heads" not in text[difference : text.index("<details>")]
    assert "seed 1 differs in" in text


def test_options_are_named_as_on_the_command_line() -> None:
    wrapped = {"model": {"wrappers": [{"class_path": "mer_zoo.MACI", "init_args": {"tau": None, "labels": False}}]}}
    assert flat_options(wrapped) == {
        "model.wrappers[0]": "mer_zoo.MACI",
        "model.wrappers[0].tau": "null",
        "model.wrappers[0].labels": "false",
    }


def test_where_runs_lie_is_no_difference() -> None:
    runs = [{"a": "1", "trainer.logger.name": "x"}], [{"a": "1", "trainer.logger.name": "y"}]
    assert differing_options(dict(zip("MT", runs, strict=True))) is None


def test_cells_bear_the_number_that_they_are_sorted_by() -> None:
    table = Table("t", ["model", "IID"], [["A", "84.2 ±0.4"], ["B", "-"], ["C", "+0.3 [-1.2, 0.5]"], ["D", "n/a"]])
    assert re.findall(r"data-key=\"([^\"]*)\"", html_table(table)) == ["84.2", "", "0.3", ""]


def test_a_run_without_a_configuration_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    made = report([tmp_path / "run"], samples=0, console=Console(quiet=True))
    assert "config.yaml is not there" in made.html()
