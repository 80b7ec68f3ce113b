"""Which samples have the same features, or almost: copies that were stored or extracted again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.corpus.overlap import REMEDY
from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material
from mer_zoo.data.survey.splits import held_apart

__all__ = ["check_copies", "near_pairs"]

NEAR = 2e-3  # of the deviation of each projection: what rounding to half precision moves
WINDOW = 64  # neighbours looked at
COMMON = 10  # samples with one and the same content: a filler, no copies
LEAK_SHARE, LEAK_COUNT = 0.01, 3
Pairs = npt.NDArray[np.int64]


def near_pairs(projections: npt.NDArray[np.float32], near: float = NEAR) -> Pairs:
    """Pairs of rows that are almost equal in every column.

    Rows are sorted by one column, in which almost equal ones are neighbours.

    Args:
        projections: (N, P).
        near: How near, in deviations of the column.

    Returns:
        (M, 2) places, the smaller one first.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
        >>> x[30] = x[7] + 1e-5
        >>> near_pairs(x).tolist()
        [[7, 30]]
    """
    deviation = projections.std(0)
    kept = deviation > 0
    if len(projections) < 2 or not kept.any():
        return np.zeros((0, 2), np.int64)
    x = projections[:, kept] / deviation[kept]
    order = np.argsort(x[:, 0], kind="stable")
    found = []
    for step in range(1, min(WINDOW, len(x) - 1) + 1):
        one, other = order[:-step], order[step:]
        close = x[other, 0] - x[one, 0] <= near
        if not close.any():
            break
        one, other = one[close], other[close]
        same = (np.abs(x[one] - x[other]) <= near).all(1)
        found.append(np.stack([np.minimum(one[same], other[same]), np.maximum(one[same], other[same])], 1))
    pairs: Pairs = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def check_copies(material: Material) -> Iterator[Finding | NotChecked]:
    """Find samples of several splits, or of one, whose audio and vision are almost the same.

    Args:
        material: The corpus.
    """
    kinds = [name for name in material.modalities if name != "text"]
    if not kinds:
        yield NotChecked("whether clips are stored twice", "there are neither audio nor vision features")
        return
    ids = [name for part in material.parts.values() for name in part.ids]
    split = [name for name, part in material.parts.items() for _ in part.ids]
    pairs = {}
    for kind in kinds:
        found, filler = _pairs_of(material, kind)
        pairs[kind] = found
        if filler:
            yield Finding(
                "filler",
                "note",
                f"{filler} samples have {kind} that more than {COMMON} samples have in common",
                f"see whether {kind} was really extracted there; where it is missing, zeros say so",
                {"modality": kind, "samples": filler},
            )
    everywhere = set.intersection(*pairs.values())
    if len(kinds) > 1:
        for kind in kinds:
            alone = pairs[kind] - everywhere
            if alone:
                yield from _told(kind, alone, ids, split, whole=False)
    yield from _told(" and ".join(kinds), everywhere, ids, split, whole=True)


def _pairs_of(material: Material, kind: str) -> tuple[set[tuple[int, int]], int]:
    """Pairs of almost equal samples, over all splits, and how many samples hold what many others do."""
    projections, usable, start, filler = [], [], 0, 0
    digests = Counter(
        digest
        for part in material.parts.values()
        if kind in part.features
        for digest in part.features[kind].digests[part.features[kind].present].tolist()
    )
    for part in material.parts.values():
        features = part.features.get(kind)
        if features is not None:
            common = np.array([digests[digest] > COMMON for digest in features.digests.tolist()])
            filler += int((common & features.present).sum())
            rows = np.flatnonzero(features.present & ~common)
            projections.append(features.projections[rows])
            usable.append(rows + start)
        start += len(part.ids)
    places = np.concatenate(usable)
    found = near_pairs(np.concatenate(projections))
    return {(int(places[a]), int(places[b])) for a, b in found}, filler


def _told(
    what: str, pairs: set[tuple[int, int]], ids: Sequence[str], split: Sequence[str], whole: bool
) -> Iterator[Finding]:
    grouped: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for a, b in sorted(pairs):
        if ids[a] != ids[b]:  # ids are compared elsewhere
            grouped.setdefault((split[a], split[b]), []).append((a, b))
    for (one, other), found in grouped.items():
        count, size = len({b for _, b in found}), split.count(other)
        a, b = found[0]
        severe = whole and one != other and held_apart(one, other) and count >= max(LEAK_COUNT, LEAK_SHARE * size)
        place = f"{one} and {other}" if one != other else one
        yield Finding(
            "copied-clips" if whole else "copied-features",
            "leak" if severe else "warning" if one != other and held_apart(one, other) else "note",
            f"{plural(len(found), 'pair')} of samples of {place} {'have' if len(found) > 1 else 'has'} the same {what},"
            f" or almost, such as {ids[a]} and {ids[b]}",
            REMEDY if one != other else "keep one of each, if they are one clip",
            {"one": one, "other": other, "pairs": len(found), "samples": count, "of": size},
        )
