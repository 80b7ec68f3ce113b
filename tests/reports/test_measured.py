"""The files of results/ are what the tables of the pages are made of, and say no more than they can."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mer_zoo.errors import MERError
from mer_zoo.reports.layout import Layout, figures_of, table_of
from mer_zoo.reports.measured import Measured, parse_figure, read_measured, write_measured
from mer_zoo.reports.tables import Table
from scripts.render_results import REGION, main, pages, rendered

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "results").glob("*.csv"))
CIDER = "results/synthetic_scm_cpu.csv 'SyntheticMER: CIDer'"
FIGURE = Measured("toy", "MulT", "IID", "Acc3", "84.2", "0.4", seeds="5")
CELLS = ["84.2", "84.2 ± 0.4", "84.2 [80.1, 88]", "84.2 ± 0.4 (+0.3 [-1.2, 0.5])", "-0.3 [-1.2, 0.5]", "1.9 to 2.1"]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_table_of_figures_is_made_from_results(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert rendered(text) == text, "python scripts/render_results.py"
    assert text.count("<!-- table ") == len(REGION.findall(text)) == text.count("<!-- end of table -->")


def test_a_page_that_was_edited_by_hand_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert rendered(text.replace("| MulT | 75.3 |", "| MulT | 79.3 |")) == text != text.replace("75.3", "79.3")
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == ""


OUTSIDE = {  # tables with figures that are no measurements, or that something else writes and compares
    "docs/data.md": ["preset"],  # printed by a paper
    "docs/life.md": ["nest"],  # with words between its figures; written by benchmarks/faults/life.py
    "docs/quickstart.md": [""],  # what the table belongs to, compared by test_readme.py
    "docs/reproduce.md": ["table"],  # counts of published_results.csv
    "docs/test.md": ["name there"],  # parameters, compared by test_printed_sizes.py
}


def bare_tables(text: str) -> list[str]:
    """The first column's name of each table outside of a region most of whose cells are figures."""
    found = re.findall(r"^(\|.*\|)\n\|[-:| ]+\|\n((?:\|.*\|\n)+)", REGION.sub("", text), re.MULTILINE)
    tables = []
    for head, body in found:
        cells = [cell.strip() for line in body.splitlines() for cell in line.strip("|").split("|")[1:]]
        if (
            sum(bool(re.search(r"\d", cell)) and not re.search(r"[A-Za-z`]{3}", cell) for cell in cells)
            > len(cells) / 2
        ):
            tables.append(head.strip("|").split("|")[0].strip())
    return tables


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_table_of_figures_stands_outside(page: Path) -> None:
    found = bare_tables(page.read_text(encoding="utf-8"))
    assert found == OUTSIDE.get(page.relative_to(ROOT).as_posix(), [])


def test_a_table_outside_is_found() -> None:
    table = "| model | IID |\n|---|---:|\n| MulT | 84.2 ± 0.4 |\n"
    assert bare_tables(table) == ["model"]
    assert bare_tables(f"<!-- table a.csv b -->\n{table}<!-- end of table -->\n") == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_is_complete_and_of_one_device(path: Path) -> None:
    figures = read_measured(path)
    for figure in figures:
        assert all((figure.benchmark, figure.model, figure.metric, figure.device, figure.commit, figure.command))
        assert bool(figure.difference) == bool(figure.against)
    assert len({figure.device for figure in figures}) == 1
    places = [(figure.benchmark, figure.model, figure.condition, figure.metric) for figure in figures]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_taken_apart_and_put_together(cell: str) -> None:
    numbers = parse_figure(cell)
    assert numbers is not None
    assert Measured("toy", "MulT", "", "Acc3", **numbers).text() == cell


@pytest.mark.parametrize("cell", ["", "-", "MulT", "1.2.3", "84.2 ± much", "1 [2]"])
def test_what_is_no_figure_is_none(cell: str) -> None:
    assert parse_figure(cell) is None


def test_a_table_comes_back_from_its_figures() -> None:
    rows = [["MulT", "5", "84.2 ± 0.4", "45.3"], ["TFN", "5", "81.0 ± 0.1 (-3.2 [-4.0, -2.0])", ""]]
    table = Table("", ["model", "seeds", "IID", "OOD"], rows)
    figures = figures_of(table, "toy", "Acc3", against="MulT", device="CPU")
    assert table_of(figures, Layout(seeds="yes")) == table
    assert [figure.against for figure in figures] == ["", "", "MulT"]


def test_figures_of_a_cell_stand_side_by_side() -> None:
    figures = [replace(FIGURE, metric=metric, value=value) for metric, value in (("Acc3", "84.25"), ("Acc2", "91"))]
    table = table_of([replace(figure, deviation="") for figure in figures], Layout(by="condition", digits="1"))
    assert (table.header, table.rows) == (["model", "IID"], [["MulT", "84.2 / 91"]])


def test_other_benchmarks_of_a_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "toy_cpu.csv"
    write_measured(path, [FIGURE, replace(FIGURE, model="TFN"), replace(FIGURE, benchmark="old")])
    write_measured(path, [replace(FIGURE, value="3"), replace(FIGURE, benchmark="new")])
    assert [(figure.benchmark, figure.model, figure.value) for figure in read_measured(path)] == [
        ("toy", "MulT", "3"),
        ("old", "MulT", "84.2"),
        ("new", "MulT", "84.2"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,value\nMulT,1\n", "has other columns than benchmark, model"),
        ("HEAD\ntoy,MulT,,Acc3,many,,,,,,,,,,\n", "line 2: value is 'many'; give a number or nothing"),
        ("HEAD\ntoy,MulT,,Acc3,1\n", "line 2: has another number of cells"),
    ],
)
def test_an_odd_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "odd_cpu.csv"
    write_measured(path, [FIGURE])
    path.write_text(text.replace("HEAD", path.read_text().splitlines()[0]))
    with pytest.raises(MERError, match=said):
        read_measured(path)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("results/none.csv toy", "there is no file results/none.csv"),
        ("results/synthetic_scm_cpu.csv toy", "has no benchmark toy; it has SyntheticMER: CIDer"),
        (f"{CIDER} width=3", "can't be read"),
        (f'{CIDER} "titles=a; b"', "4 columns, AUILC; IID; OOD; RCT, and 2 titles"),
        (f'{CIDER} "conditions=none*"', "no figure has model"),
    ],
)
def test_an_odd_region_is_refused(what: str, said: str) -> None:
    with pytest.raises(MERError, match=said):
        rendered(f"<!-- table {what} -->\n<!-- end of table -->\n")
