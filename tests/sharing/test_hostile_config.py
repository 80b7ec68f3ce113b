"""Configurations of other people, as JSON or YAML: nothing in them is imported or executed."""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz_targets import Exports
from fuzzing import read_many
from safetensors.torch import load_file, save_file
from torch import Tensor

from mer_zoo import DataSpec, SentimentRegression, load_pretrained, save_pretrained
from mer_zoo.backbones import LFLSTM
from mer_zoo.cli import main
from mer_zoo.errors import MERError


@pytest.fixture
def export(tmp_path: Path) -> Path:
    save_pretrained(LFLSTM(DataSpec(), SentimentRegression(), dim=4), tmp_path / "export")
    return tmp_path / "export"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there as soon as the module ``trap_of_this_test`` has been imported or one of its functions
    called.
    """
    sprung = tmp_path / "sprung"
    source = f"from pathlib import Path\n\ndef Net(*args, **kwargs):\n    Path({str(sprung)!r}).touch()\n\nNet()\n"
    (tmp_path / "trap_of_this_test.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trap_of_this_test", raising=False)
    return sprung


NEST = {"class_path": "trap_of_this_test.Net", "init_args": {}}
PLACES: list[list[Any]] = [["task"], ["backbone"], ["wrappers", 0]]


def change(export: Path, keys: list[Any], value: Any, wrap: bool = True) -> None:
    config = json.loads((export / "config.json").read_text())
    config["wrappers"] += [{"class": "CLUE", "arguments": {}}] if wrap else []
    place = config
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (export / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    "name", ["trap_of_this_test.Net", "trap_of_this_test", "mer_zoo.cli.main", "trap_of_this_test.Net.x"]
)
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_named_class_is_not_imported(export: Path, trap: Path, place: list[Any], name: str) -> None:
    change(export, [*place, "class"], name)
    with pytest.raises(MERError, match=r"config\.json is refused: .* is no (Task|Backbone|Wrapper) of mer_zoo"):
        load_pretrained(export)
    assert not trap.exists()
    with pytest.raises(MERError, match="is no (Task|Backbone|Wrapper) of mer_zoo"):
        load_pretrained(export, modules=("trap_of_this_test",))
    assert trap.exists()  # the caller's own words do import it, so that the trap is one


@pytest.mark.parametrize("key", ["text_encoder", "dim", "out_dropout"])
def test_a_nested_class_is_not_imported(export: Path, trap: Path, key: str) -> None:
    change(export, ["backbone", "arguments", key], NEST)
    with pytest.raises(MERError, match=r"config\.json is refused"):
        load_pretrained(export)
    assert not trap.exists()


def test_hostile_exports(tmp_path: Path) -> None:
    tally = read_many(Exports(tmp_path), range(200))
    assert tally.findings == []
    assert tally.counts["accepted"] >= 10
    assert tally.counts["refused"] >= 100


def with_tensor(export: Path, shape: list[int], copies: int = 1) -> None:
    """Add tensors without elements to a file of weights."""
    weights = export / "model.safetensors"
    data = weights.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    end = len(data) - 8 - size
    header |= {f"more{i}": {"dtype": "F32", "shape": shape, "data_offsets": [end, end]} for i in range(copies)}
    packed = json.dumps(header).encode()
    weights.write_bytes(len(packed).to_bytes(8, "little") + packed + data[8 + size :])


@pytest.mark.parametrize("shape", [[0, 2**62], [0, 2**63], [2**64 - 1, 0], [0] * 80])
def test_impossible_shapes_are_refused(export: Path, shape: list[int]) -> None:
    with_tensor(export, shape)
    with pytest.raises(MERError, match="config.json is refused|can't be read"):
        load_pretrained(export)


TABLE = """
import torch
from torch import nn
from mer_zoo import Backbone, Output

class TableNet(Backbone):
    def __init__(self, spec, task, rows: int = 4):
        super().__init__(spec, task)
        self.feature_dim = 2
        self.register_buffer("table", torch.zeros(rows), persistent=False)
        self.head = nn.Linear(2, task.num_outputs)

    def fuse(self, text, audio, vision):
        return Output(self.classify(audio.x[:, 0, :2]), audio.x[:, 0, :2])
"""


def test_elements_that_are_in_no_file_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "table_of_this_test.py").write_text(TABLE)
    monkeypatch.syspath_prepend(tmp_path)
    modules = ("table_of_this_test",)
    save_pretrained(import_module(*modules).TableNet(DataSpec(), SentimentRegression()), tmp_path / "export")
    assert load_pretrained(tmp_path / "export", modules).get_buffer("table").numel() == 4
    change(tmp_path / "export", ["backbone", "arguments", "rows"], 2**26, wrap=False)
    with pytest.raises(MERError, match=r"config\.json is refused: the model has far more elements than its file"):
        load_pretrained(tmp_path / "export", modules)


def test_a_file_of_very_many_tensors_is_refused_at_once(export: Path) -> None:
    with_tensor(export, [0], copies=20_000)
    change(export, ["backbone", "arguments", "depth"], 60_000)
    begin = time.process_time()
    with pytest.raises(MERError, match=r"model\.safetensors holds 200\d\d tensors, more than any model"):
        load_pretrained(export)
    assert time.process_time() - begin < 10


def test_weights_of_another_type_are_refused_or_fitted(export: Path) -> None:
    state: dict[str, Tensor] = {name: value.double() for name, value in load_file(export / "model.safetensors").items()}
    save_file(
        state,
        export / "model.safetensors",
        {"mer_zoo": json.dumps({"model": "LFLSTM", "task": "SentimentRegression [1]"})},
    )
    model = load_pretrained(export)
    assert all(parameter.dtype.is_floating_point and parameter.element_size() == 4 for parameter in model.parameters())


@pytest.mark.parametrize("command", [["fit", "--config"], ["sweep"]], ids=["fit", "sweep"])
@pytest.mark.parametrize("tag", ["apply", "new"])
def test_yaml_tags_are_not_followed(
    tmp_path: Path, command: list[str], tag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sprung, file = tmp_path / "sprung", tmp_path / "evil.yaml"
    call = f"!!python/object/{tag}:os.mkdir [{str(sprung)!r}]"
    file.write_text(f"model: {call}\nmetric: {call}\n")
    with pytest.raises(SystemExit) as caught:
        main([*command, str(file)])
    assert caught.value.code == 2
    assert "mer-zoo: error: " in capsys.readouterr().err
    assert not sprung.exists()
    if tag == "apply":
        yaml.unsafe_load(file.read_text().splitlines()[0])
        assert sprung.exists()  # the file is a danger indeed
