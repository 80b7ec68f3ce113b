import json
import math
from itertools import permutations
from pathlib import Path

import pytest
from report_toys import write_run

from mer_zoo.batch import MODALITIES
from mer_zoo.reports import load_results
from mer_zoo.reports.groups import group_runs
from mer_zoo.reports.shares import share_table, shares_of


@pytest.mark.parametrize(("task", "metric", "sign"), [("binary", "Acc3", 1), ("regression", "MAE", -1)])
def test_against_all_orders(tmp_path: Path, task: str, metric: str, sign: int) -> None:
    run = load_results(write_run(tmp_path, task=task))
    values = {condition.available: condition.metrics[metric] for condition in run.conditions.values()}
    values[()], values[MODALITIES] = (run.conditions["iid"].constant[metric], run.conditions["iid"].metrics[metric])
    gained = dict.fromkeys(MODALITIES, 0.0)
    for order in permutations(MODALITIES):
        for place, name in enumerate(order):
            before, after = (tuple(n for n in MODALITIES if n in order[:end]) for end in (place, place + 1))
            gained[name] += sign * (values[after] - values[before]) / 6
    found = shares_of(run, metric)
    assert found is not None
    evenness = found.pop("evenness")
    assert found == pytest.approx(gained)
    parts = [max(0.0, share) for share in gained.values()]
    entropy = -sum(part / sum(parts) * math.log(part / sum(parts)) for part in parts if part)
    assert evenness == pytest.approx(entropy / math.log(3))
    told = json.loads((tmp_path / "results.json").read_text())["summary"]["shares"]["iid"][metric]
    assert told == pytest.approx({**gained, "evenness": evenness}, abs=1e-6)


def test_none_where_a_set_was_not_tested(tmp_path: Path) -> None:
    run = load_results(write_run(tmp_path, sets=["{l}", "{a}"]))
    assert shares_of(run, "Acc3") is None
    assert share_table(group_runs([run]), "Acc3") is None


def test_table_over_seeds(tmp_path: Path) -> None:
    runs = [load_results(write_run(tmp_path / str(seed), seed=seed)) for seed in range(2)]
    table = share_table(group_runs(runs), "Acc3")
    assert table is not None
    assert list(table.header) == ["model", *MODALITIES, "evenness"]
    values = [found["text"] for run in runs if (found := shares_of(run, "Acc3")) is not None]
    assert table.rows[0][1].startswith(f"{100 * sum(values) / 2:+.1f} ±")
