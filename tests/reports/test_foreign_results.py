"""A results.json, or scores, of others: a sound report, or one sentence that names file and field."""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from json_fuzz import hostile_json
from report_toys import write_run
from safetensors.torch import load_file, save_file

from mer_zoo.cli import main
from mer_zoo.errors import MERError
from mer_zoo.reports.record import load_results
from mer_zoo.reports.report import report

DEEP = "[" * 5000 + "]" * 5000
WORDS: list[Any] = ["twelve", "1e3", [1], {"a": 1}, True, 1.5, -1, 10**30]
IID = ("conditions", "iid")

FIELDS: dict[str, tuple[tuple[str, ...], list[Any]]] = {
    "model": (("model",), [None, 3, ["MulT"], {}, True]),
    "task": (("task",), [3, ["binary"], {}, True]),
    "convention": (("convention",), [0.5, ["mmsa"], {}]),
    "seed": (("seed",), ["one", [1], {}, True, 1.5, 10**30]),
    "parameters": (("parameters",), WORDS),
    "weights": (("weights",), [3, [], {}]),
    "notes": (("notes",), ["slow", {"a": "b"}, 3, [3], [["slow"]], [None]]),
    "diagnostics": (("diagnostics",), [[1], 3, "tau", {"tau": "high"}, {"tau": [1]}, {"tau": True}, {"tau": 1e300}]),
    "data": (("data",), [[], 3, "MOSI"]),
    "corpus": (("data", "corpus"), [3, [], {}]),
    "source": (("data", "source"), [3, [], {}]),
    "modalities": (("data", "modalities"), ["text", 3, [3], ["smell"], [["text"]], {"text": 1}]),
    "summary": (("summary",), [[], 3, "none"]),
    "contribution": (("summary", "contribution"), [[], 3, {"iid": 3}, {"nowhere": {"text": 1}}, {"iid": {"smell": 1}}]),
    "contributions": (("summary", "contribution", "iid"), [[], {"text": "high"}, {"std": True}, {"audio": 1e300}]),
    "complexity": (("complexity",), [[], 3, "small", {"parameters": 3}, {"parameters": {"trained": -1}}]),
    "provenance": (("provenance",), [[], 3, "none"]),
    "conditions": (("conditions",), [None, [], 3, "iid", {}]),
    "iid": (IID, [None, [], 3, "iid"]),
    "split": ((*IID, "split"), [3, [], {}]),
    "pattern": ((*IID, "pattern"), [3, [], {}]),
    "source of a condition": ((*IID, "source"), [3, [], {}]),
    "count": ((*IID, "count"), WORDS),
    "metrics": ((*IID, "metrics"), [None, [], 3, "none"]),
    "majority": ((*IID, "majority"), [[], 3, "none", {"Acc2": "high"}]),
    "constant": ((*IID, "constant"), [[], 3, "none", {"MAE": [1]}]),
    "Acc3": ((*IID, "metrics", "Acc3"), ["high", [0.5], {}, True, 5.0, -0.1, 10**30]),
    "loss": ((*IID, "metrics", "loss"), ["high", [0.5], {}, True, 1e300]),
    "nested": (("data", "counts"), [json.loads("[" * 40 + "]" * 40)]),
}
EDITS = [(name, place, value) for name, (place, values) in FIELDS.items() for value in values]
RAW: dict[str, Callable[[str], str | bytes]] = {
    "cut short": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[1]",
    "a number": lambda text: "3",
    "nested deeply": lambda text: text.replace('"notes": []', f'"notes": {DEEP}'),
    "nested all over": lambda text: DEEP,
    "digits": lambda text: text.replace('"seed": 0', f'"seed": {"9" * 5000}'),
    "an infinite number": lambda text: text.replace('"seed": 0', '"seed": 1e400'),
    "an infinite loss": lambda text: text.replace('"loss": 0.5', '"loss": 1e400'),
    "NaN": lambda text: text.replace('"loss": 0.5', '"loss": NaN'),
    "Infinity": lambda text: text.replace('"seed": 0', '"seed": -Infinity'),
    "a name twice": lambda text: text.replace('"seed": 0', '"seed": 0, "seed": 1'),
    "half a character": lambda text: text.replace('"MulT"', '"MulT\\ud800"'),
    "half a character in a name": lambda text: text.replace('"iid"', '"iid\\udc00"'),
    "a name that is no text": lambda text: text.replace('"seed": 0', "1: 0"),
    "too many values": lambda text: text.replace('"notes": []', f'"notes": [{"[]," * 600_000}[]]'),
    "too large": lambda text: text + " " * 50_000_000,
    "too many conditions": lambda text: json.dumps(
        {"model": "M", "conditions": {str(number): {"metrics": {}} for number in range(3000)}}
    ),
    "another encoding": lambda text: text.encode("utf-16"),
}


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", sets=["{l}"])


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence with which the command ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["report", str(folder), "--out", str(folder.parent / "out")])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert not said.out
    assert not (folder.parent / "out").exists()
    (line,) = said.err.splitlines()
    assert line.startswith("mer-zoo: error: ")
    assert str(folder) in line
    assert len(line) < 500
    return line


@pytest.mark.parametrize(("name", "place", "value"), EDITS)
def test_an_odd_field_is_one_sentence(sound: Path, name: str, place: tuple[str, ...], value: Any) -> None:
    file = sound / "results.json"
    tree = json.loads(file.read_text())
    owner = tree
    for part in place[:-1]:
        owner = owner[part]
    owner[place[-1]] = value
    file.write_text(json.dumps(tree))
    with pytest.raises(MERError) as refusal:
        load_results(sound)
    said = str(refusal.value)
    assert str(file) in said
    assert place[-1] in said or "number beyond 64 bits" in said or "no tested condition" in said
    assert len(said) < 400


@pytest.mark.parametrize("name", RAW)
def test_an_odd_file_ends_the_command(sound: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = sound / "results.json"
    text = file.read_text()
    made = RAW[name](text)
    assert made != text
    file.write_bytes(made if isinstance(made, bytes) else made.encode())
    assert "results.json" in refused(sound, capsys)


def _folder(file: Path) -> None:
    file.mkdir()


def _nowhere(file: Path) -> None:
    file.symlink_to(file.parent / "nowhere")


def _circle(file: Path) -> None:
    file.symlink_to(file)


def _device(file: Path) -> None:
    file.symlink_to("/dev/zero")


PLACES: list[tuple[str, Callable[[Path], None]]] = [("results.json", _nowhere)]  # scores may be missing
PLACES += [
    (name, make) for name in ("results.json", "scores.safetensors") for make in (_folder, os.mkfifo, _circle, _device)
]


@pytest.mark.parametrize(("name", "make"), PLACES)
def test_what_is_no_file_ends_the_command(
    tmp_path: Path,
    name: str,
    make: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_run(tmp_path / "runs" / "a", sets=["{l}"])
    run = write_run(tmp_path / "runs" / "b", model="TFN", sets=["{l}"])
    (run / name).unlink()
    make(run / name)
    refused(tmp_path / "runs", capsys)


SCORES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "iid.logits shape": lambda logits: logits[:, :2],
    "iid.logits count": lambda logits: logits[:-1],
    "iid.logits scalar": lambda logits: logits.sum(),
    "iid.logits NaN": lambda logits: logits * math.nan,
    "iid.logits infinite": lambda logits: logits / 0,
    "iid.logits whole": lambda logits: logits.long(),
    "iid.logits complex": lambda logits: logits.to(torch.complex64),
    "iid.logits short": lambda logits: logits.to(torch.float8_e4m3fn),
    "iid.target shape": lambda target: target[:, None],
    "iid.target NaN": lambda target: target * math.nan,
    "iid.target range": lambda target: target + 100,
    "iid.target classes": lambda target: target.long() + 9,
    "iid.target truth": lambda target: target > 0,
    "iid.target short": lambda target: target.to(torch.float8_e5m2),
    "iid.index shape": lambda index: index[:, None],
    "iid.index scalar": lambda index: index.sum(),
    "iid.index broken": lambda index: index.float(),
}


@pytest.mark.parametrize("name", SCORES)
def test_odd_scores_end_the_command(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / "runs" / model, model=model, sets=["{l}"]) for model in ("MulT", "TFN")]
    for run in runs:
        file, key = run / "scores.safetensors", name.split()[0]
        tensors = load_file(file)
        tensors[key] = SCORES[name](tensors[key]).contiguous()
        save_file(tensors, file)
    said = refused(tmp_path / "runs", capsys)
    assert "scores.safetensors: the scores of 'iid' " in said


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16, torch.float64])
def test_scores_of_other_precision_are_compared(tmp_path: Path, half: torch.dtype) -> None:
    runs = [write_run(tmp_path / model, model=model, sets=["{l}"]) for model in ("MulT", "TFN")]
    for run in runs:
        file = run / "scores.safetensors"
        save_file({k: v.to(half) if k.endswith("logits") else v for k, v in load_file(file).items()}, file)
    made = report([tmp_path], samples=10)
    assert any(" minus " in table.title for table in made.tables)


def refusal_of(call: Callable[[], object]) -> str:
    """The sentence with which a call ends; empty where it does what it was asked."""
    try:
        call()
    except MERError as error:
        return str(error)
    return ""


def test_hostile_results_are_refused_or_reported(tmp_path: Path) -> None:
    tree = json.loads((write_run(tmp_path / "sound", sets=["{l}"], curves=["RMM"]) / "results.json").read_text())
    rng, sound = random.Random(0), 0  # no secret
    file = tmp_path / "fuzz" / "results.json"
    file.parent.mkdir()
    for _ in range(300):
        file.write_bytes(hostile_json(rng, tree))
        said = refusal_of(lambda: load_results(file))
        if said:
            assert str(file) in said
            assert len(said) < 600
            continue
        sound += 1
        if sound <= 10:
            said = refusal_of(lambda: report([file.parent], tmp_path / "out", samples=0))
            assert not said or "metric" in said
    assert 10 < sound < 290
