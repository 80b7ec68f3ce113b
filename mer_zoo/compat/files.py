"""Released checkpoints as files: their tensors, and nothing else of them, are read."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mer_zoo.compat.released import LoadReport, load_released
from mer_zoo.errors import MERError

__all__ = ["load_released_file", "read_state_dict"]

_WRAPPINGS = ("state_dict", "model_state_dict", "model", "net")  # names under which training scripts put it
_PARALLEL = "module."  # in front of every name that torch.nn.DataParallel has saved


def load_released_file(model: nn.Module, path: str | Path, source: str = "mult", key: str | None = None) -> LoadReport:
    """Copy the parameters of a released checkpoint's file into one of our models, all of them or none.

    Args:
        model: See :func:`~mer_zoo.compat.load_released`.
        path: A file of torch.save, or of safetensors; nothing in it is executed.
        source: See :func:`~mer_zoo.compat.load_released`.
        key: The entry that holds the state dict, where the file has others beside it; common names are found.

    Returns:
        What was used and what was not needed.

    Raises:
        MERError: If the file can't be read or holds no state dict, or as :func:`~mer_zoo.compat.load_released` does.

    Example:
        >>> from tempfile import mkdtemp
        >>> from mer_zoo.layers.transformer import TransformerEncoder
        >>> encoder, file = TransformerEncoder(8, heads=2, depth=0), Path(mkdtemp()) / "released.pt"
        >>> torch.save({"state_dict": {"layer_norm.weight": torch.ones(8), "layer_norm.bias": torch.ones(8)}}, file)
        >>> sorted(load_released_file(encoder, file).used.values())
        ['norm.bias', 'norm.weight']
    """
    return load_released(model, read_state_dict(path, key), source)


def read_state_dict(path: str | Path, key: str | None = None) -> dict[str, Tensor]:
    """Read names and tensors from a file of someone else's, without executing anything in it.

    Args:
        path: A file of torch.save, or of safetensors.
        key: See :func:`load_released_file`.

    Raises:
        MERError: If there is no such file, it holds code, or no state dict is in it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise MERError(f"{path} does not exist; give the file of a released checkpoint")
    content = _content(path)
    if key is not None:
        if not isinstance(content, Mapping) or key not in content:
            names = ", ".join(map(str, content)) if isinstance(content, Mapping) and len(content) < 20 else "others"
            raise MERError(f"{path} has no entry {key!r} (it has {names}); give the name of its state dict")
        content = content[key]
    found = next(filter(_is_state, [content, *_inside(content)]), None)
    if found is None:
        raise MERError(
            f"{path} holds no state dict; name its entry by key, or save model.state_dict() from the released code"
        )
    if all(name.startswith(_PARALLEL) for name in found):
        return {name.removeprefix(_PARALLEL): value for name, value in found.items()}
    return dict(found)


def _content(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except SafetensorError as error:
        raise MERError(f"{path} can't be read ({error}); copy it again") from error
    except Exception as error:  # torch raises a different error for each way in which a file can be broken
        raise MERError(
            f"{path} is damaged or holds more than tensors, such as a whole model, which is never loaded; save"
            f" model.state_dict() "
            "from the released code in its stead"
        ) from error


def _inside(content: Any) -> list[Any]:
    return [content[name] for name in _WRAPPINGS if name in content] if isinstance(content, Mapping) else []


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )
