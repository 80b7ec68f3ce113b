"""What the benchmarks of debiasers share: methods by name, a training and what is tested of it, resumable records.

A method is ``plain`` or a wrapper with its options, as in ``CausalMER fusion=sum``; a nest is written from the outside
in, as in ``MSSD + MACI``, and a list as JSON without blanks. Every method has the same network and the same budget, and
its epoch is chosen on the validation split in the same ways; test splits are read when the epoch is chosen. One
training of MACI is tested under several choices of tau. ``unconfounded`` is the plain network trained without
confounding and tested in every setting. A record holds the metrics and the predicted class of every sample, so that
differences can be resampled.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mer_zoo.wrappers
from mer_zoo.confounding.strength import Selection
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.model import Model

METHODS = (
    "plain",
    *(f"CausalMER fusion={fusion}" for fusion in ("mask", "sum", "harmonic", "tanh")),
    "MACI",
    "MSSD",
    "CUMDF",
    "CLUE",
    "GEAR",
    *(f"PropensityWeighting mode={mode}" for mode in ("weight", "product", "both")),
    "unconfounded",
)
SIZES: dict[str, dict[str, Any]] = {
    "MulT": {"dim": 16, "heads": 2, "depth": 1},
    "CIDerNet": {"dim": 32, "heads": 4, "depth": 1},
}
RATES = {"MulT": 4e-3, "CIDerNet": 2e-3}
TAUS: dict[str, tuple[Selection, float]] = {
    "deconfounded": ("deconfounded", 0.0),
    "propensity": ("propensity", 0.0),
    "validation": ("validation", 0.0),
    "0": ("fixed", 0.0),
    "1": ("fixed", 1.0),
    "oracle": ("oracle", 0.0),
}
# How the epoch is chosen: the metric of the validation split, and whether the largest or the smallest is best.
CHOICES = {
    "loss": ("val/loss", -1),
    "deconfounded": ("val/loss_deconfounded", -1),
    "accuracy": ("val/Acc3", 1),
    "accuracy_deconfounded": ("val/Acc3_deconfounded", 1),
    "polarity_deconfounded": ("val/Acc2_non0_deconfounded", 1),
    "last": ("", 1),
}
METRIC = "Acc2_non0"
NEUTRAL = 1
Record = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """A comparison of methods.

    Args:
        out: Folder of the records.
        load: Makes the data of a setting and a seed.
        options: What all records of the folder have in common.
        settings: Names of the settings.
        fresh: Whether every seed has test samples of its own; otherwise recordings are noted, which are resampled
            whole.
        reference: The setting without confounding, if there is one.
    """

    out: Path
    load: Callable[[str, int], MERDataModule]
    options: Mapping[str, Any]
    settings: Sequence[str]
    fresh: bool = True
    reference: str | None = None


@dataclass(frozen=True)
class Job:
    """One training, tested in one setting or, where that has no confounding, in all."""

    method: str
    backbone: str
    trained: str
    tested: tuple[str, ...]
    seed: int

    def records(self, study: Study) -> list[Path]:
        """Where its results are."""
        return [self.path(study, setting, label) for setting in self.tested for label in labels(self.method)]

    def path(self, study: Study, setting: str, label: str) -> Path:
        """Where one result is."""
        return study.out / self.backbone / setting / label / f"seed{self.seed}.json"


def labels(method: str) -> list[str]:
    """Names of the results of one training."""
    return [f"{method} tau={tau}" for tau in TAUS] if "MACI" in method.split() else [method]


def split_names(methods: str) -> list[str]:
    """Names of methods that commas separate, which may hold lists of their own."""
    return [name.strip() for name in re.split(r",(?![^\[]*\])", methods)]


def make_jobs(study: Study, methods: str, backbones: str, settings: Sequence[str], seeds: str) -> list[Job]:
    """All trainings asked for, in an order that fills the table evenly."""
    jobs: dict[Job, None] = {}
    for seed in map(int, seeds.split(",")):
        for method in split_names(methods):
            for setting in settings:
                for backbone in backbones.split(","):
                    if method != "unconfounded":
                        jobs[Job(method, backbone, setting, (setting,), seed)] = None
                    elif study.reference is not None:
                        jobs[Job(method, backbone, study.reference, tuple(study.settings), seed)] = None
    return list(jobs)


def build(method: str, network: Model) -> Model:
    """Put the wrappers of a method around a network.

    Raises:
        MERError: For a wrapper or an option that there is not.
    """
    if method in ("plain", "unconfounded"):
        return network
    for part in reversed(method.split(" + ")):
        name, *options = part.split()
        wrapper = getattr(mer_zoo.wrappers, name, None)
        if wrapper is None:
            raise MERError(f"there is no wrapper {name}; choose from {', '.join(mer_zoo.wrappers.__all__)}")
        try:
            network = wrapper(network, **dict(map(_option, options)))
        except TypeError as error:
            raise MERError(f"{part} cannot be made: {error}; write CLASS option=value") from error
    return network


def _option(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def read_records(folder: Path, options: Mapping[str, Any] | None = None) -> list[Record]:
    """All records of a folder.

    Raises:
        MERError: If they were not all made with these options, or with those of the first of them.
    """
    records: list[Record] = [json.loads(file.read_text()) for file in sorted(folder.rglob("seed*.json"))]
    for record in records:
        wanted, found = json.loads(json.dumps(options or records[0]["options"])), record["options"]
        for name in (*wanted, *found):
            if wanted.get(name) != found.get(name):
                raise MERError(
                    f"{folder} holds a record with {name} {found.get(name)} beside {wanted.get(name)}; use the same"
                    f" options,"
                    " or another folder"
                )
    return records


def add_run_options(parser: argparse.ArgumentParser, seeds: str, epochs: int) -> None:
    """Options of every study's ``run``."""
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--backbones", default=",".join(SIZES))
    parser.add_argument("--seeds", default=seeds)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument(
        "--part", default="1/1", help="K/N: every N-th training from the K-th on, for N processes side by side"
    )


def part_of(jobs: Sequence[Job], part: str) -> Sequence[Job]:
    """The share of one of several processes.

    Raises:
        MERError: For a part that is not K/N with 1 <= K <= N.
    """
    k, _, n = part.partition("/")
    if not (k.isdigit() and n.isdigit() and 1 <= int(k) <= int(n)):
        raise MERError(f"part is {part!r}; give K/N with K from 1 to N, such as 1/2")
    return jobs[int(k) - 1 :: int(n)]
