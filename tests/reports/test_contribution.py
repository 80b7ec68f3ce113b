"""Contributions of modalities stand where every set of them was tested, and nowhere else."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import lightning
import pytest
from report_toys import SETS, content, write_run
from rich.console import Console

import mer_zoo
from mer_zoo.callbacks import RunRecord
from mer_zoo.data import SyntheticConfig
from mer_zoo.reports import write_results
from mer_zoo.reports.report import Report, report
from mer_zoo.scores import Scores
from mer_zoo.task import build_task

LETTERS = {"l": "text", "a": "audio", "v": "vision"}


def quiet(*runs: Path, **options: Any) -> Report:
    return report(list(runs), samples=0, console=Console(quiet=True), **options)


def stored(folder: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((folder / "results.json").read_text())["summary"]["contribution"]
    return found


def by_orders(scores: dict[str, Scores], task: str) -> dict[str, float]:
    """Over all samples and orders of the modalities; a set counts its size where its prediction is right."""
    classes = build_task(task).encode(scores["iid"].target)
    right = {"": [False] * len(scores["iid"])}
    for name in ("iid", *SETS):
        letters = "lav" if name == "iid" else name.strip("{}").replace(",", "")
        right[letters] = (scores[name].logits.argmax(-1) == classes).tolist()
    totals = dict.fromkeys(LETTERS, 0)
    for order in permutations("lav"):
        for place, letter in enumerate(order):
            before, after = ("".join(sorted(order[:n], key="lav".index)) for n in (place, place + 1))
            totals[letter] += sum((place + 1) * b - place * a for a, b in zip(right[before], right[after], strict=True))
    return {LETTERS[letter]: total / sum(totals.values()) for letter, total in totals.items()}


@pytest.mark.parametrize("task", ["seven", "binary"])
def test_against_all_orders(tmp_path: Path, task: str) -> None:
    results, scores = content(task=task)
    write_results(tmp_path, results, scores, pictures=False)
    (found,) = stored(tmp_path).values()
    expected = by_orders(scores, task)
    assert found == pytest.approx({**expected, "std": found["std"]}, abs=1e-6)
    mean = sum(expected.values()) / 3
    assert found["std"] == pytest.approx((sum((x - mean) ** 2 for x in expected.values()) / 2) ** 0.5, abs=1e-6)
    table = next(table for table in quiet(tmp_path).tables if table.title.startswith("Contribution"))
    assert table.rows == [["MulT", *(f"{found[name]:.3f}" for name in ("text", "audio", "vision", "std"))]]
    assert f"by Acc{7 if task == 'seven' else 3}" in table.title
    assert "**Contribution of each modality to right predictions of MulT" in (tmp_path / "results.md").read_text()


@pytest.mark.parametrize("left_out", [*SETS, "iid"])
def test_none_where_a_set_was_not_tested(tmp_path: Path, left_out: str) -> None:
    results, scores = content()
    del results["conditions"][left_out], scores[left_out]
    write_results(tmp_path, results, scores, pictures=False)
    assert stored(tmp_path) == {}
    assert "Contribution" not in (tmp_path / "results.md").read_text()
    assert not [table for table in quiet(tmp_path).tables if table.title.startswith("Contribution")]


def test_an_older_run_has_them_by_its_scores(tmp_path: Path) -> None:
    write_run(tmp_path / "new")
    write_run(tmp_path / "old")
    file = tmp_path / "old" / "results.json"
    content = json.loads(file.read_text())
    del content["summary"]
    file.write_text(json.dumps(content))
    rows = [row for table in quiet(tmp_path).tables if table.title.startswith("Contrib") for row in table.rows]
    assert len(rows) == 2
    assert rows[0][1:] == rows[1][1:]


def test_seeds_and_splits(tmp_path: Path) -> None:
    sets = [*SETS, *(f"ood {name}" for name in SETS)]
    for seed in (0, 1):
        write_run(tmp_path / str(seed), seed=seed, sets=sets)
    table = next(table for table in quiet(tmp_path).tables if table.title.startswith("Contribution"))
    assert [row[0] for row in table.rows] == ["MulT", "MulT on ood"]
    values = [stored(tmp_path / seed)["ood"]["audio"] for seed in ("0", "1")]
    mean, deviation = sum(values) / 2, abs(values[0] - values[1]) / 2**0.5
    assert table.rows[1][2] == f"{mean:.3f} ±{deviation:.3f}"


def test_none_of_values_that_the_scores_do_not_give(tmp_path: Path) -> None:
    results, scores = content()  # as an oracle's, who chose another tau for the metric on the test split
    results["conditions"]["{a}"]["metrics"]["Acc3"] += 0.01
    write_results(tmp_path, results, scores, pictures=False)
    assert stored(tmp_path) == {}


def test_beside_the_printed_ones(tmp_path: Path) -> None:
    data = {"corpus": "MOSEI", "source": None, "modalities": ["text", "audio", "vision"]}
    for task in ("seven", "binary"):
        write_run(tmp_path / task, task=task, data=data)
        tables = quiet(tmp_path / task, with_published=True, metric="Acc3").tables
        printed = [row for table in tables if table.title.startswith("Printed") for row in table.rows]
        shares = {row[3]: row[4:] for row in printed if "contribution" in row[3]}
        if task == "seven":
            assert shares["contribution_video IID full"] == ["0.409", f"{stored(tmp_path / task)['iid']['vision']:.3f}"]
        assert len(shares) == (4 if task == "seven" else 0)


@pytest.mark.parametrize("modalities", [["text", "audio", "vision"], ["text", "vision"]])
def test_a_second_test_completes_the_sets(tmp_path: Path, modalities: list[str]) -> None:
    options: dict[str, Any] = {"standardize": False, "modalities": modalities}
    scm = SyntheticConfig(train=8, valid=4, test=12)
    first = mer_zoo.SyntheticMER(scm, conditions="default", **options)
    then = mer_zoo.SyntheticMER(scm, conditions=[c for c in _sets(scm, options) if c.pattern is not None], **options)
    module = mer_zoo.MERModule(mer_zoo.LFLSTM(first.spec, first.task, dim=4))
    for data, expected in ((first, set()), (then, {"iid"})):
        trainer = lightning.Trainer(
            callbacks=[RunRecord(str(tmp_path), pictures=False)],
            logger=False,
            enable_progress_bar=False,
            accelerator="cpu",
        )
        trainer.test(module, data, verbose=False)
        assert set(stored(tmp_path)) == expected
    assert set(stored(tmp_path)["iid"]) == {*modalities, "std"}


def _sets(scm: SyntheticConfig, options: dict[str, Any]) -> list[Any]:
    return mer_zoo.SyntheticMER(scm, conditions="availability", **options).conditions
