import io

import pytest
from rich.console import Console

from mer_zoo.reports.tables import Table, with_deviation


def shown(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    table.show(console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


WIDE = Table(
    "Accuracy", ["model", *(f"set{n}" for n in range(12))], [["CausalMER(MulT)", *(["55.5 ±1.0"] * 12)]], ["Note."]
)


def test_too_wide_a_table_is_turned() -> None:
    narrow = shown(WIDE, 80)
    assert "CausalMER(MulT)" in narrow
    assert "…" not in narrow
    assert [line for line in narrow.splitlines() if "set11" in line and "55.5 ±1.0" in line]
    wide = shown(WIDE, 200)
    assert [line for line in wide.splitlines() if "set0" in line and "set11" in line]


def test_brackets_are_no_markup() -> None:
    text = shown(Table("T", ["model", "IID"], [["MOSI [text,audio]", "+0.3 [-1.9, +2.3]"]]), 80)
    assert "MOSI [text,audio]" in text
    assert "[-1.9, +2.3]" in text


def test_markdown_keeps_bars_inside_their_cell() -> None:
    lines = Table("T", ["model", "IID"], [["a|b", "1"]], ["Note."]).markdown().splitlines()
    assert lines[4] == r"| a\|b | 1 |"
    assert lines[-1] == "Note."


@pytest.mark.parametrize(("deviation", "expected"), [(None, "-"), (0.1, "-")])
def test_undefined_is_a_dash(deviation: float | None, expected: str) -> None:
    assert with_deviation("Acc7", float("nan"), deviation) == expected
