"""The benchmark of debiasers on a few samples: what it records, that it goes on where it stopped,
and what it makes of the records.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.studies import debias_scm, debias_train, frame
from benchmarks.studies.debias import CHOICES, TAUS, Comparison, build, job, labels, make_jobs, split_names
from benchmarks.studies.debias_picture import all_curves, drawn, line_styles
from benchmarks.studies.debias_table import SPLITS
from benchmarks.studies.frame import part_of
from benchmarks.studies.table import Answers, difference
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.datamodule import MERDataModule, SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.reports.measured import read_measured
from mer_zoo.reports.pictures.style import FAINT

TINY = SyntheticConfig(train=96, valid=32, test=32)
METHODS = "plain,MACI,unconfounded"
OOD = SPLITS["ood"]
pytestmark = [  # there are few samples
    pytest.mark.filterwarnings("ignore:.*an effective sample size of"),
    pytest.mark.filterwarnings("ignore:deconfounded metrics see no confounding"),
]


def run(folder: Path, *more: str) -> None:
    tiny = ["--samples", "96,32,32", "--epochs", "2", "--seeds", "0,1", "--backbones", "CIDerNet", "--rhos", "0.8"]
    debias_scm.main(["run", "--out", str(folder), "--methods", METHODS, *tiny, *more])


def test_runs_once_and_shows_what_came_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path)
    names = {path.parent.name for path in (tmp_path / "CIDerNet" / "rho 0.8").glob("*/seed*.json")}
    assert names == {"plain", "unconfounded", *(f"MACI tau={tau}" for tau in TAUS)}
    assert len(list((tmp_path / "CIDerNet").glob("rho */unconfounded/seed*.json"))) == 8
    assert not list(tmp_path.rglob(".*"))
    for path in tmp_path.rglob("seed*.json"):
        record = json.loads(path.read_text())
        assert 0 < record["choices"]["loss"]["splits"]["valid"]["deconfounded"]["Acc2_non0"] < 1
        for choice, result in record["choices"].items():
            answers = Answers([record], choice)
            for split in ("iid", "ood", "rct"):
                metric = result["splits"][split]["metrics"]["Acc2_non0"]
                assert answers.accuracy(SPLITS[split]) == [pytest.approx(100 * metric, abs=1e-4)]

    def fail(*_: Any) -> None:
        raise AssertionError("a finished training was done again")

    monkeypatch.setattr(debias_scm, "train", fail)
    run(tmp_path)
    for path in (tmp_path / "CIDerNet" / "rho 0.8" / "plain").glob("*0.json"):
        path.unlink()
    with pytest.raises(AssertionError, match="done again"):
        run(tmp_path)
    with pytest.raises(MERError, match="epochs 2 beside 1; use the same options"):
        run(tmp_path, "--epochs", "1")
    debias_scm.main(["table", str(tmp_path)])
    shown = (tmp_path / "table.md").read_text()
    assert "| MACI tau=oracle |" in shown
    assert "rho 0.8: accuracy" in shown
    assert "rho 0.9: accuracy" not in shown
    assert "plain by" not in shown
    with pytest.raises(MERError, match="there are no records of CLUE; choose from MACI tau=0, .*, plain, unconfounded"):
        debias_scm.main(["table", str(tmp_path), "--methods", "CLUE"])
    debias_scm.main(["table", str(tmp_path), "--methods", "MACI"])
    assert all(f"| MACI tau={tau} |" in (tmp_path / "table.md").read_text() for tau in TAUS)
    debias_scm.main(["table", str(tmp_path), "--select", "accuracy_deconfounded", "--against", "loss"])
    assert "| plain by loss |" in (tmp_path / "table.md").read_text()
    debias_scm.main(
        ["picture", str(tmp_path), str(tmp_path / "debias.png"), "--methods", "plain,MACI tau=1", "--least", "1"]
    )
    assert (tmp_path / "debias.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_tells_methods_apart_and_leaves_hopeless_ones_out() -> None:
    names = ["plain by loss", "plain", "CausalMER fusion=sum", "CausalMER fusion=mask", "CLUE", "GEAR"]
    names += [
        *(name for name in labels("MACI") if "oracle" not in name),
        "MSSD",
        "CUMDF",
        "PropensityWeighting mode=weight",
        "unconfounded",
    ]
    styles = line_styles(names)
    assert len({tuple(style.values()) for style in styles}) == len(names)
    assert styles[2]["color"] == styles[3]["color"] != styles[4]["color"]
    assert len({style["color"] for style in styles}) == 8
    assert styles[-1]["color"] == styles[0]["color"] == FAINT
    assert FAINT not in {style["color"] for style in styles[2:-1]}
    curves = {"good": {"a": (50.0, 60.0), "b": (90.0, 40.0)}, "bad": {"a": (60.0, 54.9)}, "plain": {"a": (60.0, 9.0)}}
    assert drawn(curves, 55.0) == ({"good": curves["good"], "plain": curves["plain"]}, ["bad"])


def test_one_training_is_tested_under_every_label_shift(tmp_path: Path) -> None:
    shifted = ["--label_shifts=-0.3,0.3", "--positive_share", "0.6", "--choices", "accuracy", "--seeds", "0"]
    run(tmp_path, "--methods", "plain,MACI labels=false", *shifted)
    shares = {}
    for name in ("rho 0.8", "rho 0.8, labels -0.3", "rho 0.8, labels +0.3"):
        shown = {path.parent.name for path in (tmp_path / "CIDerNet" / name).glob("*/seed0.json")}
        assert shown == {"plain", *(f"MACI labels=false tau={tau}" for tau in TAUS)}
        found = json.loads((tmp_path / "CIDerNet" / name / "plain" / "seed0.json").read_text())
        assert list(found["choices"]) == ["accuracy"]
        assert (found["options"]["positive_share"], found["seed"]) == (0.6, 0)
        truths = [found["truth"][split] for split in ("iid", "ood", "rct")]
        shares[name] = [truth.count("2") / (32 - truth.count("1")) for truth in truths]
    assert all(low < same < high for same, low, high in zip(*shares.values(), strict=True))
    curves = all_curves(tmp_path, "accuracy", None, None)
    assert {setting for panel in curves.values() for curve in panel.values() for setting in curve} == {"rho 0.8"}
    csv = ["--csv", str(tmp_path / "labels_cpu.csv"), "--benchmark", "labels"]
    debias_scm.main(["table", str(tmp_path), "--select", "accuracy", "--base", "MACI labels=false tau=0", *csv])
    table = (tmp_path / "table.md").read_text()
    assert "| method | rho 0.8, randomised trial | rho 0.8, labels +0.3, randomised trial |" in table
    assert re.search(r"\n\| plain \| 1 \| [\d.]+ \([+-]", table), "plain is compared, and the base is not"
    assert re.search(r"\n\| MACI labels=false tau=0 \| 1 \| [\d.]+ \|", table)
    assert "in parentheses the difference to MACI labels=false tau=0 and its" in table
    debias_scm.main(["recalls", str(tmp_path), "--select", "accuracy", "--methods", "plain", *csv])
    figures = [figure for figure in read_measured(tmp_path / "labels_cpu.csv") if figure.model == "plain"]
    assert {figure.benchmark for figure in figures} == {"labels, CIDerNet"}
    places = {(figure.metric, figure.condition): figure for figure in figures}
    kept = places["Acc2_non0", "rho 0.8, labels -0.3, randomised trial"]
    assert (kept.against, kept.seeds, kept.value in table) == ("MACI labels=false tau=0", "1", True)
    assert "--base 'MACI labels=false tau=0'" in kept.command
    assert places["negative found", "rho 0.8, randomised trial"].command.startswith(
        "python -m benchmarks.studies.debias_scm recalls"
    )
    text = (tmp_path / "recalls.md").read_text()
    truth, said = found["truth"]["rct"], found["choices"]["accuracy"]["splits"]["rct"]["classes"]
    pairs = [(a, b) for a, b in zip(truth, said, strict=True) if a != "1"]
    recalled = [100 * sum(b == c for a, b in pairs if a == c) / truth.count(c) for c in "02"]
    recalled += [100 * sum(pair[i] == "2" for pair in pairs) / len(pairs) for i in (1, 0)]
    row = " | ".join(f"{share:.1f}" for share in recalled)
    assert "rho 0.8, labels +0.3, randomised trial: samples not neutral, %" in text
    assert f"| plain | 1 | {row} |" in text[text.index("labels +0.3") : text.index("labels -0.3")]
    with pytest.raises(MERError, match="no records of CLUE to compare with; choose from MACI labels=false tau=0,"):
        debias_scm.main(["table", str(tmp_path), "--select", "accuracy", "--base", "CLUE"])
    with pytest.raises(MERError, match="positive_share 0.6 beside None; use the same"):
        run(tmp_path)
    with pytest.raises(MERError, match="no choice of an epoch called best; choose from loss, deconf"):
        run(tmp_path, "--choices", "best")


def test_unknown_methods_are_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "--methods", "NoSuchWrapper mode=x")
    assert "there is no wrapper NoSuchWrapper" in " ".join(capsys.readouterr().out.split())
    assert not list(tmp_path.rglob("*.json"))


def test_parts_share_the_trainings_out() -> None:
    def load(setting: str, seed: int) -> MERDataModule:
        raise AssertionError

    asked = Comparison(load, {}, ["rho 0.8", "rho 0.333"], reference="rho 0.333")
    jobs = make_jobs(asked, "plain,MACI,unconfounded", "MulT,CIDerNet", asked.settings, "0,1")
    assert len(jobs) == 2 * 2 * (2 + 2 + 1)
    assert sorted(map(repr, [*part_of(jobs, "1/2"), *part_of(jobs, "2/2")])) == sorted(map(repr, jobs))
    with pytest.raises(MERError, match="give K/N with K from 1 to N"):
        part_of(jobs, "3/2")


def test_methods_are_built_by_name() -> None:
    from mer_zoo.backbones import CIDerNet
    from mer_zoo.wrappers import CausalMER

    data = SyntheticMER(TINY)
    model = build("CausalMER fusion=sum alpha=0.5 + MACI", CIDerNet(data.spec, data.task))
    assert model.name == "CausalMER(MACI(CIDerNet))"
    assert isinstance(model, CausalMER)
    assert (model.fusion, model.alpha) == ("sum", 0.5)
    with pytest.raises(MERError, match=r"CLUE alfa=1 cannot be made: .*alfa"):
        build("CLUE alfa=1", CIDerNet(data.spec, data.task))
    assert split_names('plain,CLUE x=["a","b"],MACI') == ["plain", 'CLUE x=["a","b"]', "MACI"]


def test_no_test_split_is_read_before_the_epoch_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sealed(SyntheticMER):
        def read(self) -> Corpus:
            corpus = super().read()
            for name in [name for name in corpus.splits if name.startswith("test")]:
                corpus.splits[name] = None  # type: ignore[assignment]
            return corpus

    chosen: list[int] = []

    def tested(*_: Any) -> dict[frame.Place, frame.Record]:
        chosen.append(1)
        return {("here",): {"result": {}}}

    monkeypatch.setattr(debias_train, "_test", tested)
    asked = Comparison(lambda *_: Sealed(TINY, predict_split="valid"), {"epochs": 1}, ["rho 0.8"])
    records = debias_train.train(asked, job("MACI", "CIDerNet", "rho 0.8", ["rho 0.8"], 0))
    assert records["here",]["choices"].keys() == CHOICES.keys()
    assert chosen == [1]  # of equal epochs once


def record(seed: int, classes: str, truth: str, recordings: list[str] | None = None) -> dict[str, Any]:
    ids = {} if recordings is None else {"ood": recordings}
    return {
        "seed": seed,
        "truth": {"ood": truth},
        "ids": ids,
        "choices": {"loss": {"splits": {"ood": {"classes": classes}}}},
    }


def test_differences_and_their_intervals() -> None:
    truth = "0212" * 50
    right, wrong = truth, "2010" * 50
    a = Answers([record(seed, right, truth) for seed in range(3)], "loss")
    b = Answers([record(seed, wrong, truth) for seed in range(4)], "loss")
    assert difference(a, b, OOD) == (100.0, 100.0, 100.0)
    assert difference(a, a, OOD) == (0.0, 0.0, 0.0)
    generator = torch.Generator().manual_seed(1)
    half = [
        "".join("0" if t == "0" or c else "2" for t, c in zip(truth, row, strict=True))
        for row in torch.rand(3, 200, generator=generator) < 0.5
    ]
    c = Answers([record(seed, classes, truth) for seed, classes in enumerate(half)], "loss")
    mean, low, high = difference(a, c, OOD)
    assert low < mean < high
    assert mean == pytest.approx(sum(x - y for x, y in zip(a.accuracy(OOD), c.accuracy(OOD), strict=False)) / 3)
    # Clips of a recording stand and fall together: where these are drawn whole, a difference is much less certain.
    clips = 200
    names, same = [str(i % 10) for i in range(clips)], "0" * clips
    some = "".join("2" if i % 10 < 5 else "0" for i in range(clips))
    widths = []
    for recordings in (None, names):
        one, other = (Answers([record(s, x, same, recordings) for s in range(3)], "loss") for x in (same, some))
        mean, low, high = difference(one, other, OOD)
        assert mean == 50.0
        widths.append(high - low)
    assert widths[1] > 3 * widths[0] > 0
