"""Every command that a docstring of benchmarks/ or a page of docs/ names is one that its script takes; cheap ones run.

What a script measures in a process of its own is measured in this one, but once: importing PyTorch takes the longest.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.speed import cumdf_step
from benchmarks.speed.timing import in_fresh_process

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"(?:^|`) *python -m (benchmarks\.[\w.]+)([^`\n]*)", re.MULTILINE)
SCRIPTS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
    if "def parser()" in path.read_text(encoding="utf-8")
)


def commands(path: Path) -> Iterator[tuple[str, str]]:
    """Scripts and the words behind them, as a file names them."""
    for script, words in COMMAND.findall(path.read_text(encoding="utf-8")):
        yield script, words.strip()


TEXTS = [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.md"), *(ROOT / "docs").rglob("*.md")]
NAMED = sorted({command for path in TEXTS for command in commands(path)})


def parser(script: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = importlib.import_module(script).parser()
    return made


@pytest.mark.parametrize(("script", "words"), NAMED, ids=" ".join)
def test_named_commands_are_taken(script: str, words: str) -> None:
    arguments = shlex.split(words, comments=True)
    if "--help" not in arguments:
        parser(script).parse_args(arguments)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_say_how_they_are_run(script: str) -> None:
    path = ROOT.joinpath(*script.split(".")).with_suffix(".py")
    assert script in dict(commands(path))
    assert 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")


def test_a_command_that_no_script_takes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser("benchmarks.speed.cider_step").parse_args(["--repaets", "3"])
    assert "--repaets" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "words", "shown"),
    [
        ("benchmarks.studies.bayes_synthetic", "--samples 300", "Largest standard error"),
        ("benchmarks.studies.coverage", "--trials 2 --draws 20 --out {folder}", "recordings and seeds"),
        ("benchmarks.speed.cider_step", "--repeats 1 --size 3 --lengths 4 5 6", "dropout 0.1 everywhere"),
        ("benchmarks.speed.train_step", "--only LFLSTM --repeats 1", "LFLSTM"),
        ("benchmarks.speed.precision", "losses --only LFLSTM", "LFLSTM"),
        ("benchmarks.speed.big_data", "make {folder} --samples 12", ""),
        ("benchmarks.speed.big_data", "convert {folder}", ""),
    ],
)
def test_cheap_commands_run(
    script: str,
    words: str,
    shown: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    module, folder = importlib.import_module(script), tmp_path_factory.getbasetemp() / "benchmarks"
    if hasattr(module, "in_fresh_process"):
        monkeypatch.setattr(module, "in_fresh_process", in_this_process)
    module.main(shlex.split(words.format(folder=folder)))
    assert shown in capfd.readouterr().out


def in_this_process(script: str, *args: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        importlib.import_module(script).main(args)
    return out.getvalue()


def test_a_fresh_process_is_asked_and_answers() -> None:
    asked = '{"case": "LFLSTM", "kind": "alone"}'
    assert int(in_fresh_process("benchmarks.speed.train_step", "--request", asked)) > 2**20


@pytest.mark.parametrize("kind", cumdf_step.SPEEDS)
def test_every_step_of_cumdf_trains(kind: str) -> None:
    cumdf_step.step_of(kind, width=12)()
