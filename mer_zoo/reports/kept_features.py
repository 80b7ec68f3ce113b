"""The joint representations of test samples that a run was asked to keep, features.safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.foreign import open_regular
from mer_zoo.reports.kept_scores import packed, stored, unpacked
from mer_zoo.runs.files import whole_file
from mer_zoo.text import told

if TYPE_CHECKING:
    from mer_zoo.scores import Scores

__all__ = ["FEATURES", "KeptFeatures", "check_room", "conditions_with_features", "read_features", "save_features"]

FEATURES = "features.safetensors"
LARGEST = 2 * 2**30  # bytes of the file
_PARTS = ("features", "target", "ids")
_REMEDY = "delete it, or write it anew with mer-zoo test --record.features=true"


@dataclass(frozen=True)
class KeptFeatures:
    """Joint representations under one condition.

    Attributes:
        features: (N, D).
        target: (N,) or (N, E) labels.
        ids: The samples' ids.
    """

    features: Tensor
    target: Tensor
    ids: list[str]


def check_room(counts: Sequence[int], width: int) -> int:
    """Bytes that joint representations need.

    Args:
        counts: Number of samples of each condition.
        width: Numbers of a representation.

    Raises:
        MERError: If they are more than a file is to have.

    Example:
        >>> check_room([1000, 1000], 128)
        1024000
        >>> check_room([10**9], 128)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: joint representations of 1000000000 samples, 128 numbers each, need 512.0 GB, more ...
    """
    size = 4 * width * sum(counts)
    if size > LARGEST:
        raise MERError(
            f"joint representations of {sum(counts)} samples, {width} numbers each, need {size / 1e9:.1f} GB, more than"
            f" the {LARGEST / 1e9:.1f} GB that are kept; test under fewer conditions, or leave record.features out"
        )
    return size


def save_features(folder: Path, scores: Mapping[str, Scores], kept: Set[str]) -> Path:
    """Write features.safetensors, whole or not at all.

    Args:
        folder: The run's folder.
        scores: Scores of each condition that was tested now, with their features.
        kept: Names of the conditions whose features stay as they are.

    Returns:
        The file.
    """
    path = folder / FEATURES
    tensors = stored(path, {f"{name}.{part}" for name in kept for part in _PARTS}) if kept else {}
    for name, score in scores.items():
        if score.features is None:
            continue
        tensors[f"{name}.features"] = score.features.clone().contiguous()
        tensors[f"{name}.target"] = score.target.clone().contiguous()
        tensors[f"{name}.ids"] = packed(score.ids or map(str, score.index.tolist()))
    with whole_file(path) as part:
        part.write_bytes(save(tensors))
    return path


def conditions_with_features(folder: Path) -> list[str]:
    """Names of the conditions whose representations a run has kept.

    Args:
        folder: The run's folder.

    Raises:
        MERError: If it has kept none, or the file can't be read.

    Example:
        >>> conditions_with_features(Path("nowhere"))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: nowhere has kept no joint representations; test it again with --record.features=true
    """
    path = folder / FEATURES
    try:
        open_regular(path).close()
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
    except FileNotFoundError:
        raise MERError(
            f"{folder} has kept no joint representations; test it again with --record.features=true"
        ) from None
    except (OSError, SafetensorError) as error:
        raise MERError(f"{path} can't be read ({error}); {_REMEDY}") from None
    return sorted(name.removesuffix(".features") for name in names if name.endswith(".features"))


def read_features(folder: Path, condition: str) -> KeptFeatures:
    """Read the representations of a condition.

    Args:
        folder: The run's folder.
        condition: Its name.

    Raises:
        MERError: If they were not kept, or are none.
    """
    path = folder / FEATURES
    found = stored(path, {f"{condition}.{part}" for part in _PARTS})
    if len(found) < len(_PARTS):
        raise MERError(
            f"{folder} has kept no joint representations of {told(condition)}; test it again under that condition, with"
            " --record.features=true"
        )
    features, target = found[f"{condition}.features"], found[f"{condition}.target"]
    ids = unpacked(found[f"{condition}.ids"])
    sound = features.dim() == 2 and features.dtype is torch.float32 and len(features) == len(target) == len(ids) > 0
    if not sound or target.is_complex() or not features.isfinite().all():
        raise MERError(
            f"{path}: what it holds of {told(condition)} are no finite representations and labels; {_REMEDY}"
        )
    return KeptFeatures(features, target, ids)
