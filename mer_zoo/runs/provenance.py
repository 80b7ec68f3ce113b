"""What a run came of: the command, the state of the code under git, the versions of packages, the device."""

from __future__ import annotations

import hashlib
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

__all__ = ["git_state", "package_versions", "provenance", "weights_sha256"]

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
        ``command``, ``git`` of the package's source (None where it is installed) and of the working directory,
        ``packages``, ``python`` and ``device``.

    Example:
        >>> sorted(provenance(["mer-zoo", "fit"]))
        ['command', 'device', 'git', 'packages', 'python']
    """
    here = Path(__file__)
    return {
        "command": shlex.join(sys.argv if command is None else command),
        "git": {"mer_zoo": git_state(here.parent, here.name), "working_directory": git_state(Path.cwd())},
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


@cache
def git_state(folder: Path, tracked: str | None = None) -> dict[str, Any] | None:
    """The commit that a folder is at, and whether tracked files differ from it.

    It is asked for once in a process, so that a long run tells what it began with.

    Args:
        folder: A folder.
        tracked: A file of it that the repository has to hold; without it a package in an environment inside a
            repository would be told to be of that repository.

    Returns:
        ``commit`` and ``dirty``; None where there is no git or no commit.
    """
    if tracked is not None and _git(folder, "ls-files", "--error-unmatch", tracked) is None:
        return None
    commit, status = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--untracked-files=no")
    return None if commit is None or status is None else {"commit": commit, "dirty": bool(status)}


def _git(folder: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            [*_GIT, "-C", str(folder), *args], capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
