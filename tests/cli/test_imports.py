"""A configuration that runs code of others says so, before it does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from mer_zoo.cli import imports, main
from mer_zoo.cli.imports import tell_of_command, tell_of_imports

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of somebody's in the current folder, which would tell of its import, and nothing told before."""
    monkeypatch.setattr(imports, "_told", set())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "somebodys.py"
    path.write_text("import sys\nsys.stderr.write('imported\\n')\nclass Net: pass\ndef make(spec, task): pass\n")
    yield path
    sys.modules.pop("somebodys", None)


@pytest.mark.parametrize(
    "content",
    [
        "model: {backbone: {class_path: somebodys.Net}}",
        "model: {backbone: somebodys.Net}",
        "model: {backbone: 'somebodys:make'}",
        "fit: {trainer: {callbacks: [{class_path: somebodys.Net}, {class_path: somebodys.Other}]}}",
        "trainer: {callbacks: [&a {class_path: somebodys.inner.Net}, *a]}",
        "model: {optimizer: somebodys.make}",
    ],
)
def test_a_configuration_says_what_it_imports(other: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    tell_of_imports(content)
    tell_of_imports(content)
    told = f"mer-zoo: this configuration imports somebodys from {other}, and runs it\n"
    assert capsys.readouterr().err == told
    assert "somebodys" not in sys.modules


@pytest.mark.parametrize(
    "args",
    [
        ["--model.backbone=somebodys.Net"],
        ["--model.backbone", "somebodys.Net"],
        ["--model.backbone=somebodys:make"],
        ["--trainer.callbacks+=somebodys.Net"],
        ['--trainer.callbacks=[{"class_path": "somebodys.Net"}]'],
        ["--data.class_path=somebodys.Net"],
    ],
)
def test_a_command_line_says_what_it_imports(other: Path, args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    tell_of_command(["fit", *args])
    assert f"imports somebodys from {other}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        "model: {backbone: {class_path: mer_zoo.MulT}, optimizer: torch.optim.Adam}",
        "trainer: {logger: {class_path: lightning.pytorch.loggers.CSVLogger, init_args: {name: somebodys.Net}}}",
        "data: {init_args: {path: somebodys.py}, class_path: nowhere_at_all.Net}",
        "a: [",
        "- &a [*a]",
        "",
    ],
)
def test_what_is_known_or_no_class_is_not_told_of(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    tell_of_imports(content)
    tell_of_command(["fit", "--data.path=somebodys.py", "--trainer.logger.name=somebodys.Net", "--seed_everything=1"])
    assert not capsys.readouterr().err


def test_no_configuration_of_the_zoo_says_anything(capsys: pytest.CaptureFixture[str]) -> None:
    files = sorted((ROOT / "configs").rglob("*.yaml"))
    assert len(files) > 50
    for file in files:
        tell_of_imports(file.read_text(encoding="utf-8"))
    assert not capsys.readouterr().err


def test_it_is_said_before_the_import(other: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"model": {"backbone": {"class_path": "somebodys.Net"}}}))
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config=own.yaml", "--data=SyntheticMER"])
    assert stopped.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"mer-zoo: this configuration imports somebodys from {other}, and runs it"
    assert "imported" in lines[1:]
