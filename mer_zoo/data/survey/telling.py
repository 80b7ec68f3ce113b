"""Does one modality tell the label better than it honestly could?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mer_zoo.data.survey.finding import Finding, NotChecked, listed
from mer_zoo.data.survey.material import Material
from mer_zoo.data.survey.probes import Choice, Sample, choose, differences, everywhere, permuted
from mer_zoo.data.survey.targets import Targets

__all__ = ["FAR", "FEWEST", "check_telling", "lack", "roles"]

PERFECT, NEAR = 0.98, 0.95  # area, correlation of one feature
GOOD, INFORMED, MARGIN = 0.85, 0.65, 0.1
UNEQUAL, SMALL_P, SHARE = 2.0, 1e-6, 0.1
HIGH, LOW = 0.9, 0.65
FEWEST, MOST = 30, 6000
FAR = 4.0  # deviations of chance, beyond which the largest of many areas is
REMEDY = (
    "leave {0} out (data.modalities), or extract it anew with a network that has seen no label of this corpus; figures"
    " that use it say nothing"
)


@dataclass(frozen=True)
class _Told:
    """What a probe reached on a test split."""

    choice: Choice
    split: str
    sample: Sample
    scores: Tensor

    @property
    def area(self) -> float:
        return self.sample.targets.area(self.scores)


def check_telling(material: Material, samples: Mapping[str, Sample]) -> Iterator[Finding | NotChecked]:
    """Compare linear probes of the modalities with each other, with permuted labels, and between recordings.

    Args:
        material: The corpus.
        samples: Its labelled samples.
    """
    train, valid, tests = roles(samples)
    if train is None or not tests:
        yield NotChecked("whether a modality tells the label too well", lack(samples))
        return
    told: dict[str, list[_Told]] = {}
    for modality in train.vectors:
        choice = choose(modality, train, valid)
        told[modality] = [_Told(choice, name, test, choice.scores(test)) for name, test in tests.items()]
    whole = Sample.joined(_at_most(list(samples.values()))) if material.recordings() else None
    for modality, found in told.items():
        best = max(found, key=lambda one: -1.0 if math.isnan(one.area) else one.area)
        if math.isnan(best.area):
            yield NotChecked(f"whether {modality} tells the label too well", "too few samples of each class are tested")
            continue
        text = next((one for one in told.get("text", []) if one.split == best.split), None)
        yield from _judge(modality, best, None if modality == "text" else text, whole)
        yield from _single_features(modality, train, best.sample, best.split)


def _judge(modality: str, best: _Told, text: _Told | None, whole: Sample | None) -> Iterator[Finding]:
    area, targets = best.area, best.sample.targets
    chance = permuted(best.choice, best.sample)
    evidence: dict[str, float | int | str] = {
        "split": best.split,
        "area": area,
        "accuracy": targets.accuracy(best.scores),
        "majority": targets.majority(),
        "permuted": float(np.mean(chance)),
        "permuted_highest": max(chance),
        "samples": len(targets),
    }
    start = (
        f"a linear probe on {modality} alone reaches an AUC of {100 * area:.1f} % on {best.split}"
        f" (accuracy {100 * evidence['accuracy']:.1f} %, majority {100 * evidence['majority']:.1f} %, AUC with permuted"
        f" labels {100 * np.mean(chance):.1f} %, at most {100 * max(chance):.1f} %)"
    )
    remedy = REMEDY.format(modality)
    if area > max(chance) and whole is not None and modality in whole.vectors:
        unequal = everywhere(best.choice, whole)
        high = sum(value >= HIGH for value in unequal.areas)
        low = sum(value <= LOW for value in unequal.areas)
        enough = min(high, low) >= SHARE * len(unequal.areas)
        evidence |= {"recordings": len(unequal.areas), "high": high, "low": low, "q": unequal.ratio, "p": unequal.p}
        if unequal.ratio >= UNEQUAL and unequal.p < SMALL_P and unequal.area >= INFORMED and enough:
            yield Finding(
                "too-telling",
                "leak",
                f"{start}, and not everywhere alike: of {len(unequal.areas)} recordings it has 90 % or more in {high}"
                f" and 65 % or less in {low} (Cochran's Q {unequal.ratio:.1f} times that of chance, p"
                f" {_small(unequal.p)}), as features have that were trained with the labels of some recordings",
                remedy,
                evidence,
            )
            return
    if area >= max(PERFECT, 0.5 + FAR * targets.chance()):
        yield Finding(
            "too-telling", "leak", f"{start}: no feature of people tells so much of what others rate", remedy, evidence
        )
        return
    if text is None or area < GOOD or len(targets) < FEWEST:
        return
    apart = differences(best.scores, text.scores, best.sample)
    low_end = apart[len(apart) // 40] if apart else -1.0
    evidence |= {"text_area": text.area, "difference_low": low_end}
    if low_end > 0:
        told = f"{start}, more than text ({100 * text.area:.1f} %; 95 % interval of the difference above"
        severe = low_end >= MARGIN and text.area >= INFORMED
        yield Finding(
            "too-telling",
            "leak" if severe else "warning",
            f"{told} {100 * low_end:.1f} points)",
            remedy if severe else f"find out how {modality} was extracted, and whether labels of this corpus took part",
            evidence,
        )


def _single_features(modality: str, train: Sample, test: Sample, split: str) -> Iterator[Finding]:
    """Features each of which is the label, whatever the others are."""
    if len(test) < FEWEST or len(train) < FEWEST:
        return
    found: dict[int, tuple[float, float, str]] = {}
    for pooling, x in train.vectors[modality].items():
        theirs = test.vectors[modality][pooling]
        alike = torch.minimum(_correlations(x, train.targets.single), _correlations(theirs, test.targets.single))
        correlation, area = alike.amax(1), _area_in_both(x, train.targets, theirs, test.targets)
        for column in torch.nonzero((correlation >= NEAR) | (area >= PERFECT)).flatten().tolist():
            one = float(correlation[column]), float(area[column]), pooling
            found[column] = max(found.get(column, one), one)
    if not found:
        return
    worst = max(found, key=found.__getitem__)
    correlation_there, area_there, pooling = found[worst]
    named = f"{'column' if len(found) == 1 else 'columns'} {listed(sorted(found))} of {modality} ({pooling})"
    each = "is" if len(found) == 1 else "each are"
    yield Finding(
        "label-in-features",
        "leak",
        f"{named if pooling != 'words' else 'one word'} {each} the label itself: the correlation"
        f"{f' of column {worst}' if len(found) > 1 else ''} is {correlation_there:.3f} or more in train and in {split},"
        f" its AUC {100 * area_there:.1f} %",
        f"take {'the column' if len(found) == 1 else 'these columns'} out of {modality}, or extract it anew without"
        " labels",
        {
            "column": worst,
            "columns": " ".join(map(str, sorted(found))),
            "pooling": pooling,
            "correlation": correlation_there,
            "area": area_there,
            "split": split,
        },
    )


def _area_in_both(x: Tensor, targets: Targets, other: Tensor, others: Targets) -> Tensor:
    """(d,) area of each column that it reaches in two splits in the same direction, for the best question."""
    ours, theirs = targets.areas(x), others.areas(other)
    both = torch.maximum(torch.minimum(ours, theirs), torch.minimum(1 - ours, 1 - theirs))
    return both.nan_to_num(0.0).amax(1)


def _correlations(x: Tensor, y: Tensor) -> Tensor:
    """(d, K) absolute correlations; 0 for what is constant."""
    x, y = x.double(), y.double()
    x, y = x - x.mean(0), y - y.mean(0)
    size = x.norm(dim=0)[:, None] * y.norm(dim=0)
    floor = 1e-9 * size.max().clamp(min=1e-30)
    return torch.where(size > floor, (x.T @ y).abs() / size.clamp(min=1e-30), 0.0)


def roles(samples: Mapping[str, Sample]) -> tuple[Sample | None, Sample | None, dict[str, Sample]]:
    """What to fit on, what to choose by and what to test on; of one split alone a part is tested on.

    Args:
        samples: The labelled samples of a corpus.
    """
    tests = {name: one for name, one in samples.items() if name.startswith("test")}
    train, valid = samples.get("train"), samples.get("valid")
    if train is not None and not tests and valid is not None:
        return _large(train), None, {"valid": valid}
    if len(samples) == 1:
        ((name, only),) = samples.items()
        held = only.folds() == 0
        if 0 < held.sum() < len(only):
            return (
                _large(only.take(np.flatnonzero(~held))),
                None,
                {f"a fifth of {name}": only.take(np.flatnonzero(held))},
            )
    valid = valid if valid is not None and len(valid) >= FEWEST else None
    return (None if train is None else _large(train)), valid, tests


def _large(sample: Sample) -> Sample | None:
    return sample if len(sample) >= FEWEST else None


def _at_most(samples: list[Sample]) -> list[Sample]:
    """As many whole splits' samples as are looked at, of each the same share."""
    total = sum(map(len, samples))
    if total <= MOST:
        return samples
    found = []
    for one in samples:
        names = sorted(set(one.groups))
        chosen = set(np.random.default_rng(0).permutation(names)[: max(2, len(names) * MOST // total)].tolist())
        found.append(one.take(np.flatnonzero([name in chosen for name in one.groups])))
    return found


def lack(samples: Mapping[str, Sample]) -> str:
    """What samples lack that something could be fitted on them and tested.

    Args:
        samples: The labelled samples of a corpus.
    """
    if not samples:
        return "no split has labels"
    if "train" in samples and len(samples["train"]) < FEWEST:
        return f"there are fewer than {FEWEST} labelled samples to fit on"
    have = ", ".join(samples)
    return f"it takes a labelled train split of {FEWEST} samples and another one, and it has {have}"


def _small(p: float) -> str:
    return "below 1e-30" if p < 1e-30 else f"{p:.0e}"
