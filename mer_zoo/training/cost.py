"""What training costs: parameters, seconds an epoch, and the most memory that was held."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import nn

from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.foreign import read_json
from mer_zoo.layers.text_encoder import TextEncoder
from mer_zoo.runs.files import write_json

__all__ = [
    "COST",
    "CUDA_PEAK",
    "PROCESS_PEAK",
    "EpochClock",
    "parameter_counts",
    "peak_memory",
    "read_cost",
    "write_cost",
]

COST = "cost.json"  # not provenance.json, which equal runs have equal
_LARGEST = 2**20  # bytes
_REMEDY = "delete it, and the test says nothing of the training"

CUDA_PEAK = "torch.cuda.max_memory_allocated"
PROCESS_PEAK = "largest resident set of the process"


def parameter_counts(module: nn.Module) -> dict[str, int]:
    """How many parameters a model has, and how many of them are trained; both also without its text encoders.

    Args:
        module: The model, before which nothing has frozen what it trains.

    Returns:
        ``trained``, ``all``, ``trained_without_text_encoder`` and ``all_without_text_encoder``.

    Example:
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentRegression
        >>> parameter_counts(LFLSTM(DataSpec(), SentimentRegression(), dim=4))["trained_without_text_encoder"]
        585
    """
    encoders = [part for part in module.modules() if isinstance(part, TextEncoder)]
    encoded = {parameter for encoder in encoders for parameter in encoder.parameters()}
    whole = list(module.parameters())
    counts = {}
    for suffix, kept in (("", whole), ("_without_text_encoder", [p for p in whole if p not in encoded])):
        counts[f"trained{suffix}"] = sum(p.numel() for p in kept if p.requires_grad)
        counts[f"all{suffix}"] = sum(p.numel() for p in kept)
    return counts


def peak_memory(device: torch.device) -> dict[str, Any] | None:
    """The most memory that was held at one time, and what was measured.

    Args:
        device: Where the model is trained.

    Returns:
        ``bytes`` and ``measure``: what PyTorch has given to tensors on a GPU, else what the process had of the
        machine's memory since it began, libraries included; None where the system does not tell.

    Example:
        >>> peak_memory(torch.device("cpu"))["measure"]
        'largest resident set of the process'
    """
    if device.type == "cuda":
        return {"bytes": torch.cuda.max_memory_allocated(device), "measure": CUDA_PEAK}
    try:
        import resource
    except ImportError:  # Windows
        return None
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"bytes": held if sys.platform == "darwin" else 1024 * held, "measure": PROCESS_PEAK}


class EpochClock:
    """Times whole training epochs, validation included; the device is waited for at no other time than it is anyway.

    Args:
        device: Where the model is trained. On a GPU the peak of the memory is counted from now on.

    Example:
        >>> clock = EpochClock(torch.device("cpu"))
        >>> clock.begin()
        >>> clock.end()
        >>> sorted(clock.told()), clock.told()["epochs_timed"]
        (['device', 'epochs_timed', 'peak_memory', 'seconds_per_epoch'], 1)
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.seconds = device, list[float]()
        self._begun: float | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def begin(self) -> None:
        """A training epoch begins."""
        self._begun = perf_counter()

    def end(self) -> None:
        """It ends; one whose beginning was not seen, as where a run is resumed inside of it, does not count."""
        if self._begun is not None:
            self.seconds.append(perf_counter() - self._begun)
        self._begun = None

    def told(self) -> Mapping[str, Any]:
        """``seconds_per_epoch``, the median; ``epochs_timed``, ``peak_memory`` and ``device``."""
        is_gpu = self.device.type == "cuda"
        return {
            "seconds_per_epoch": round(median(self.seconds), 3) if self.seconds else None,
            "epochs_timed": len(self.seconds),
            "peak_memory": peak_memory(self.device),
            "device": torch.cuda.get_device_name(self.device) if is_gpu else self.device.type,
        }


def write_cost(folder: Path, model: str, told: Mapping[str, Any]) -> None:
    """Write what a training has cost into its run's folder.

    Args:
        folder: The folder.
        model: Label of the model, by which the cost is known again.
        told: What :meth:`EpochClock.told` says.
    """
    write_json(folder / COST, {"model": model, **told})


def read_cost(folder: Path, model: str) -> dict[str, Any]:
    """What the training of a model has cost, by the folder of its run.

    Args:
        folder: The folder.
        model: Label of the model.

    Returns:
        What :func:`write_cost` was told; nothing where the folder does not tell of this model.

    Raises:
        MERError: If the file can't be read, or holds something else.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> write_cost(folder, "MulT", {"seconds_per_epoch": 1.5})
        >>> read_cost(folder, "MulT"), read_cost(folder, "LMF")
        ({'seconds_per_epoch': 1.5}, {})
    """
    path = folder / COST
    if not path.is_file():
        return {}
    try:
        given = Fields(read_json(path, _LARGEST, strict=True), str(path), _REMEDY)
    except OSError as error:
        raise MERError(f"{path} can't be read ({error.strerror}); {_REMEDY}") from None
    memory = given.optional_part("peak_memory")
    _ = given.number("seconds_per_epoch"), given.optional_count("epochs_timed"), given.optional_text("device")
    _ = None if memory is None else (memory.count("bytes"), memory.text("measure"))
    told = {name: given.plain(name) for name in given.content if name != "model"}
    return told if given.text("model") == model else {}
