"""What the pages of docs/ say can be done: Python runs, commands have these options, files are there."""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from mer_zoo.cli import main
from mer_zoo.cli.command import COMMANDS
from mer_zoo.cli.parser import MERCLI

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "generated" not in page.parts]


def name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """Words behind a program's name, in blocks and in the text; those with an ellipsis are none."""
    text = page.read_text("utf-8")
    lines = "\n".join(re.findall(r"^```(?:sh|text)?\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
    found = re.findall(rf"^\s*(?:\w+=\S+ )*{program} (.+)$", lines.replace("\\\n", " "), flags=re.MULTILINE)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    found += re.findall(rf"`{program} ([^`]+)`", prose)
    found = [re.sub(r"\$\w+", "0", line) for line in found if "..." not in line]
    yield from (shlex.split(line, comments=True) for line in found)


def write_files(page: Path, folder: Path) -> None:
    """Write the blocks that begin with a comment that is a file's name."""
    for language in ("python", "yaml"):
        for block in blocks(page, language):
            if named := re.match(r"# ([\w/]+\.(?:py|yaml))\n", block):
                (folder / named[1]).write_text(block, encoding="utf-8")


@pytest.fixture(scope="module")
def recorded() -> str:
    """The config.yaml of a run, which names its file."""
    config = ROOT / "configs" / "mosi" / "mult.yaml"
    with redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit):
        main(["fit", "--config", str(config), "--data.path=unaligned_50.pkl", "--print_config"])
    return printed.getvalue()


@pytest.fixture
def parse(recorded: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Reads a command of the Trainer as far as nothing is built or run."""
    for method in ("instantiate_classes", "_run_subcommand", "_parse_ckpt_path", "before_instantiate_classes"):
        monkeypatch.setattr(MERCLI, method, lambda *_: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")

    def read(words: list[str]) -> None:
        for config in (tmp_path / word for word in words if word.endswith("/config.yaml")):  # of a run that was
            config.parent.mkdir(parents=True, exist_ok=True)
            config.write_text(recorded, encoding="utf-8")
        main(words)

    return read


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page, "python"):
        exec(compile(block, name(page), "exec"), names)


@pytest.mark.parametrize("page", [page for page in PAGES if list(commands(page, "mer-zoo"))], ids=name)
def test_commands_are_understood(
    page: Path, parse: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(page, tmp_path)
    for command, *words in commands(page, "mer-zoo"):
        assert command in COMMANDS or command.startswith("--"), command
        if command in COMMANDS and COMMANDS[command].module is None:
            if any(word.startswith("--config") for word in words):
                parse([command, *words])
        elif command in COMMANDS:
            with pytest.raises(SystemExit):
                main([command, "--help"])
            told = capsys.readouterr().out
            own = words[: words.index("--")] if "--" in words else words
            assert [word for word in own if word.startswith("--") and word.split("=")[0] not in told] == []
    for module in {path.stem for path in tmp_path.glob("my_*.py")}:
        monkeypatch.delitem(sys.modules, module, raising=False)


def test_an_unknown_option_is_found(parse: Any) -> None:
    with pytest.raises(SystemExit):
        parse(["fit", "--config", "configs/mosi/mult.yaml", "--model.backbone.no_such_option=1"])


@pytest.mark.parametrize("page", [page for page in PAGES if list(commands(page, "python"))], ids=name)
def test_scripts_are_there_with_these_options(page: Path) -> None:
    for script, *words in commands(page, "python"):
        if script == "-m":
            continue
        text = (ROOT / script).read_text("utf-8") + "".join(
            p.read_text("utf-8") for p in (ROOT / "benchmarks").glob("*.py")
        )
        assert [word for word in words if word.startswith("--") and f'"{word.split("=")[0]}"' not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_are_there(page: Path) -> None:
    said = re.findall(
        r"\b((?:configs|benchmarks|mer_zoo|notebooks|scripts|tests)/[\w./*-]+\w)", page.read_text("utf-8")
    )
    assert [path for path in said if not list(ROOT.glob(path))] == []
