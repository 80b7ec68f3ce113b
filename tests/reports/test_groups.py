from pathlib import Path

import numpy as np
import pytest
from report_toys import content, write_run

from mer_zoo.errors import MERError
from mer_zoo.reports.groups import choose_metric, group_runs, named_groups
from mer_zoo.reports.record import find_results


def test_seeds_are_averaged(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / f"{model}{seed}", model=model, seed=seed) for model in "AB" for seed in range(3)]
    groups = group_runs(find_results(folders))
    assert [(group.label, len(group.runs)) for group in groups] == [("A", 3), ("B", 3)]
    values = [run.conditions["ood"].metrics["Acc3"] for run in groups[0].runs]
    assert groups[0].value("ood", "Acc3") == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    gaps = [run.conditions["{a}"].metrics["Acc3"] - run.conditions["iid"].metrics["Acc3"] for run in groups[0].runs]
    assert groups[0].gap("Acc3", "{a}") == pytest.approx((np.mean(gaps), np.std(gaps, ddof=1)))


def test_other_tasks_data_and_sizes_are_not_averaged(tmp_path: Path) -> None:
    data = {"corpus": "MOSI", "source": "some/unaligned_50.pkl", "modalities": ["text", "audio"]}
    folders = [
        write_run(tmp_path / "a", seed=0),
        write_run(tmp_path / "b", seed=1, task="seven"),
        write_run(tmp_path / "c", seed=2, data=data),
    ]
    labels = [group.label for group in group_runs(find_results(folders))]
    assert labels == [
        "MulT · binary · SyntheticMER",
        "MulT · seven · SyntheticMER",
        "MulT · binary · MOSI unaligned_50.pkl [text,audio]",
    ]
    sizes = [write_run(tmp_path / f"p{n}", seed=n, parameters=n) for n in (1, 2)]
    assert len(group_runs(find_results(sizes))) == 2


def test_runs_of_other_options_are_not_averaged(tmp_path: Path) -> None:
    def count(*options: dict[str, object]) -> int:
        folders = [
            write_run(tmp_path / str(seed), seed=seed, nest=[{"class": "MulT", "options": given}])
            for seed, given in enumerate(options)
        ]
        return len(group_runs(find_results(folders)))

    assert count({"variant": "ours"}, {"variant": "ours"}) == 1
    assert count({"variant": "ours"}, {"variant": "released"}) == 2
    assert count({"seed": 0}, {"seed": 1}) == count({"pretrained": "a/0.ckpt"}, {"pretrained": "a/1.ckpt"}) == 1


def test_a_repeated_seed_is_no_seed(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name, seed=0) for name in ("paper", "released")]
    groups = group_runs(find_results(folders))
    assert [group.label for group in groups] == ["MulT · paper", "MulT · released"]


def test_plain_models_come_first(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / str(n), model=m) for n, m in enumerate(["CausalMER(MulT)", "MulT"])]
    assert [group.label for group in group_runs(find_results(folders))] == ["MulT", "CausalMER(MulT)"]


def test_choice_of_the_metric(tmp_path: Path) -> None:
    tasks = ["seven", "regression", "emotions"]
    seven, regression, emotions = find_results([write_run(tmp_path / task, task=task) for task in tasks])
    assert choose_metric([seven]) == "Acc7"
    assert choose_metric([seven, regression]) == "Acc2_non0"
    assert choose_metric([seven, regression], "MAE") == "MAE"
    assert choose_metric([emotions]) == "F1"
    with pytest.raises(MERError, match="not every run has the metric 'F1_7'; choose from Acc2_non0"):
        choose_metric([seven, regression], "F1_7")
    with pytest.raises(MERError, match="no metric in common, .*; report runs of the same task"):
        choose_metric([seven, emotions])


def test_a_condition_may_lack_in_some_runs(tmp_path: Path) -> None:
    results, _ = content(seed=1)
    del results["conditions"]["ood"]
    folders = [write_run(tmp_path / "0", seed=0), write_run(tmp_path / "1", seed=1, conditions=results["conditions"])]
    (group,) = group_runs(find_results(folders))
    assert group.value("ood", "Acc3")[1] is None
    assert np.isnan(group.value("rct", "Acc3")[0])


def test_equal_models_are_told_apart_by_what_differs_in_their_folders(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / place / "mult" / "version_0", seed=0) for place in ("plain", "tuned/long")]
    assert [group.label for group in group_runs(find_results(folders))] == ["MulT · plain", "MulT · tuned/long"]
    siblings = [write_run(tmp_path / "runs" / f"version_{n}", seed=0) for n in range(2)]
    assert [group.label for group in group_runs(find_results(siblings))] == ["MulT · version_0", "MulT · version_1"]
    inside = [write_run(tmp_path / place, seed=0) for place in ("x", "x/x")]
    assert len({group.label for group in group_runs(find_results([tmp_path / "x/results.json", inside[1]]))}) == 2


def test_names_of_the_users_own_stand_in_their_order(tmp_path: Path) -> None:
    wrapped = [write_run(tmp_path / "a" / str(seed), model="CausalMER(MulT)", seed=seed) for seed in range(2)]
    plain = write_run(tmp_path / "b", seed=0)
    groups = named_groups([wrapped[0].parent, plain], ["debiased", " plain"])
    assert [(group.label, len(group.runs)) for group in groups] == [("debiased", 2), ("plain", 1)]
    whole = [group.label for group in named_groups([tmp_path], ["all"])]
    assert whole == ["all · MulT", "all · CausalMER(MulT)"]
    for names in (["one"], ["one", ""], ["one", "one"]):
        with pytest.raises(MERError, match="give each path a name of its own"):
            named_groups([wrapped[0], plain], names)
