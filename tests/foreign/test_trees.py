"""JSON and YAML of others are plain values within limits, or refused with one sentence."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mer_zoo.errors import MERError
from mer_zoo.foreign import read_json, read_regular, read_yaml

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 10))]
)
MERGES = "a0: &a0 {x: 1}\n" + "\n".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}" for k in range(1, 30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "more than 65,536 steps"),
        (MERGES, "more than 65,536 steps"),
        ("a: &a [*a]", "nested more than 64 deep"),
        ("[" * 400 + "]" * 400, "nested"),
        ("a: 2001-99-99", "is no YAML"),
        ("a: 2001-01-01", "it holds a date"),
        ("a: !!binary aGk=", "it holds a bytes"),
        ("a: !!set {b}", "it holds a set"),
        ("a: 0x" + "f" * 5000, "beyond 64 bits"),
        ("a: 1" + ":59" * 3000, "beyond 64 bits"),
        ("a: " + "9" * 5000, "beyond 64 bits"),
        ("? [a]\n: b", "is no YAML"),
        ("1: b", "a key in it is no text"),
        ("a: !!python/object/apply:os.system [true]", "is no YAML"),
        ("a: b\n---\nc: d", "is no YAML"),
        ("a: \x07", "is no YAML"),
        ("#" * 70_000, "larger than 65,536 bytes"),
    ],
)
def test_yaml_that_stands_for_more_than_it_says(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(MERError, match=message) as raised:
        read_yaml(path)
    assert str(path) in str(raised.value)
    assert len(str(raised.value)) < 600


def test_yaml_with_aliases_within_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {b: [1, .5, null, true]}\nc: {<<: *a, d: *a}")
    inner = {"b": [1, 0.5, None, True]}
    assert read_yaml(path) == {"a": inner, "c": {**inner, "d": inner}}
    path.write_text("")
    assert read_yaml(path) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100 + "]" * 100, "nested more than 64 deep"),
        ("[" * 100_000, "nested too deeply"),
        ("[" + "[]," * 1_100_000 + "1]", "too many values"),
        ("[" + "1," * 9_000_000 + "1]", "too many values"),
        (str(2**64), "beyond 64 bits"),
        ("9" * 5000, "is no JSON"),
        ("{", "is no JSON"),
    ],
)
def test_json_that_stands_for_more_than_it_says(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(MERError, match=message) as raised:
        read_json(path)
    assert str(path) in str(raised.value)


def test_json_is_read_as_it_is(tmp_path: Path) -> None:
    path, tree = tmp_path / "a.json", {"a": [1, {"b": None}], "c": "\u00e9", "d": 1e300, "e": [True, "x"]}
    path.write_text(json.dumps(tree))
    assert read_json(path) == tree
    with pytest.raises(MERError, match="larger than 4 bytes"):
        read_json(path, limit=4)
    path.write_bytes(b'"\xff"')
    with pytest.raises(MERError, match="is no JSON"):
        read_json(path)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes by name")
@pytest.mark.parametrize("read", [read_json, read_yaml, lambda path: read_regular(path, 9)])
def test_what_is_no_file_is_refused(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "link", "zero", "."):
        with pytest.raises(MERError, match="is not a regular file"):
            read(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "a name stands twice"),
        ('[{"b": {"a": 1, "a": 1}}]', "a name stands twice"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("[[1e400]]", "not finite"),
        ('["\\ud83d"]', "half a character"),
        ('{"\\uDE00": 1}', "half a character"),
    ],
)
def test_what_readers_differ_on_is_refused_where_asked_for(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(text)
    read_json(file)
    with pytest.raises(MERError, match=message):
        read_json(file, strict=True)


def test_whole_characters_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('["\\ud83d\\ude00"]')
    assert read_json(file, strict=True) == ["\U0001f600"]
