"""Which rows there are, and what is said of one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mer_zoo.cli.reproduce.plan import plan
from mer_zoo.cli.reproduce.rows import all_rows, chosen_rows
from mer_zoo.cli.reproduce.tables import coverage
from mer_zoo.errors import MERError
from mer_zoo.reports import published

FIGURES = len(published())


def test_every_figure_stands_in_one_row() -> None:
    assert sum(len(row.figures) for row in all_rows()) == FIGURES
    assert len({row.name for row in all_rows()}) == len(all_rows())


def test_every_figure_of_a_model_of_the_zoo_is_planned() -> None:
    planned = {figure for one in plan(all_rows()) for figure in one.figures}
    runs = [figure for row in all_rows() if not row.reason for figure in row.figures]
    assert planned == set(runs)


def test_rows_that_need_the_same_training_share_it() -> None:
    experiments = plan(all_rows())
    assert len({one.training.folder for one in experiments}) == len(experiments)
    shared = [one for one in experiments if len({figure.table for figure in one.figures}) > 5]
    assert {one.training.source for one in shared} == {"CIDer"}


def test_the_table_of_what_runs_adds_up() -> None:
    *tables, last = coverage().rows
    counted = [[sum(int(row[place].split()[part]) for row in tables) for part in (0, 2)] for place in (1, 2)]
    assert last[1:3] == [f"{run} of {of}" for run, of in counted]
    assert counted[0][1] == len(all_rows())
    assert counted[1][1] == FIGURES
    assert coverage().markdown() in (Path(__file__).parents[3] / "docs" / "reproduce.md").read_text("utf-8")
    reasons = {row.reason for row in all_rows() if row.reason}
    assert all(any(reason in row[3] for row in tables) for reason in reasons)


@pytest.mark.parametrize(
    ("target", "corpus", "words"),
    [
        ("CIDr", None, "there is no paper 'CIDr', did you mean CIDer; choose from CIDer, CausalMER, CUMDF"),
        ("CIDer:4", None, "CIDer has no table '4' with results; choose from IV, V, VI"),
        ("CausalMER:8", None, "CausalMER has no table '8' with results; choose from 2, 3, 4, 5, 6, 7"),
        ("CIDer:IV:DLF+MACY", None, "CIDer:IV has no row 'DLF+MACY', did you mean DLF+MACI; choose from DMD"),
        ("CIDer:VI:MACI", None, "CIDer:VI:MACI can't be run: parameters of the wrapper alone"),
        ("CIDer:IV", "IEMOCAP", "CIDer:IV has nothing that is trained on IEMOCAP; choose from MOSEI, MOSI"),
        ("CIDer:IV", "MOSY", "there is no corpus 'MOSY', did you mean MOSI; choose from MOSI, MOSEI, IEMOCAP"),
    ],
)
def test_what_is_not_there_is_told(target: str, corpus: str | None, words: str) -> None:
    with pytest.raises(MERError) as refused:
        chosen_rows(target, corpus)
    assert str(refused.value).startswith(words)


def test_names_are_found_whatever_their_case() -> None:
    assert chosen_rows("cider:iv:dlf+maci", "mosei") == chosen_rows("CIDer:IV:DLF+MACI", "MOSEI")
    assert {row.table for row in chosen_rows("CUMDF")} == {"1", "2", "3"}
