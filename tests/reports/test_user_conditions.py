"""Conditions under names of the user's own: what the pattern says counts, from the configuration to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401  # its log goes to the stream of whoever imports it first, a test's own is closed
import pytest
import yaml

from mer_zoo.cli import main
from mer_zoo.data.missing import MRMS, RMFM, RMM, SMM, Condition, RandomSMM, TraditionalRMFM, UnevenRMFM
from mer_zoo.data.missing.conditions import build_conditions, described
from mer_zoo.data.missing.pattern import MissingPattern
from mer_zoo.errors import MERError
from mer_zoo.reports.groups import conditions_of
from mer_zoo.reports.record import load_results, parse_results
from mer_zoo.reports.robustness import summarize

SPLITS = ["train", "valid", "test_iid", "test_ood"]


class Flicker(RMM):
    """A pattern of a user's own, with more than a rate."""

    def __init__(self, rate: float, period: int) -> None:
        super().__init__(rate)
        self.period = period


@pytest.mark.parametrize(
    ("pattern", "curve", "rate", "available"),
    [
        (RMM(0.3), "RMM", 0.3, None),
        (RMFM(1), "RMFM", 1.0, None),
        (RMFM("per_sample"), None, None, None),
        (MRMS(0.7), "MRMS", 0.7, None),
        (RandomSMM(0.5), "RandomSMM", 0.5, None),
        (UnevenRMFM(0.5), None, None, None),
        (TraditionalRMFM(0.2, 0.2, 0.2), "TraditionalRMFM", 0.2, None),
        (TraditionalRMFM(0.2, 0.2, 0.3), None, None, None),
        (Flicker(0.3, 4), "Flicker(period=4)", 0.3, None),
        (SMM(["vision", "text"]), None, None, ("text", "vision")),
        (None, None, None, None),
    ],
)
def test_the_pattern_says_what_is_missing(
    pattern: MissingPattern | None, curve: str | None, rate: float | None, available: tuple[str, ...] | None
) -> None:
    condition = Condition("anything", "test_iid", pattern)
    assert (condition.curve, condition.rate, condition.available) == (curve, rate, available)


def test_places_are_named_by_their_complete_condition() -> None:
    given = [
        Condition("first, a third missing", "test_iid", RMM(0.3)),
        Condition("shifted, a third missing", "test_ood", RMM(0.3)),
        Condition("shifted", "test_ood"),
        Condition("elsewhere, a third missing", "test", RMM(0.3), source="data/other.pkl"),
        Condition("validation, a third missing", "valid", RMM(0.3)),
    ]
    places = [described(condition, given, SPLITS)["place"] for condition in given]
    assert places == ["", "shifted", "shifted", "test of other.pkl", "valid"]
    presets = build_conditions(["availability@ood", "robustness"], SPLITS)
    assert {described(c, presets, SPLITS)["place"] for c in presets if c.available} == {"ood"}


def test_a_condition_has_a_name() -> None:
    with pytest.raises(MERError, match="a condition on the split 'test' has no name"):
        Condition("", "test")


def entry(**fields: Any) -> dict[str, Any]:
    return {"metrics": {"Acc2": 0.5}, "pattern": "P()", "place": "", "curve": None, "rate": None} | fields


def parsed(**conditions: dict[str, Any]) -> Any:
    return parse_results({"model": "M", "conditions": conditions}, Path("results.json"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"curve": 3}, "curve"),
        ({"curve": "RMM"}, "rate"),
        ({"rate": 0.5}, "rate"),
        ({"curve": "RMM", "rate": "0.5"}, "rate"),
        ({"curve": "RMM", "rate": True}, "rate"),
        ({"curve": "RMM", "rate": 1.5}, "rate"),
        ({"curve": "RMM", "rate": float("nan")}, "rate"),
        ({"curve": "RMM", "rate": 10**400}, "rate"),
        ({"place": []}, "place"),
        ({"available": []}, "available"),
        ({"available": ["text", "smell"]}, "available"),
        ({"available": [["text"]]}, "available"),
        ({"available": {"text": 1, "x": 2}}, "available"),
        ({"available": 3}, "available"),
    ],
)
def test_odd_fields_are_refused(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(MERError, match=f"results.json: conditions: x: {field} is "):
        parsed(x=entry(**fields))


def test_sets_are_what_the_fields_say() -> None:
    odd = {"{x}": entry(), "{l}": entry(), "no sound": entry(available=["text", "vision"])}
    run = parsed(full=entry(pattern=None), **odd, everything=entry(available=["text", "audio", "vision"]))
    assert [name for name, condition in run.conditions.items() if condition.available] == ["no sound"]
    assert list(summarize(run)["drop_gap"]["full"]["Acc2"]) == ["{l,v}", "mean", "std"]


def test_files_without_fields_are_read_by_their_names() -> None:
    def old(pattern: str | None) -> dict[str, Any]:
        return {"metrics": {"Acc2": 0.5}, "pattern": pattern}

    sets = {"{l,a}": old("SMM(available=('text', 'audio'))"), "{x}": old("SMM(available=('text',))")}
    sets |= {"{l,l}": old("SMM(available=('text',))"), "{v}": old("RMM(rate=0.5)"), "{l,a,v}": old("SMM(...)")}
    run = parsed(iid=old(None), **sets)
    assert {name: c.available for name, c in run.conditions.items() if c.available} == {"{l,a}": ("text", "audio")}


def test_one_rate_is_no_curve() -> None:
    half = entry(curve="RMM", rate=0.5)
    run = parsed(full=entry(pattern=None), half=half)
    assert summarize(run)["auilc"] == {}
    assert [condition.name for condition in conditions_of([run])] == ["full", "half"]
    run = parsed(full=entry(pattern=None), half=half, all=entry(curve="RMM", rate=1.0))
    assert summarize(run)["auilc"] == {"RMM": {"Acc2": 0.5}}


OPTIONS: dict[str, Any] = {
    "model": {"backbone": {"class_path": "LFLSTM", "init_args": {"dim": 4}}},
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False},
}


def write_config(folder: Path, conditions: list[Any]) -> str:
    scm = {"train": 16, "valid": 8, "test": 24}
    data = {"class_path": "SyntheticMER", "init_args": {"scm": scm, "batch_size": 8, "conditions": conditions}}
    logger = {"class_path": "CSVLogger", "init_args": {"save_dir": str(folder), "name": "run", "version": ""}}
    trainer = {**OPTIONS["trainer"], "logger": logger}
    (folder / "config.yaml").write_text(yaml.safe_dump({**OPTIONS, "data": data, "trainer": trainer}))
    return f"--config={folder / 'config.yaml'}"


def pattern(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"mer_zoo.data.{name}", "init_args": arguments}


def test_from_the_configuration_to_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {30: "30 % missing", 60: "RMM 0.1 or so", 100: "nothing at all"}
    conditions: list[Any] = [
        "default",
        *({"name": n, "split": "test_iid", "pattern": pattern("RMM", rate=p / 100)} for p, n in names.items()),
        {"name": "no sound", "split": "test_iid", "pattern": pattern("SMM", available=["text", "vision"])},
        {"name": "only a voice", "split": "test_ood", "pattern": pattern("SMM", available=["audio"])},
        {"name": "{x}", "split": "test_iid", "pattern": pattern("RMFM", rate=0.5)},
    ]
    config = write_config(tmp_path, conditions)
    main(["fit", config])
    run = tmp_path / "run"
    main(["test", config, f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"])
    summary = json.loads((run / "results.json").read_text())["summary"]
    assert list(summary["auilc"]) == ["RMM"]
    assert {place: list(gaps["Acc3"])[:-2] for place, gaps in summary["drop_gap"].items()} == {
        "iid": ["{l,v}"],
        "ood": ["{a}"],
    }
    read = load_results(run)
    values = [read.conditions[name].metrics["Acc3"] for name in ("iid", *names.values())]
    widths = [0.3, 0.3, 0.4]
    area = sum(w * (a + b) / 2 for w, a, b in zip(widths, values[:-1], values[1:], strict=True))
    assert summary["auilc"]["RMM"]["Acc3"] == pytest.approx(area, abs=1e-6)
    text = (run / "results.md").read_text()
    assert "at each missing rate, RMM" in text
    assert "| metric | AUILC | 0.0 | 0.3 | 0.6 | 1.0 |" in text
    assert "| metric | {l,v} | {a} | mean | std |" in text
    for name in ("no sound", "only a voice", "{x}"):
        assert f"| {name} | 24 |" in text
    capsys.readouterr()
    main_report(run, tmp_path / "report")
    told = capsys.readouterr().out + (tmp_path / "report" / "report.md").read_text()
    assert told.count("AUILC of Acc3 in percent") == 2
    assert told.count("Drop gap of Acc3, percentage points") == 2
    assert (tmp_path / "report" / "robustness.png").is_file()


def main_report(run: Path, dest: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(run), "--metric=Acc3", f"--out={dest}", "--bootstrap=0"])
    assert not ended.value.code


@pytest.mark.parametrize("rate", [1.5, -0.1, float("nan")])
def test_a_rate_out_of_range_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: float
) -> None:
    config = write_config(tmp_path, [{"name": "too much", "split": "test_iid", "pattern": pattern("RMM", rate=rate)}])
    with pytest.raises(SystemExit) as stopped:
        main(["test", config, "--untrained=true"])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line != "INFO: Seed set to 0"] == [
        f"mer-zoo: error: rate is {rate}; give a number in [0, 1]"
    ]
