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
from dataclasses import dataclass, field
from typing import Any

import mer_zoo.wrappers
from benchmarks.studies.frame import Job
from mer_zoo.confounding.strength import Selection
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.model import Model, Wrapper

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


@dataclass(frozen=True)
class Comparison:
    """A comparison of methods.

    Args:
        load: Makes the data of a setting and a seed.
        options: What all records have in common.
        settings: Names of the settings.
        fresh: Whether every seed has test samples of its own; otherwise recordings are noted, which are resampled
            whole.
        reference: The setting without confounding, if there is one.
        choices: How the epoch is chosen, by names of ``CHOICES``.
        tested: By setting others with the same training and validation split, in which its trainings are tested, too.
        attributes: Gives an attribute of each sample of a split, a digit each, by which groups are told apart.
        sizes: Options of the networks by their names.
        rates: Their learning rates.
        prototypes: Wrappers by their names that are no part of the zoo.
    """

    load: Callable[[str, int], MERDataModule]
    options: Mapping[str, Any]
    settings: Sequence[str]
    fresh: bool = True
    reference: str | None = None
    choices: Sequence[str] = tuple(CHOICES)
    tested: Mapping[str, Sequence[str]] = field(default_factory=dict)
    attributes: Callable[[MERDataModule, str], str] | None = None
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: SIZES)
    rates: Mapping[str, float] = field(default_factory=lambda: RATES)
    prototypes: Mapping[str, type[Wrapper]] = field(default_factory=dict)


def labels(method: str) -> list[str]:
    """Names of the results of one training."""
    return [f"{method} tau={tau}" for tau in TAUS] if "MACI" in method.split() else [method]


def split_names(methods: str) -> list[str]:
    """Names of methods that commas separate, which may hold lists of their own."""
    return [name.strip() for name in re.split(r",(?![^\[]*\])", methods)]


def make_jobs(comparison: Comparison, methods: str, backbones: str, settings: Sequence[str], seeds: str) -> list[Job]:
    """All trainings asked for, in an order that fills the table evenly; ``what``: network, setting and method."""
    jobs: dict[Job, None] = {}
    for seed in map(int, seeds.split(",")):
        for method in split_names(methods):
            for setting in settings:
                for backbone in backbones.split(","):
                    trained, tested = setting, [setting, *comparison.tested.get(setting, ())]
                    if method == "unconfounded":
                        if comparison.reference is None:
                            continue
                        trained, tested = comparison.reference, list(comparison.settings)
                    jobs[job(method, backbone, trained, tested, seed)] = None
    return list(jobs)


def job(method: str, backbone: str, trained: str, tested: Sequence[str], seed: int) -> Job:
    """A training in one setting, tested in one or, where the first has no confounding, in all."""
    places = tuple((backbone, setting, label) for setting in tested for label in labels(method))
    return Job((backbone, trained, method), places, seed)


def build(method: str, network: Model, prototypes: Mapping[str, type[Wrapper]] | None = None) -> Model:
    """Put the wrappers of a method around a network.

    Args:
        method: Its name.
        network: The network.
        prototypes: Wrappers by their names that are no part of the zoo.

    Raises:
        MERError: For a wrapper or an option that there is not.
    """
    if method in ("plain", "unconfounded"):
        return network
    for part in reversed(method.split(" + ")):
        name, *options = part.split()
        wrapper = (prototypes or {}).get(name) or getattr(mer_zoo.wrappers, name, None)
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


def add_method_options(parser: argparse.ArgumentParser) -> None:
    """Options of ``run`` beside those of every study."""
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--backbones", default=",".join(SIZES))
    parser.add_argument("--choices", default=",".join(CHOICES), help="of the epoch; fewer are tested sooner")


def chosen(options: argparse.Namespace) -> list[str]:
    """The ways of choosing an epoch that ``run`` was asked for.

    Raises:
        MERError: For one that there is not.
    """
    names: list[str] = options.choices.split(",")
    unknown = [name for name in names if name not in CHOICES]
    if unknown:
        raise MERError(f"there is no choice of an epoch called {unknown[0]}; choose from {', '.join(CHOICES)}")
    return names
