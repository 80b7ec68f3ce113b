"""Writes and reads checkpoints: whole or not at all, and nothing in them is executed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.strategies import Strategy
from typing_extensions import override

from mer_zoo.errors import TrainingError
from mer_zoo.runs.files import whole_file
from mer_zoo.text import shown
from mer_zoo.training.checkpoint import check_content, check_if_local

__all__ = ["WholeCheckpointIO", "keep_whole"]


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoints on a local disk.

    A new one is written beside the old one and takes its place when it lies on the disk. Lightning writes it into the
    system's temporary folder instead, from where it has to be copied if that is another disk.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "last.ckpt"
        >>> WholeCheckpointIO().save_checkpoint({"state_dict": {}, "pytorch-lightning_version": "2.6.6"}, path)
        >>> list(WholeCheckpointIO().load_checkpoint(path))
        ['state_dict', 'pytorch-lightning_version']
    """

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        content = io.BytesIO()  # torch hides what is wrong with a disk that it writes to itself
        torch.save(checkpoint, content)
        try:
            for rest in path.parent.glob(f".[0-9]*.{path.name}"):  # of a process that was killed while writing
                rest.unlink(missing_ok=True)
            with whole_file(path) as part:
                part.write_bytes(content.getbuffer())
        except OSError as error:
            size = f"{content.getbuffer().nbytes / 2**20:.1f} MB"
            kept = "; the one before it is as it was" if path.exists() else ""
            raise TrainingError(
                f"the checkpoint {path} ({size}) can't be written: {os.strerror(error.errno or 0)}{kept}; make room,"
                " then go on with --ckpt_path last"
            ) from error

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        check_if_local(path)
        # Left open, torch decides by an environment variable, and Lightning executes what a URL brings.
        found: dict[str, Any] = super().load_checkpoint(path, map_location or _stay, weights_only is not False)
        check_content(found, shown(str(path)))
        return found

    @override
    def remove_checkpoint(self, path: str | Path) -> None:
        if "://" in str(path):
            super().remove_checkpoint(path)
        elif not Path(path).is_dir():  # Lightning's removes a folder with all that is in it
            Path(path).unlink(missing_ok=True)


def _stay(storage: Any, location: str) -> Any:  # noqa: ARG001  # torch's signature
    return storage


def keep_whole(strategy: Strategy) -> None:
    """Let a strategy keep its checkpoints by :class:`WholeCheckpointIO`, unless it or the user has a way of their own.

    Args:
        strategy: The trainer's.
    """
    if type(strategy.checkpoint_io) is TorchCheckpointIO:
        strategy.checkpoint_io = WholeCheckpointIO()
