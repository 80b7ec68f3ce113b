"""``mer-zoo audit``: exit codes, files of findings, and a sentence for whatever cannot be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer_zoo.cli import main
from mer_zoo.data.convert import convert
from mer_zoo.data.store.fingerprint import regrouped_sha256
from mer_zoo.data.store.store import META


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as leaving:
        main(["audit", *map(str, args)])
    return int(leaving.value.code or 0)


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """A file whose test split is its training split."""
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {"audio": rng.normal(size=(6, 5, 3)), "regression_labels": np.linspace(-2, 2, 6)}
    fields["id"] = np.array([f"v{row}$_$0" for row in range(6)])
    file = tmp_path / "clips.npz"
    members: dict[str, Any] = {f"{split}/{key}": x for split in ("train", "test") for key, x in fields.items()}
    np.savez(file, **members)
    return file


def test_a_leak_is_told_with_exit_code_1(leaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = leaking.with_name("findings.json")
    assert run(leaking, "--json", out, "--out", out.with_suffix(".md")) == 1
    told = capsys.readouterr().out
    assert "leak: train and test are one split under two names: all 6 samples are the same" in told
    assert "remedy: give test its own samples" in told
    assert "not checked: " in told
    content = json.loads(out.read_text())
    assert content["findings"][0]["kind"] == "identical-splits"
    assert content["findings"][0]["evidence"] == {"one": "train", "other": "test", "samples": 6}
    assert "| **leak** |" in out.with_suffix(".md").read_text()


def test_files_of_every_format_are_read(corpus_files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for name, path in corpus_files.items():
        assert run(path) == 0, name
    assert "Traceback" not in capsys.readouterr().err


def test_a_store_and_its_source(
    tmp_path: Path, corpus_files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "clips.pkl"
    shutil.copy(corpus_files["mmsa_unaligned"], source)
    store = tmp_path / "store"
    convert(source, store)
    capsys.readouterr()
    assert run(store) == 0
    assert "its source does" not in capsys.readouterr().out
    source.write_bytes(source.read_bytes() + b"\0")
    assert run(store) == 0
    assert "has changed since; convert it again" in capsys.readouterr().out
    source.unlink()
    assert run(store) == 0
    assert f"its source {source} is gone; what the store holds was audited" in capsys.readouterr().out
    (store / "train.audio.npy").unlink()
    assert run(store) == 2
    assert "is a damaged store (train.audio.npy is missing)" in capsys.readouterr().err


def test_a_store_in_new_splits_still_holds_what_its_source_does(
    tmp_path: Path, corpus_files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, store = tmp_path / "clips.pkl", tmp_path / "store"
    shutil.copy(corpus_files["mmsa_unaligned"], source)
    convert(source, store)
    index = json.loads((store / META).read_text())
    ids = {name: about["ids"] for name, about in index["splits"].items()}
    index["sha256"] = regrouped_sha256(index["sha256"], ids)
    (store / META).write_text(json.dumps(index))
    capsys.readouterr()
    assert run(store) == 0
    assert "its source does" not in capsys.readouterr().out


def test_a_store_whose_splits_overlap_is_audited(leaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = leaking.parent / "store"
    with np.load(leaking) as content:
        other: dict[str, Any] = {key: x for key, x in content.items() if key.startswith("train")}
        other |= {key: x + 1 if key.endswith("audio") else x for key, x in content.items() if key.startswith("test")}
    other["test/id"] = np.array([f"w{row}$_$0" for row in range(6)])
    source = leaking.with_name("other.npz")
    np.savez(source, **other)
    convert(source, store)
    index = json.loads((store / META).read_text())
    index["splits"]["test"]["ids"] = index["splits"]["train"]["ids"]
    (store / META).write_text(json.dumps(index))
    assert run(store) == 0
    assert "6 ids of test are in train too, with other contents" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("data: {class_path: mer_zoo.SyntheticMER, init_args: {scm: {train: 40, valid: 20, test: 20}}}", 0),
        ("data: {class_path: mer_zoo.SyntheticMER, init_args: {scm: {trian: 40}}}", 2),
        ("data: {class_path: mer_zoo.MOSI, init_args: {path: nowhere.pkl}}", 2),
        ("data: {class_path: os.system, init_args: {command: touch pwned}}", 2),
        ("model: MulT", 2),
        ("- 3", 2),
        ("data: {init_args: {path: config.yaml}}", 2),
    ],
)
def test_a_configuration_names_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str, expected: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(content)
    assert run("config.yaml") == expected
    told = capsys.readouterr()
    assert ("mer-zoo: error: " in told.err) == bool(expected)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("word", ["Acc2", "Acc2=", "=0.5", "Acc2=nan", "Acc2=much"])
def test_a_ceiling_that_is_none(leaking: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert run(leaking, "--ceiling", word) == 2
    assert "is no metric and figure; write it as in --ceiling Acc2_non0=0.857" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--seed", "-1"], ["--modalities", "smell"], ["--groups", "nowhere.csv"]])
def test_other_misuse(leaking: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    assert run(leaking, *options) == 2
    assert "mer-zoo: error: " in capsys.readouterr().err


def test_hostile_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (("cut.pkl", b"\x80\x04\x95"), ("text.csv", b"a,b\n1,2\n"), ("evil.pkl", b"cos\nsystem\n.")):
        (tmp_path / name).write_bytes(content)
        assert run(tmp_path / name) == 2
        assert capsys.readouterr().err.startswith("mer-zoo: error: ")
    assert run(tmp_path / "nowhere.pkl") == 2
    assert "does not exist" in capsys.readouterr().err
