"""The commit of a folder without git: as git tells it, and without waiting, following or running anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mer_zoo.runs.commit import commit_of


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, "-C", str(folder), *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    (folder / "data" / "inner").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("form", ["loose", "packed", "detached", "worktree", "packed worktree", "below"])
def test_the_commit_is_that_of_git(repository: Path, tmp_path: Path, form: str) -> None:
    folder = repository
    if "packed" in form:
        git(repository, "pack-refs", "--all")
    if form == "detached":
        git(repository, "checkout", "-q", "--detach")
    if "worktree" in form:
        git(repository, "worktree", "add", "-q", "-b", "side/änder", str(tmp_path / "tree"))
        folder = tmp_path / "tree"
        git(folder, "commit", "-q", "--allow-empty", "-m", "two") if form == "worktree" else git(
            folder, "pack-refs", "--all"
        )
    if form == "below":
        folder = repository / "data" / "inner"
    assert commit_of(folder) == git(folder, "rev-parse", "HEAD")


def test_no_repository_or_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert commit_of(tmp_path) is None


@pytest.mark.parametrize(
    "head",
    [
        "ref: ../../secret",
        "ref: refs/../../secret",
        "ref: refs/heads/loop",
        "ref: refs/heads/\0",
        "ref: /etc/passwd",
        "not a commit",
        "",
        "0" * 39,
        "0" * 41,
        "\u0660" * 40,
    ],
)
def test_an_odd_head_is_none(tmp_path: Path, head: str) -> None:
    (tmp_path / "secret").write_text("0" * 40)
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "refs" / "heads" / "loop").write_text("ref: refs/heads/loop")
    (tmp_path / ".git" / "HEAD").write_text(head)
    assert commit_of(tmp_path) is None


@pytest.mark.parametrize("name", [".git", ".git/HEAD", ".git/commondir", ".git/packed-refs"])
@pytest.mark.parametrize("kind", ["pipe", "endless", "large", "binary"])
def test_what_is_no_small_file_of_text_is_not_waited_for(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name != ".git/HEAD" and name != ".git":
        (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(2**40)
    else:
        path.write_bytes(b"\xff\xfe\x00")
    assert commit_of(tmp_path) is None
