"""What a run came of: the command, the state of the code under git, the versions of packages, the device."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mer_zoo.runs.commit import commit_of

__all__ = ["code_state", "git_state", "package_versions", "provenance", "weights_sha256"]

PACKAGES = ["mer-zoo", "torch", "torchvision", "lightning", "torchmetrics", "transformers", "numpy", "safetensors"]
PACKAGES += ["jsonargparse", "wandb", "optuna"]
# A repository may name a program to be run whenever its state is asked for.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=")
_TIMEOUT = 20  # seconds


def provenance(command: Sequence[str] | None = None) -> dict[str, Any]:
    """Describe how this run came about, in plain values.

    Args:
        command: Its command line; that of the process when left out.

    Returns:
        ``command``, ``git`` of the package's source (None where it is installed) and of the working directory (its
        commit alone, where that is another repository: nothing of it is run), ``packages``, ``python`` and ``device``.

    Example:
        >>> sorted(provenance(["mer-zoo", "fit"]))
        ['command', 'device', 'git', 'packages', 'python']
    """
    return {
        "command": shlex.join(sys.argv if command is None else command),
        "git": {"mer_zoo": code_state(), "working_directory": _state_of_folder(Path.cwd())},
        "packages": package_versions(),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def weights_sha256(state: Mapping[str, Any]) -> str:
    """SHA-256 of the tensors of a state dict: names, types, shapes and content.

    Args:
        state: The state dict; what is no tensor in it, or is saved by a module in a form of its own, is left out.

    Example:
        >>> layer = torch.nn.Linear(2, 1)
        >>> before = weights_sha256(layer.state_dict())
        >>> _ = layer.bias.data.add_(1)
        >>> weights_sha256(layer.state_dict()) == before
        False
    """
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        if isinstance(value, Tensor) and not name.endswith("_extra_state"):
            digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that decide a result, of those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {"torch": str(torch.__version__)}  # with the build; a plain string, which a checkpoint may hold


def code_state() -> dict[str, Any] | None:
    """The commit of the package's source, and whether it differs; None where the package is installed."""
    package = Path(__file__).parents[1]
    return git_state(package.parent, f"{package.name}/__init__.py")


@cache
def git_state(root: Path, tracked: str) -> dict[str, Any] | None:
    """The commit that a repository of code that is run anyway is at, and whether tracked files differ from it.

    Whoever runs the code trusts its repository; git runs what the configuration of a repository names. For any other
    folder there is :func:`~mer_zoo.runs.commit.commit_of`. It is asked for once in a process, so that a long run tells
    what it began with.

    Args:
        root: The top folder of the repository.
        tracked: A file that the repository has to hold; without it a package in an environment inside a repository
            would be told to be of that repository.

    Returns:
        ``commit`` and ``dirty``; None where there is no git, no commit, or the repository begins elsewhere.
    """
    if not (root / ".git").exists() or _git(root, "ls-files", "--error-unmatch", tracked) is None:
        return None
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules")
    return None if commit is None or status is None else {"commit": commit, "dirty": bool(status)}


@cache
def _state_of_folder(folder: Path) -> dict[str, Any] | None:
    if folder.is_relative_to(Path(__file__).parents[2]) and code_state() is not None:
        return code_state()
    commit = commit_of(folder)
    return None if commit is None else {"commit": commit}


def _git(root: Path, *args: str) -> str | None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_")
    }  # other repositories
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            [*_GIT, "-C", str(root), *args],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
