"""Does the mere length of a sample tell the label better than it honestly could?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material, Part
from mer_zoo.data.survey.probes import Sample
from mer_zoo.data.survey.targets import Targets
from mer_zoo.data.survey.telling import FAR, FEWEST, lack, roles
from mer_zoo.functional.ridge import ridge

__all__ = ["check_lengths"]

LENGTH_LEAK, LENGTH_WARNING = 0.85, 0.75
BINS = 12


def check_lengths(material: Material, samples: Mapping[str, Sample]) -> Iterator[Finding | NotChecked]:
    """See whether length, padding or absence tells the label.

    Args:
        material: The corpus.
        samples: Its labelled samples.
    """
    train, _, tests = roles(samples)
    if train is None or not tests or "train" not in samples:
        yield NotChecked("whether lengths and padding tell the label", lack(samples))
        return
    fitted = _outlines(material.parts["train"])
    for split, test in tests.items():
        if split not in material.parts:
            continue
        theirs = _outlines(material.parts[split])
        areas = {
            name: test.targets.area(_binned(values, train.targets, theirs[name]))
            for name, values in fitted.items()
            if name in theirs
        }
        areas |= _behind(material, train, test, split)
        known = {name: area for name, area in areas.items() if not math.isnan(area)}
        name = max(known, key=known.__getitem__, default="")
        by_chance = 0.5 + FAR * test.targets.chance()
        if name and known[name] >= max(LENGTH_WARNING, by_chance) and len(test) >= FEWEST:
            severe = known[name] >= LENGTH_LEAK
            yield Finding(
                "telling-length",
                "leak" if severe else "warning",
                f"{name} alone tells the label of {split}: AUC {100 * known[name]:.1f} %, where honest lengths stay"
                f" near 50 to {100 * LENGTH_WARNING - 5:.0f} %",
                "cut and pad all samples by the same rule, whatever their label, and extract them again",
                {"split": split, "area": known[name], "what": name},
            )


def _outlines(part: Part) -> dict[str, Tensor]:
    """(K,) lengths and beginnings of what is kept."""
    found: dict[str, Tensor] = {}
    for key, features in part.features.items():
        spans = torch.from_numpy(features.spans[part.kept].astype(np.int64))
        found[f"the length of {key}"] = spans[:, 1] - spans[:, 0]
        found[f"the padding in front of {key}"] = spans[:, 0]
    words = part.words()
    if words is not None:
        found["the number of words"] = torch.tensor([len(words[row]) for row in part.kept.tolist()])
    return found


def _binned(values: Tensor, targets: Targets, others: Tensor) -> Tensor:
    """(N, K) mean targets of the training samples of about the same value, drawn towards the mean of all."""
    levels = np.unique(values.numpy())
    if len(levels) > BINS:
        levels = np.unique(np.quantile(values.numpy(), np.linspace(0, 1, BINS + 1)[:-1]))
    ours, theirs = (
        torch.from_numpy(np.maximum(np.searchsorted(levels, x.numpy(), "right"), 1) - 1) for x in (values, others)
    )
    sums = torch.zeros(len(levels), targets.columns.shape[1]).double().index_add_(0, ours, targets.columns)
    counts = torch.bincount(ours, minlength=len(levels)).double()[:, None]
    mean = targets.columns.mean(0)
    return ((sums + FEWEST / 6 * mean) / (counts + FEWEST / 6))[theirs]


def _behind(material: Material, train: Sample, test: Sample, split: str) -> Mapping[str, float]:
    """The area of what stands behind the lengths that a file gives."""
    found = {}
    for key, features in material.parts["train"].features.items():
        other = material.parts[split].features.get(key)
        if features.behind is None or other is None or other.behind is None:
            continue
        (probe,) = ridge(torch.from_numpy(features.behind), train.targets.columns, [100.0])
        found[f"what stands behind the length of {key}"] = test.targets.area(probe(torch.from_numpy(other.behind)))
    return found
