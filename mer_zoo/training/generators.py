"""States of the generators of random numbers, as a checkpoint keeps them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["rng_state", "set_rng_state"]


def rng_state(device: torch.device) -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators, in values that a checkpoint may hold.

    Args:
        device: The device of the model; the generator of a GPU is included.

    Example:
        >>> state = rng_state(torch.device("cpu"))
        >>> first = (random.random(), np.random.rand(), torch.rand(1))
        >>> set_rng_state(state, torch.device("cpu"))
        >>> first == (random.random(), np.random.rand(), torch.rand(1))
        True
    """
    version, words, gauss = random.getstate()
    name, keys, place, has_gauss, cached = np.random.get_state()  # noqa: NPY002  # the one that others may draw from
    state: dict[str, Any] = {
        "python": [version, torch.tensor(words), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), int(place), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Put the generators back into states from :func:`rng_state`.

    Args:
        state: The states.
        device: The device of the model.

    Raises:
        ValueError: If NumPy's has a place beside its numbers, from where it would draw whatever lies there in memory.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, place, has_gauss, cached = state["numpy"]
    if not 0 <= place <= len(keys):  # NumPy would draw from beside them
        raise ValueError(f"there is no place {place} among {len(keys)} numbers")
    np.random.set_state((name, keys.numpy().astype(np.uint32), place, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
