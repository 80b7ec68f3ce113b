"""What README and guide say can be done: their Python runs, their commands run, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig, BertModel

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo import load_pretrained
from mer_zoo.cli import main
from mer_zoo.cli.sweeps.config import check_sweep, load_sweep
from mer_zoo.compat.released import SOURCES
from mer_zoo.data.validate import validate
from scripts.quickstart_table import PAGE, RUNS, STEPS, first_losses, provenance_of, settings, table_of

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDE = [README, *(ROOT / "docs" / f"{page}.md" for page in ("install", "train", "test", "sweeps", "sharing", "zoo"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in GUIDE)
DOCS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
SMALL += ["--trainer.enable_model_summary=false", "--model.backbone.depth=1"]
PLACES = {"RUN_A": "runs/mosi/mult/version_0", "RUN_B": "runs/seeds/mult_0", "RUN": "runs/mosi/mult/version_0"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130


def test_the_table_of_the_quickstart_is_the_one_that_was_made() -> None:
    assert table_of(README) == table_of(PAGE)
    assert provenance_of(PAGE).items() >= settings().items(), "make quickstart-table"


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_the_table_of_the_quickstart_is_of_this_code(run: str) -> None:
    """Three batches in place of the minute and a half that the table takes."""
    recorded = [float(loss) for loss in provenance_of(PAGE)[f"{STEPS} {run}"].split()]
    assert len(recorded) == 9
    assert first_losses(run) == pytest.approx(recorded, abs=1e-3), "make quickstart-table"


def test_the_zoo_is_complete() -> None:
    page = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    networks = re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)
    methods = re.findall(r"^- `(\w+)`", page.partition("## Debiasing methods")[2], flags=re.MULTILINE)
    for found, module, word in (
        (networks, mer_zoo.backbones, "networks"),
        (methods, mer_zoo.wrappers, "debiasing methods"),
    ):
        assert sorted(found) == sorted(module.__all__)
        assert f"[{len(found)} {word}]" in README.read_text(encoding="utf-8")


def test_every_source_of_released_checkpoints_is_named() -> None:
    listed = re.search(r"load_released\(model, state_dict, source=([^)]*)\)", TEXT)
    assert listed is not None
    assert sorted(re.findall(r'"(\w+)"', listed[1])) == sorted(SOURCES)


def commands(folder: Path) -> list[list[str]]:
    """Arguments of every mer-zoo command on the pages, after a shell has read them."""
    tools = folder / "tools"
    tools.mkdir()
    for name in ("git", "pip", "make", "mer-zoo"):
        body = "printf '%s\\037' \"$@\"; echo" if name == "mer-zoo" else "true"
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    script = "cd() { :; }\n" + re.sub(r"\bRUN(_[AB])?\b", lambda found: PLACES[found[0]], "".join(blocks("sh")))
    path = os.pathsep.join([str(tools), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-ec", script], env={"PATH": path}, capture_output=True, text=True, check=True, cwd=folder
    )
    return [line.split("\037")[:-1] for line in done.stdout.splitlines()]


def run(args: list[str]) -> int | str:
    """Exit code of a command."""
    try:
        main(args)
    except SystemExit as stopped:
        return stopped.code or 0
    return 0


ORDER = {"fit": 1, "test": 2, "predict": 2, "report": 3, "export": 3}


@pytest.mark.slow
def test_python_runs() -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "a page", "exec"), names)
    assert names["module"].model.name == "CausalMER(Mean)"


@pytest.mark.slow
@pytest.mark.usefixtures("forked")
@pytest.mark.filterwarnings("ignore:MACI chose tau by an effective sample size")  # the corpus is tiny
def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path]) -> None:
    given = commands(tmp_path)
    assert {args[0] for args in given} == {
        "validate-data",
        "describe",
        "fit",
        "test",
        "predict",
        "report",
        "convert",
        "split-ood",
        "export",
        "seeds",
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MER_ZOO_CACHE", str(tmp_path / "cache"))
    for name in ("unaligned_50.pkl", "new_clips.pkl"):
        shutil.copy(corpus_files["mmsa_unaligned"], name)
    shutil.copy(corpus_files["mmsa_lists"], "mosei_unaligned_50.pkl")
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for block in blocks("yaml"):
        (tmp_path / block.splitlines()[0].removeprefix("# ")).write_text(block)
    # RUN, RUN_A and RUN_B stand for finished runs, which other commands make, some of them later in the page.
    given.sort(key=lambda args: ORDER.get(args[0], 0))
    for args in given:
        if args[0] == "seeds":
            args[1] = "1"  # one seed is run like five
        assert run([*args, *(SMALL if "fit" in args else [])]) == 0, args
    conditions = (tmp_path / PLACES["RUN"] / "results.md").read_text()
    assert "half missing" in conditions
    assert "mosei" in conditions
    assert (tmp_path / "comparison" / "report.png").exists()
    assert (tmp_path / "stores" / "mosi" / "corpus.json").exists()
    assert load_pretrained("shared/mult").name == "MulT"


def test_corpora_of_the_page_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "corpus.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL):
        exec(compile(block, "a page", "exec"), names)
    paths = re.findall(r"^mer-zoo validate-data (\S+)$", page, flags=re.MULTILINE)
    assert len(paths) == 8
    assert {path: [str(fault) for fault in validate(path)] for path in paths} == {path: [] for path in paths}


ROWS = dict(re.findall(r"^\| ([^|]+?) \| (.*`--.+) \|$", TEXT, flags=re.MULTILINE))
EXEMPT = {
    "use several GPUs, bf16",  # needs them
    "resume",  # tests/cli/test_command.py, with a run that can be resumed
}


def test_the_table_of_options_is_found() -> None:
    assert ROWS.keys() > EXEMPT
    assert len(ROWS) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("purpose", [purpose for purpose in ROWS if purpose not in EXEMPT])
def test_options_of_the_table(
    purpose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=3000, **sizes)).save_pretrained("FOLDER_OR_NAME")
    options = [word for span in re.findall(r"`(--.+?)`", ROWS[purpose]) for word in shlex.split(span)]
    assert options
    config = ROOT / "configs" / "mosi" / "mult.yaml"
    base = [f"--config={config}", f"--data.path={corpus_files['mmsa_unaligned']}", "--data.task=seven"]
    assert run(["fit", *base, *SMALL, *options]) == 0


def test_sweeps_are_those_of_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MOSI", "unaligned_50.pkl")
    lines = [shlex.split(line) for block in blocks("text") for line in block.splitlines()]
    files = [word for words in lines for word in words if word.startswith("configs/sweeps/")]
    assert len(files) == len(lines) == 3
    for words, file in zip(lines, files, strict=True):
        extra = words[words.index("--") + 1 :] if "--" in words else []
        assert check_sweep(load_sweep(file, extra)) == 0


@pytest.mark.parametrize("page", DOCS, ids=lambda path: str(path.name))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_what_the_pages_name_is_there_after_one_import() -> None:
    """In a process of its own: here others have imported the rest."""
    named = re.compile(r"(?<!from )\bmer_zoo(?:\.\w+)+")  # what is imported from is imported by the blocks themselves
    names = sorted({name for page in DOCS for name in named.findall(page.read_text("utf-8"))})
    assert len(names) >= 10
    code = "import sys; from operator import attrgetter; import mer_zoo\n"
    code += "for name in sys.argv[1:]: attrgetter(name.removeprefix('mer_zoo.'))(mer_zoo)"
    done = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-300:]
