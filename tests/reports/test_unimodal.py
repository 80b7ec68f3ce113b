from pathlib import Path
from typing import Any

import pytest
from report_toys import write_run

from mer_zoo.reports.groups import conditions_of, group_runs
from mer_zoo.reports.record import find_results
from mer_zoo.reports.sections import comparison_table
from mer_zoo.reports.tables import Table


def table(folder: Path, metric: str) -> Table:
    runs = find_results([folder])
    return comparison_table(group_runs(runs), conditions_of(runs), metric)


def of(*modalities: str, **data: Any) -> dict[str, Any]:
    return {"corpus": "MOSI", "source": "a.pkl", "modalities": list(modalities), **data}


@pytest.mark.parametrize(("task", "metric"), [("binary", "Acc3"), ("regression", "MAE")])
def test_the_best_model_of_one_modality(tmp_path: Path, task: str, metric: str) -> None:
    options: dict[str, Any] = {"task": task, "sets": []}
    write_run(tmp_path / "all", **options, data=of("text", "audio", "vision"), strength=0.2)
    write_run(tmp_path / "audio", **options, data=of("audio"), strength=0.1)
    write_run(tmp_path / "text", **options, data=of("text"), strength=0.9)
    write_run(tmp_path / "elsewhere", **options, data=of("text", source="b.pkl"), strength=1.0)
    found = table(tmp_path, metric)
    rows = {row[0]: row for row in found.rows}
    (name,) = (name for name in rows if name.startswith("best of one modality"))
    assert name == "best of one modality: text only, MulT · MOSI a.pkl [text]"
    assert rows[name][1:] == rows["MulT · MOSI a.pkl [text]"][1:]
    assert any("best under iid" in note for note in found.notes)


def test_a_set_of_modalities_is_no_such_model(tmp_path: Path) -> None:
    write_run(tmp_path / "all", sets=["{l}"])
    found = table(tmp_path, "Acc3")
    assert not any("best of one" in row[0] for row in found.rows)
    assert any("--data.modalities '[text]'" in note for note in found.notes)
    write_run(tmp_path / "all", sets=[])
    assert not any("--data.modalities" in note for note in table(tmp_path, "Acc3").notes)
