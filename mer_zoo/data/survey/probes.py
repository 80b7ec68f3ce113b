"""Linear probes: how well one modality alone tells the label, and whether it does so everywhere alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mer_zoo.data.survey.material import Material, Part
from mer_zoo.data.survey.targets import Targets
from mer_zoo.functional.ranking import Heterogeneity, heterogeneity
from mer_zoo.functional.ridge import Ridge, ridge

__all__ = ["Choice", "Sample", "choose", "differences", "everywhere", "permuted", "samples_of"]

STRENGTHS = tuple(10.0**power for power in range(7))
FOLDS = 5
MOST_WORDS = 500  # of a bag of words
PERMUTATIONS = 20
RESAMPLINGS = 200
Vectors = Mapping[str, Tensor]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """Some samples with what probes are fitted on.

    Args:
        vectors: (K, d) by modality and pooling.
        targets: Their labels.
        groups: The recording of each, or a number of its own where the ids do not tell.
    """

    vectors: Mapping[str, Vectors]
    targets: Targets
    groups: list[str]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Ints) -> Sample:
        """Some of them.

        Args:
            rows: Their places.
        """
        places = torch.from_numpy(rows)
        vectors = {modality: {name: x[places] for name, x in kinds.items()} for modality, kinds in self.vectors.items()}
        return Sample(vectors, self.targets[places], [self.groups[row] for row in rows.tolist()])

    def folds(self, count: int = FOLDS, seed: int = 0) -> Ints:
        """(K,) the fold of each, recordings undivided."""
        names = sorted(set(self.groups))
        order = np.random.default_rng(seed).permutation(len(names)) % count
        fold = dict(zip(names, order.tolist(), strict=True))
        return np.array([fold[name] for name in self.groups])

    @staticmethod
    def joined(samples: Sequence[Sample]) -> Sample:
        """All of them."""
        first = samples[0]
        vectors = {
            modality: {name: torch.cat([one.vectors[modality][name] for one in samples]) for name in kinds}
            for modality, kinds in first.vectors.items()
        }
        targets = Targets(first.targets.kind, torch.cat([one.targets.columns for one in samples]))
        return Sample(vectors, targets, list(chain.from_iterable(one.groups for one in samples)))


def samples_of(material: Material) -> dict[str, Sample]:
    """The labelled samples of each split whose vectors are kept.

    Args:
        material: The corpus; its splits have the same modalities and kinds of labels, the others are left out.
    """
    parts = {name: part for name, part in material.parts.items() if part.labels is not None}
    kinds = Counter((part.labels.ndim, part.labels.dtype.kind) for part in parts.values() if part.labels is not None)
    if not kinds:
        return {}
    common = kinds.most_common(1)[0][0]
    labels = {name: part.labels for name, part in parts.items() if part.labels is not None}
    labels = {name: own for name, own in labels.items() if (own.ndim, own.dtype.kind) == common}
    classes = 1 + max(int(own.max()) for own in labels.values()) if common == (1, "i") else 0
    recordings, bags = material.recordings() or {}, _bags(material)
    found = {}
    for name, own in labels.items():
        part = material.parts[name]
        vectors = {key: _pooled(part, key) for key in material.modalities if key in part.features}
        if "text" not in vectors and name in bags:
            vectors["text"] = {"words": bags[name]}
        groups = recordings.get(name) or [f"{name} {row}" for row in range(len(part.ids))]
        kept = part.kept.tolist()
        found[name] = Sample(vectors, Targets.of(own[part.kept], classes), [groups[row] for row in kept])
    return found


def _pooled(part: Part, modality: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(x) for name, x in part.features[modality].pooled.items()}


def _bags(material: Material) -> dict[str, Tensor]:
    """(K, V) which of the frequent words each sample has."""
    words = {name: part.words() for name, part in material.parts.items()}
    said = words.get("train") or next(filter(None, words.values()), None)
    if said is None:
        return {}
    counts = Counter(chain.from_iterable(map(set, said)))
    place = {word: row for row, (word, _) in enumerate(counts.most_common(MOST_WORDS))}
    bags = {}
    for name, own in words.items():
        if own is None:
            continue
        kept = material.parts[name].kept.tolist()
        bags[name] = torch.zeros(len(kept), len(place))
        for row, at in enumerate(kept):
            bags[name][row, [place[word] for word in set(own[at]) if word in place]] = 1
    return bags


@dataclass(frozen=True)
class Choice:
    """The probe of a modality that did best on samples that it was not fitted on.

    Args:
        modality: The modality.
        pooling: What stands for a sequence.
        strength: Strength of the penalty.
        probe: The regression.
        chance: The same for labels in other orders, one after the other.
    """

    modality: str
    pooling: str
    strength: float
    probe: Ridge
    chance: Ridge

    def scores(self, sample: Sample) -> Tensor:
        """(K, *) scores of samples."""
        return self.probe(sample.vectors[self.modality][self.pooling])


def choose(modality: str, train: Sample, valid: Sample | None, seed: int = 0) -> Choice:
    """Fit a probe on each pooling under each strength, and take the best; no test split has a say in it.

    Args:
        modality: The modality.
        train: What it is fitted on.
        valid: What chooses; a fifth of ``train`` without one.
        seed: Of the other orders.
    """
    fitted, judge = train, valid
    if judge is None:
        held = train.folds() == 0
        fitted, judge = train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held))
    found: list[tuple[float, str, float]] = []
    for pooling, x in fitted.vectors[modality].items():
        for strength, probe in zip(STRENGTHS, ridge(x, fitted.targets.columns, STRENGTHS), strict=True):
            left = probe(judge.vectors[modality][pooling]) - judge.targets.columns
            found.append((float(left.square().mean()), pooling, strength))
    _, pooling, strength = min(found)
    rng, columns = np.random.default_rng(seed), train.targets.columns
    width, orders = columns.shape[1], [rng.permutation(len(train)) for _ in range(PERMUTATIONS)]
    shuffled = [columns[torch.from_numpy(order)] for order in orders]
    (every,) = ridge(train.vectors[modality][pooling], torch.cat([columns, *shuffled], 1), [strength])
    probe, chance = (
        Ridge(every.mean, every.scale, every.weight[:, part], every.bias[part])
        for part in (slice(width), slice(width, None))
    )
    return Choice(modality, pooling, strength, probe, chance)


def permuted(choice: Choice, test: Sample) -> list[float]:
    """Areas of the same probe fitted on labels in another order.

    Args:
        choice: The probe.
        test: What it is tested on.
    """
    width, scores = test.targets.columns.shape[1], choice.chance(test.vectors[choice.modality][choice.pooling])
    return [test.targets.area(scores[:, start : start + width]) for start in range(0, scores.shape[1], width)]


def differences(scores: Tensor, others: Tensor | None, test: Sample, seed: int = 0) -> list[float]:
    """Areas, less those of other scores, on resampled recordings, rising.

    Args:
        scores: (N, K).
        others: (N, K); None compares with nothing.
        test: The samples.
        seed: Of the resampling.
    """
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for row, name in enumerate(test.groups):
        members.setdefault(name, []).append(row)
    rows, found = list(members.values()), []
    for _ in range(RESAMPLINGS):
        drawn = torch.tensor(list(chain.from_iterable(rows[k] for k in rng.integers(0, len(rows), len(rows)))))
        targets = test.targets[drawn]
        value = targets.area(scores[drawn]) - (0.0 if others is None else targets.area(others[drawn]))
        found.append(value)
    return sorted(value for value in found if value == value)


def everywhere(choice: Choice, sample: Sample) -> Heterogeneity:
    """How the areas of single recordings differ, each scored by a probe that has not seen it.

    Args:
        choice: Which probe to fit.
        sample: The samples of all splits.
    """
    x, folds = sample.vectors[choice.modality][choice.pooling], torch.from_numpy(sample.folds())
    scores = torch.zeros_like(sample.targets.columns)
    for fold in range(FOLDS):
        (probe,) = ridge(x[folds != fold], sample.targets.columns[folds != fold], [choice.strength])
        scores[folds == fold] = probe(x[folds == fold])
    members: dict[str, list[int]] = {}
    for row, name in enumerate(sample.groups):
        members.setdefault(name, []).append(row)
    values, signs = [], []
    for place, counted, positive in sample.targets.questions():
        full = torch.zeros_like(counted)
        full[counted] = positive
        for rows in members.values():
            own = torch.tensor(rows)
            own = own[counted[own]]
            values.append(scores[own, place])
            signs.append(full[own])
    return heterogeneity(values, signs)
