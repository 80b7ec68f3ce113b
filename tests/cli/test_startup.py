"""What the command line says at once: without torch, which takes seconds to import."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from mer_zoo.cli import loading, main
from mer_zoo.cli.command import COMMANDS

HEAVY = ("torch", "lightning", "transformers", "transformers.modeling_utils", "matplotlib")
PROBE = f"""
import gc, sys
from mer_zoo.cli import main
code = 0
try:
    main()
except SystemExit as leaving:
    code = leaving.code or 0
sys.stderr.write(" ".join(name for name in {HEAVY} if name in sys.modules))
sys.stderr.write(" frozen" if gc.isenabled() and gc.get_freeze_count() > 100_000 else "")
sys.exit(code)
"""


def probe(*args: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, whose stderr then names the heavy modules that it has imported."""
    return subprocess.run([sys.executable, "-c", PROBE, *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], ["list"], ["sweep", "--help"], ["validate-data", "--help"]], ids=" ".join
)
def test_what_comes_at_once_imports_no_torch(args: list[str]) -> None:
    done = probe(*args)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_probe_finds_torch() -> None:
    assert "torch" in probe("convert", "nowhere.pkl", "store").stderr.splitlines()[-1].split()


def test_fit_imports_no_networks_of_others_and_keeps_what_it_imports_from_the_collector() -> None:
    done = probe("fit", "--print_config", "--data=SyntheticMER", "--model.backbone=LFLSTM")
    assert done.returncode == 0, done.stderr
    found = done.stderr.splitlines()[-1].split()
    assert {"torch", "lightning", "frozen"} <= set(found)
    assert "transformers.modeling_utils" not in found


def test_what_validate_data_imports_later_is_kept_as_well(tmp_path: Path) -> None:
    done = probe("validate-data", str(tmp_path / "nowhere.pkl"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].split() == ["torch", "frozen"]


def test_the_collector_of_another_program_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(loading._process, "runs_a_command", False)  # as it is before any command
    gc.unfreeze()
    before = gc.get_freeze_count()  # Python 3.12 has some at its start
    with pytest.raises(SystemExit):
        main(["convert", "nowhere.pkl", "store"])
    assert gc.get_freeze_count() == before
    assert gc.isenabled()


def test_a_trial_of_a_sweep_watches_before_it_imports() -> None:
    code = "import sys, mer_zoo.cli.sweeps.trial; sys.exit('torch' in sys.modules or 'optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_help_is_one_screen_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert not leaving.value.code
    lines = capsys.readouterr().out.splitlines()
    assert {"fit", "test", "predict", "report", "export", "sweep"} <= COMMANDS.keys()
    assert {line.split()[0] for line in lines if line.startswith("  ")} == COMMANDS.keys()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def test_nothing_to_do_is_told_with_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([])
    assert leaving.value.code == 2
    assert "usage: mer-zoo COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "guess"), [("fti", ", did you mean fit; "), ("xyzzy", "'; choose from fit, ")])
def test_a_word_that_is_no_command(capsys: pytest.CaptureFixture[str], word: str, guess: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([word])
    assert leaving.value.code == 2
    told = capsys.readouterr().err
    assert f"there is no command '{word}'" in told
    assert guess in told


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.module is not None])
def test_every_tool_is_there(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([name, "--help"])
    assert not leaving.value.code
    assert capsys.readouterr().out.startswith(f"usage: mer-zoo {name} ")
