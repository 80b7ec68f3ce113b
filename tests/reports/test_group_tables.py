from pathlib import Path

import pytest
import torch
from report_toys import content
from safetensors.torch import load_file, save_file

from mer_zoo.errors import MERError
from mer_zoo.reports import write_results
from mer_zoo.reports.clusters import Clusters
from mer_zoo.reports.group_tables import group_tables
from mer_zoo.reports.groups import conditions_of, group_runs
from mer_zoo.reports.kept_scores import SCORES, read_scores
from mer_zoo.reports.record import find_results
from mer_zoo.reports.report import main
from mer_zoo.reports.resampled import Resampler
from mer_zoo.reports.sample_groups import SampleGroups
from mer_zoo.reports.tables import Table
from mer_zoo.task import build_task

SIZE = 90


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models, whose samples are clips of three films; the third film is small."""
    folder = tmp_path_factory.mktemp("runs")
    ids = [f"film{min(2, i // 40)}$_${i}" for i in range(SIZE)]
    for model, strength in (("MulT", 1.5), ("Other", 2.5)):
        results, scores = content(model=model, strength=strength, size=SIZE, sets=[])
        for score in scores.values():
            score.ids, score.facts = ids, {"words": torch.arange(SIZE) % 20 + 1.0}
        write_results(folder / model, results, scores, pictures=False)
    (folder / "about.csv").write_text(
        "id,gender,age\n" + "".join(f"{name},{'fm'[i % 2]},{i % 33}\n" for i, name in enumerate(ids))
    )
    return folder


def tables(runs: Path, by: str, cluster: str = "recording") -> dict[str, Table]:
    found = find_results([runs / "MulT", runs / "Other"])
    resampler = Resampler("Acc3", 50, Clusters(cluster))
    made = group_tables(group_runs(found), conditions_of(found), resampler, SampleGroups(by))
    return {table.title: table for table in made}


def test_the_worst_film(runs: Path) -> None:
    found = tables(runs, "video")
    worst, each = found["Worst group of Acc3 by video, percent"], found["Acc3 by video on IID, percent"]
    assert [row[0] for row in worst.rows] == ["MulT", "MulT on OOD", "Other", "Other on OOD"]
    assert "Not ranked, as of fewer than 20 samples: film2 (10)." in worst.notes
    _, scores = content(size=SIZE, sets=[])
    metric, logits, target = build_task("binary").metrics()["Acc3"], scores["iid"].logits, scores["iid"].target
    values = {name: float(metric(logits[part], target[part])) for name, part in FILMS.items()}
    name = min(values, key=values.__getitem__)
    assert worst.rows[0][3:5] == [name, "40"]
    assert worst.rows[0][6].startswith(f"{100 * values[name]:.1f} [")
    assert [row[0] for row in each.rows] == sorted(values, key=values.__getitem__)
    assert list(each.header) == ["group", "samples", "MulT", "Other"]


FILMS = {"film0": slice(0, 40), "film1": slice(40, 80)}


def test_numbers_are_grouped_by_quarters(runs: Path) -> None:
    rows = tables(runs, "words")["Acc3 by words on IID, percent"].rows
    assert {row[0] for row in rows} == {
        "1 to 5",
        "6 to 9",
        "10 to 15",
        "16 to 20",
    }  # five samples have 9 words, four 11
    named = tables(runs, f"{runs}/about.csv")
    assert {row[0] for row in named["Acc3 by gender on IID, percent"].rows} == {"f", "m"}
    assert all(" to " in row[0] for row in named["Acc3 by age on IID, percent"].rows)
    one = tables(runs, f"{runs}/about.csv:gender")
    assert not any("by age" in title for title in one)


def test_by_label_is_the_share_found_of_each(runs: Path) -> None:
    found = tables(runs, "label")
    assert {row[0] for row in found["Acc3 by label on IID, percent"].rows} == {"negative", "positive"}
    assert "neutral (" in found["Worst group of Acc3 by label, percent"].notes[1]


def test_what_is_not_told_is_refused_in_a_sentence(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(MERError, match=r"has no column 'speaker' beside id; it has gender, age"):
        tables(runs, f"{runs}/about.csv:speaker")
    with pytest.raises(MERError, match=r"--groups colour: tests have kept nothing of this name; .* or one of words"):
        tables(runs, "colour")
    lacking = tmp_path / "few.csv"
    lacking.write_text("id,film\nfilm0$_$0,x\n")
    with pytest.raises(MERError, match=r"few.csv, column film has no group for 89 samples of the test, 'film0\$_\$1'"):
        tables(runs, str(lacking))
    lacking.write_text("name,film\nfilm0$_$0,x\n")
    with pytest.raises(MERError, match="does not begin with a line of two columns, id and group"):
        tables(runs, str(lacking))
    with pytest.raises(MERError, match="--groups draws intervals"):
        main([str(runs / "MulT"), "--groups", "label", "--bootstrap", "0"])


def test_a_file_of_many_columns_is_asked_which(runs: Path) -> None:
    with pytest.raises(MERError, match=r"has the columns gender, age; name one: .*about.csv:gender"):
        Clusters(f"{runs}/about.csv")
    rows = tables(runs, "video", f"{runs}/about.csv:gender")["Worst group of Acc3 by video, percent"].rows
    assert {row[5] for row in rows} == {"2"}  # of the worst film, people of two genders


def test_from_the_command_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(runs / "MulT"), "--groups", "video", "--groups", "words", "--bootstrap", "20"])
    printed = capsys.readouterr().out
    assert "by video" in printed
    assert "by words" in printed


@pytest.mark.parametrize("part", ["facts", "additive"])
def test_facts_that_are_not_those_of_the_samples_are_refused(tmp_path: Path, part: str) -> None:
    results, scores = content(sets=[])
    scores["iid"].facts, scores["iid"].additive = {"words": torch.ones(60)}, torch.zeros(60, 3)
    write_results(tmp_path, results, scores, pictures=False)
    tensors = load_file(tmp_path / SCORES)
    save_file({**tensors, f"iid.{part}": torch.zeros(59, 2)}, tmp_path / SCORES)
    with pytest.raises(MERError, match="the scores of 'iid' have .* of shape"):
        read_scores(tmp_path, "iid", (3,))


def spoken(folder: Path, names: dict[str, list[str]]) -> Path:
    """Runs whose tests have kept who speaks."""
    for model in ("MulT", "Other"):
        results, scores = content(model=model, size=SIZE, sets=[])
        for score in scores.values():
            score.ids, score.names = [f"test_{i}" for i in range(SIZE)], names
        write_results(folder / model, results, scores, pictures=False)
    return folder


def test_speakers_that_the_data_tell(tmp_path: Path) -> None:
    speakers = [("Ann", "Bob", "")[i % 3] for i in range(SIZE)]
    found = tables(spoken(tmp_path, {"speaker": speakers}), "speaker", cluster="speaker")
    each = found["Acc3 by speaker on IID, percent"]
    assert sorted(row[:2] for row in each.rows) == [["Ann", "30"], ["Bob", "30"], ["unknown", "30"]]
    with pytest.raises(MERError, match="--groups dialogue: tests have kept no dialogue, .*; test again with a file"):
        tables(tmp_path, "dialogue")
    with pytest.raises(MERError, match="--cluster dialogue: tests have kept no dialogue"):
        tables(tmp_path, "speaker", cluster="dialogue")


def test_dialogues_that_ids_tell_are_not_kept_twice(runs: Path) -> None:
    assert not [name for name in load_file(runs / "MulT" / SCORES) if name.endswith("dialogue")]
    same = tables(runs, "video"), tables(runs, "dialogue", cluster="dialogue")
    rows = [[row[3:] for row in found[next(iter(found))].rows] for found in same]
    assert rows[0] == rows[1]


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = spoken(tmp_path, {"speaker": ["Ann"] * SIZE}) / "MulT"
    tensors = load_file(folder / SCORES)
    tensors["iid.speaker"] = tensors["iid.speaker"][:-4]
    save_file(tensors, folder / SCORES)
    with pytest.raises(MERError, match=r"the scores of 'iid' have 89 names for the speaker of 90 samples"):
        read_scores(folder, "iid", (3,))
