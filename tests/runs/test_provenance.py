"""Where a run came from: the state of the code, the versions, the command line."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mer_zoo.cli import main
from mer_zoo.runs import provenance

FIT = ["fit", "--data=SyntheticMER", "--data.task=binary", "--data.batch_size=4", "--model.backbone=LFLSTM"]
FIT += ["--data.scm.train=8", "--data.scm.valid=4", "--data.scm.test=4", "--model.backbone.dim=4"]
FIT += ["--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--model.wrappers+=MSSD", "--model.wrappers.alpha=0"]
FIT += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--record.pictures=false"]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    provenance.git_state.cache_clear()


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, "-C", str(folder), *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("one")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_commit_and_dirt(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "runs").mkdir()
    (repository / "runs" / "untracked").write_text("results are no change of the code")
    assert provenance.git_state(repository, "code.py") == {"commit": commit, "dirty": False}
    assert provenance.git_state(repository, "installed.py") is None
    assert provenance.git_state(repository / "runs", "code.py") is None  # the repository does not begin there
    (repository / "code.py").write_text("two")
    provenance.git_state.cache_clear()
    assert provenance.git_state(repository, "code.py") == {"commit": commit, "dirty": True}


def test_no_repository_and_no_git(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    assert provenance.git_state(tmp_path / "other", "code.py") is None
    git(tmp_path / "other", "init", "-q")
    provenance.git_state.cache_clear()
    assert provenance.git_state(tmp_path / "other", "code.py") is None  # no commit yet
    monkeypatch.setenv("PATH", "")
    provenance.git_state.cache_clear()
    assert provenance.git_state(repository, "code.py") is None


def test_git_is_asked_about_the_named_repository_alone(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(repository / "nowhere"))
    assert provenance.git_state(repository, "code.py") is not None


def test_the_repository_of_another_folder_runs_nothing(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = repository / "program"
    program.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(repository / 'ran'))}\ncat\n")
    program.chmod(0o755)
    (repository / ".gitattributes").write_text("* filter=own\n")
    commit = git(repository, "rev-parse", "HEAD")
    for name in ("core.fsmonitor", "filter.own.clean", "filter.own.process", "diff.external", "core.sshCommand"):
        git(repository, "config", name, str(program))
    (repository / "code.py").write_text("two")  # of another content, which git would filter to compare
    monkeypatch.chdir(repository)
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **_: pytest.fail(f"{args} was run"))
    provenance._state_of_folder.cache_clear()
    monkeypatch.setattr(provenance, "code_state", lambda: None)
    assert provenance.provenance()["git"]["working_directory"] == {"commit": commit}
    assert not (repository / "ran").exists()


def test_versions_and_the_command_of_the_process() -> None:
    record = provenance.provenance()
    assert record["packages"]["torch"] == torch.__version__
    assert set(record["packages"]) >= {"mer-zoo", "lightning", "numpy", "transformers"}
    assert shlex.split(record["command"]) == sys.argv
    assert json.loads(json.dumps(record)) == record


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, torch.Tensor]]:
    """Fit and test by the command line; return the run's folder and its last weights."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    main(FIT)
    (last,) = Path("runs").glob("**/last.ckpt")
    (best,) = Path("runs").glob("**/best.ckpt")
    main(["test", "--config", str(best.parents[1] / "config.yaml"), "--ckpt_path", str(best)])
    return best.parents[1].absolute(), torch.load(last, weights_only=True)["state_dict"]


@pytest.mark.slow
def test_same_seed_same_result_and_the_record_tells_where_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, weights), (second, again) = (run(tmp_path / name, monkeypatch) for name in ("first", "second"))
    assert weights.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in weights.items())
    for name in ("scores.safetensors", "provenance.json", "metrics.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    ours, theirs = (json.loads((folder / "results.json").read_text()) for folder in (first, second))
    for measured in ("seconds_per_epoch", "peak_memory"):
        assert ours["complexity"].pop(measured) is not None
        assert theirs["complexity"].pop(measured) is not None
    assert ours == theirs
    record = json.loads((first / "provenance.json").read_text())
    assert shlex.split(record["command"]) == ["mer-zoo", *FIT]
    assert record["seed"] == 0
    assert len(record["data"]["sha256"]) == 64
    assert record["git"].keys() == {"mer_zoo", "working_directory"}
    results = json.loads((first / "results.json").read_text())
    assert results["provenance"]["packages"] == record["packages"]
    assert results["provenance"]["command"].startswith("mer-zoo test --config runs")
    assert results["data"]["sha256"] == record["data"]["sha256"]


def test_other_data_than_those_of_training_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(FIT)
    (best,) = Path("runs").glob("**/best.ckpt")
    test = ["test", "--config", str(best.parents[1] / "config.yaml"), "--ckpt_path", str(best)]
    for folder, options in (("same", []), ("other", ["--data.scm.seed=7"])):
        main([*test, "--record.folder", folder, *options])
    same, other = (json.loads(Path(folder, "results.json").read_text()) for folder in ("same", "other"))
    (note,) = [note for note in other["notes"] if note not in same["notes"]]
    assert not [note for note in same["notes"] if "SHA-256" in note]
    assert f"(SHA-256 {same['data']['sha256'][:8]}), tested on" in note
    assert f"(SHA-256 {other['data']['sha256'][:8]}): samples of one may be in another split" in note
