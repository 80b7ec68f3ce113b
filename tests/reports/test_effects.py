from pathlib import Path

import pytest
import torch
from report_toys import content

from mer_zoo import LFLSTM, CausalMER, DataSpec, SentimentClassification
from mer_zoo.batch import Batch
from mer_zoo.metrics.resampling import resamplings
from mer_zoo.reports import write_results
from mer_zoo.reports.clusters import Clusters
from mer_zoo.reports.effects import effect_table
from mer_zoo.reports.groups import conditions_of, group_runs
from mer_zoo.reports.record import find_results
from mer_zoo.reports.resampled import Resampler
from mer_zoo.scores import Scores
from mer_zoo.training.kept import with_effects


def test_means_with_intervals(tmp_path: Path) -> None:
    results, scores = content(model="CausalMER(MulT)", sets=[])
    values = torch.randn(60, generator=torch.Generator().manual_seed(0))
    values[3] = torch.nan
    scores["iid"].facts = {"words": torch.ones(60), "CausalMER: total effect (TE)": values}
    write_results(tmp_path, results, scores, pictures=False)
    runs = find_results([tmp_path])
    table = effect_table(group_runs(runs), conditions_of(runs), Resampler("Acc3", 400, Clusters()))
    assert table is not None
    mean = float(values.nanmean())
    assert table.rows[0][0] == "CausalMER(MulT): total effect (TE)"
    assert table.rows[0][1].startswith(f"{mean:.3f} [")
    assert table.rows[0][2] == "-"
    assert len(table.rows) == 1
    times = resamplings(60, 400, seed=0).double()[:-1]
    drawn = (times @ values.nan_to_num().double()) / (times @ (~values.isnan()).double())
    low = float(table.rows[0][1].split("[")[1].split(",")[0])
    assert low == pytest.approx(mean - 2.0 * float(drawn.std()), abs=0.002)


def test_effects_are_those_of_the_true_class() -> None:
    model = CausalMER(LFLSTM(DataSpec(), SentimentClassification(3), dim=4)).eval()
    batch = Batch.random(model.spec, model.task, size=5)
    batch.target[2] = torch.nan
    output = model.predict(batch)
    scores = with_effects(model, Scores(output.logits, output.effects, batch.target, batch.index))
    found, tie = scores.facts["CausalMER: total indirect effect (TIE)"], output.effects["tie"]
    assert found[2].isnan()
    for row in (0, 1, 3, 4):
        true = int(batch.target[row].sign()) + 1
        assert float(found[row]) == pytest.approx(float(tie[row, true] - tie[row].mean()), abs=1e-6)
