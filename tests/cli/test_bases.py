"""Configurations that build on others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import capture_parser

from mer_zoo.cli.bases import CHAIN, NESTING, with_bases
from mer_zoo.cli.parser import MERCLI
from mer_zoo.errors import MERError


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def resolved(path: Path) -> Any:
    return yaml.safe_load(with_bases(path.read_text(), path))


def refusal(path: Path) -> str:
    with pytest.raises(MERError) as caught:
        with_bases(path.read_text(), path)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert ";" in sentence  # the thing; the remedy
    return sentence


def settings(*args: str) -> Any:
    return capture_parser(MERCLI).parse_args(["fit", *args]).fit


def test_a_file_without_a_base_is_left_as_it_is(write: Any) -> None:
    text = "# a comment\nmodel: &shared {base: MulT, again: [1, 2]}\nother: *shared\n"
    assert with_bases(text, write() / "own.yaml") is text


def test_mappings_are_merged_and_lists_and_values_replaced(write: Any) -> None:
    folder = write(
        base="a: {deep: {x: 1, y: 2}, list: [1, 2, 3], gone: {z: 1}, empty: {z: 1}, kept: true}\n",
        own="base: base.yaml\na: {deep: {y: 3}, list: [4], gone: null, empty: {}}\n",
    )
    assert resolved(folder / "own.yaml") == {
        "a": {"deep": {"x": 1, "y": 3}, "list": [4], "gone": None, "empty": {}, "kept": True},
    }


def test_of_several_bases_the_later_one_wins_and_the_file_over_both(write: Any) -> None:
    folder = write(
        first="{a: 1, b: 1, c: 1}",
        second="{b: 2, c: 2}",
        own="base: [first.yaml, second.yaml]\nc: 3\n",
        turned="{a: 0, base: [second.yaml, first.yaml]}",
    )
    assert resolved(folder / "own.yaml") == {"a": 1, "b": 2, "c": 3}
    assert resolved(folder / "turned.yaml") == {"a": 0, "b": 1, "c": 1}


def test_bases_have_bases_each_relative_to_its_own_file(write: Any) -> None:
    folder = write(
        top="{a: 1, b: 1, c: 1}",
        one__middle="{base: ../top.yaml, b: 2, c: 2}",
        two__own="{base: ../one/middle.yaml, c: 3}",
    )
    assert resolved(folder / "two" / "own.yaml") == {"a": 1, "b": 2, "c": 3}


def test_files_that_share_a_base_may_be_bases_of_one(write: Any) -> None:
    folder = write(
        top="a: {x: 0, y: 0, z: 0}",
        left="{base: top.yaml, a: {x: 1}}",
        right="{base: top.yaml, a: {y: 1}}",
        own="base: [left.yaml, right.yaml]",
    )
    # right says all that top says, and comes later
    assert resolved(folder / "own.yaml") == {"a": {"x": 0, "y": 1, "z": 0}}


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        ("class_path: torch.optim.SGD", {"class_path": "torch.optim.SGD"}),
        ("{class_path: Adam, init_args: {eps: 1.0}}", {"class_path": "Adam", "init_args": {"lr": 0.1, "eps": 1.0}}),
        ("init_args: {lr: 0.2}", {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.2}}),
    ],
)
def test_options_stay_with_their_class(write: Any, above: str, expected: Any) -> None:
    folder = write(
        base="optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.1}}",
        own=f"base: base.yaml\noptimizer:\n  {above}",
    )
    assert resolved(folder / "own.yaml") == {"optimizer": expected}


def test_scalars_stay_as_they_are_written(write: Any) -> None:
    """1e-3 is a number to the parser and a text to PyYAML, and '8' a text to both."""
    folder = write(base="a: {lr: 1e-3, text: '8', flag: on, day: 2026-01-01}", own="{base: base.yaml, a: {more: ~}}")
    text = with_bases((folder / "own.yaml").read_text(), folder / "own.yaml")
    assert text.split("\n") == ["a:", "  lr: 1e-3", "  text: '8'", "  flag: on", "  day: 2026-01-01", "  more: ~", ""]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_cycle_is_refused(write: Any, length: int) -> None:
    folder = write(**{f"c{index}": f"x: 1\nbase: c{(index + 1) % length}.yaml" for index in range(length)})
    sentence = refusal(folder / "c0.yaml")
    assert f"{folder / f'c{length - 1}.yaml'}, line 2: base c0.yaml is built on this file" in sentence


def test_a_base_that_is_missing_is_named_with_its_place(write: Any) -> None:
    folder = write(middle="\n\nbase:\n  - ../nowhere.yaml", own="base: middle.yaml")
    assert f"{folder / 'middle.yaml'}, line 4: base ../nowhere.yaml does not exist" in refusal(folder / "own.yaml")


@pytest.mark.parametrize(
    ("base", "own", "words"),
    [
        ("[1, 2]", "base: base.yaml", "line 1: base base.yaml holds no settings"),
        ("", "base: base.yaml", "holds no settings"),
        ("a: [", "base: base.yaml", "base.yaml is no YAML"),
        ("a: 1", "base: {a: 1}", "line 1: base is no file"),
        ("a: 1", "base:", "base is no file"),
        ("a: 1", "base: [base.yaml, [base.yaml]]", "base is no file"),
        ("a: 1", "base: .", "base . does not exist"),
        ("a: &x {b: 1}\nc: *x", "base: base.yaml", "base.yaml, line 2: *x can't stand in a file"),
        ("a: 1", "base: base.yaml\na: &x [1]\nb: *x", "own.yaml, line 3: *x can't stand in a file"),
        ("a: {<<: {b: 1}}", "base: base.yaml", "base.yaml, line 1: << can't stand in a file"),
        (f"a: {'[' * NESTING}{']' * NESTING}", "base: base.yaml", f"more than {NESTING} levels"),
        ("a: 1", f"a: {'[' * 500}", f"own.yaml, line 1: more than {NESTING} levels"),
    ],
)
def test_what_is_no_base_is_refused(write: Any, base: str, own: str, words: str) -> None:
    folder = write(base=base, own=own)
    assert words in refusal(folder / "own.yaml")


def test_a_chain_has_an_end(write: Any) -> None:
    folder = write(
        **{f"c{index}": f"base: c{index + 1}.yaml" for index in range(CHAIN + 1)}, **{f"c{CHAIN + 1}": "a: 1"}
    )
    assert resolved(folder / "c1.yaml") == {"a": 1}
    assert "let fewer build on one another" in refusal(folder / "c0.yaml")


def test_files_that_build_on_each_other_twice_are_read_once(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fourteen levels of two bases each would be 16,384 files if each were read anew."""
    files = {f"c{index}": f"base: [c{index + 1}.yaml, c{index + 1}.yaml]" for index in range(CHAIN - 2)}
    folder = write(**files, **{f"c{CHAIN - 2}": "a: 1"})
    seen = []
    read = Path.read_text

    def counted(path: Path, *args: Any, **options: Any) -> str:
        seen.append(path)
        return read(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", counted)
    assert yaml.safe_load(with_bases(files["c0"], folder / "c0.yaml")) == {"a": 1}
    assert len(seen) == CHAIN - 2


BASES = {
    "base": "trainer: {max_epochs: 7, logger: {class_path: CSVLogger, init_args: {save_dir: runs/x, name: base}}}\n",
    "one__own": "base: ../base.yaml\nmodel: {backbone: {class_path: MulT, init_args: {depth: 2}}, clip_norm: 1e-1}\n"
    "data: {class_path: SyntheticMER, init_args: {task: binary}}\n",
    "one__second": "base: ../base.yaml\ntrainer: {logger: {init_args: {name: second}}}\n",
}


def test_the_command_line_reads_them_from_any_folder(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(**BASES)
    (folder / "elsewhere").mkdir()
    for place, name in [
        (folder, "one/own.yaml"),
        (folder / "elsewhere", "../one/own.yaml"),
        (Path("/"), str(folder / "one/own.yaml")),
    ]:
        monkeypatch.chdir(place)
        found = settings(f"--config={name}")
        assert (found.trainer.max_epochs, found.model.clip_norm) == (7, 0.1)
        assert found.trainer.logger.init_args.name == "base"
        assert found.model.backbone.init_args.depth == 2


def test_options_and_later_configurations_win(write: Any) -> None:
    folder = write(**BASES)
    own, second = (f"--config={folder / 'one' / name}.yaml" for name in ("own", "second"))
    assert settings(own, "--trainer.max_epochs=3").trainer.max_epochs == 3
    assert settings("--trainer.max_epochs=3", own).trainer.max_epochs == 7
    both = settings(own, second)
    assert both.trainer.logger.init_args.name == "second"
    assert both.model.backbone.init_args.depth == 2


def test_base_is_no_option_of_the_command_line(write: Any) -> None:
    folder = write(**BASES)
    for given in (f"--base={folder / 'base.yaml'}", f"--config={{base: {folder / 'base.yaml'}}}"):
        with pytest.raises(MERError, match="base"):
            settings(f"--config={folder / 'one/own.yaml'}", given)
