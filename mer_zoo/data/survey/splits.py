"""Do splits hold the same samples, the same recordings or the same people?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, compress

import numpy as np
import torch

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.corpus.overlap import REMEDY, named_samples
from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material, Part
from mer_zoo.data.survey.targets import Targets

__all__ = ["Samples", "check_groups", "check_ids", "contents", "held_apart"]

FEWEST = 30  # samples of shared groups, below which their labels prove nothing
TELLING = 0.6  # area of the group's mean label
DRAWS = 200
Samples = Sequence[int | str | None]


def held_apart(one: str, other: str) -> bool:
    """Whether two splits must not share samples: all but several test splits, which may be parts of one another.

    Example:
        >>> held_apart("train", "test"), held_apart("test", "test_clean")
        (True, False)
    """
    return not (one.startswith("test") and other.startswith("test"))


def contents(part: Part) -> list[int | None]:
    """A number for the content of each sample: equal where all its features, tokens and words are; None for no content.

    Args:
        part: The split.
    """
    count = len(part.ids)
    columns: list[Sequence[object]] = [
        [int(digest) if there else None for digest, there in zip(features.digests, features.present, strict=True)]
        for features in part.features.values()
    ]
    words = part.words()
    if words is not None:
        columns.append([tuple(own) or None for own in words])
    rows = list(zip(*columns, strict=True)) if columns else [()] * count
    return [hash(row) if any(value is not None for value in row) else None for row in rows]


def check_ids(material: Material) -> Iterator[Finding | NotChecked]:
    """Compare the splits sample by sample, by ids and by contents.

    Args:
        material: The corpus.
    """
    if len(material.parts) < 2:
        yield NotChecked("whether splits overlap", f"there is one split only, {next(iter(material.parts), 'none')}")
        return
    inside = {name: contents(part) for name, part in material.parts.items()}
    named = {name: named_samples(name, part.ids) for name, part in material.parts.items()}
    for one, other in combinations(material.parts, 2):
        yield from _compare(material, one, other, inside, named)
    lacking = [name for name, own in named.items() if not own]
    if lacking:
        yield NotChecked(
            f"whether ids of {', '.join(lacking)} stand in other splits",
            "they are numbers or name several samples each",
        )


def _compare(
    material: Material, one: str, other: str, inside: Mapping[str, list[int | None]], named: Mapping[str, set[str]]
) -> Iterator[Finding]:
    ours, theirs = material.parts[one], material.parts[other]
    same = {value for value in inside[one] if value is not None} & set(inside[other])
    copied = sum(value in same for value in inside[other])
    shared = named[one] & named[other]
    size = len(theirs.ids)
    if copied == size == len(ours.ids) and Counter(inside[one]) == Counter(inside[other]):
        yield Finding(
            "identical-splits",
            "leak",
            f"{one} and {other} are one split under two names: all {size} samples are the same"
            + (" (a published OOD split was equal to its IID split)" if not held_apart(one, other) else ""),
            f"give {other} its own samples; figures of both are one figure",
            {"one": one, "other": other, "samples": size},
        )
        return
    if shared:
        equal = _equal_under(shared, ours, theirs, inside[one], inside[other])
        severe = held_apart(one, other) and equal > 0
        what = f"{plural(len(shared), 'id')} of {other} {'are' if len(shared) > 1 else 'is'} in {one} too"
        if not equal:
            yield Finding(
                "repeated-ids",
                "warning",
                f"{what}, with other contents: an id does not name one sample",
                "put the split, or the dialogue's own name, into the ids",
                {"one": one, "other": other, "ids": len(shared)},
            )
        else:
            yield Finding(
                "overlap",
                "leak" if severe else "note",
                f"{what}, {equal} of them with the same content",
                REMEDY if severe else f"do not take figures of {one} and {other} for independent",
                {"one": one, "other": other, "ids": len(shared), "same": equal, "of": size},
            )
    others = _copied_under_other_ids(shared, ours, theirs, inside[one], inside[other])
    if others:
        severe = held_apart(one, other)
        first, second = others[0]
        yield Finding(
            "copied-samples",
            "leak" if severe else "note",
            f"{plural(len({b for _, b in others}), 'sample')} of {other} {'have' if len(others) > 1 else 'has'} a copy"
            f" in {one} under another id ({second} is {first})",
            REMEDY,
            {"one": one, "other": other, "samples": len({b for _, b in others}), "of": size},
        )


def _equal_under(shared: set[str], ours: Part, theirs: Part, one: Samples, other: Samples) -> int:
    """Of the shared ids those whose contents are equal, or are not there to be compared."""
    mine = dict(zip(ours.ids, one, strict=True))
    return sum(name in shared and mine[name] == value for name, value in zip(theirs.ids, other, strict=True))


def _copied_under_other_ids(
    shared: set[str], ours: Part, theirs: Part, one: Samples, other: Samples
) -> list[tuple[str, str]]:
    places: dict[object, list[str]] = defaultdict(list)
    for name, value in zip(ours.ids, one, strict=True):
        if value is not None:
            places[value].append(name)
    # texts alone, such as "yes", are said by many
    there = np.zeros(len(theirs.ids), dtype=bool)
    for key, features in theirs.features.items():
        there |= features.present & (key != "text")
    found = []
    for name, value in zip(compress(theirs.ids, there), compress(other, there), strict=True):
        twins = places.get(value, [])
        if twins and not (name in shared and name in twins):
            found.append((twins[0], name))
    return found


def check_groups(material: Material) -> Iterator[Finding | NotChecked]:
    """Do recordings, or the groups that were given, stand in several splits, and do they tell the label there?

    Args:
        material: The corpus.
    """
    if len(material.parts) < 2:
        return
    recordings = material.recordings()
    if recordings is None:
        yield NotChecked("whether splits share recordings", "the ids do not name them (VIDEO$_$CLIP does)")
    else:
        yield from _shared("recording", recordings, material)
    speakers = material.speakers()
    if speakers is not None:
        yield from _shared("speaker", speakers, material)
    if material.groups is None:
        if speakers is None:
            yield NotChecked(
                "whether splits share speakers",
                "nobody told who speaks (a field speaker does, and mer-zoo audit takes --groups FILE)",
            )
        return
    groups = material.groups
    lacking = [name for part in material.parts.values() for name in part.ids if name not in groups]
    if lacking:
        yield NotChecked(
            "whether splits share groups",
            f"the file of groups has no line for {len(lacking)} ids, {lacking[0]} for one",
        )
        return
    yield from _shared(
        "group", {name: [groups[one] for one in part.ids] for name, part in material.parts.items()}, material
    )


def _shared(what: str, groups: Mapping[str, list[str]], material: Material) -> Iterator[Finding]:
    for one, other in combinations(groups, 2):
        both = set(groups[one]) & set(groups[other]) - {""}
        if not both or not held_apart(one, other):
            continue
        concerned = [row for row, name in enumerate(groups[other]) if name in both]
        told = (
            f"{plural(len(both), what)} of {other} {'are' if len(both) > 1 else 'is'} in {one} too, with"
            f" {len(concerned)} of its {len(groups[other])} samples"
        )
        evidence: dict[str, float | int | str] = {
            "one": one,
            "other": other,
            f"{what}s": len(both),
            "samples": len(concerned),
            "of": len(groups[other]),
        }
        telling = _told_by_group(material, one, other, groups, concerned)
        severe = False
        if telling is not None:
            area, p = telling
            evidence |= {"area": area, "p": p}
            told += f"; the mean label of the same {what} in {one} alone reaches an AUC of {100 * area:.1f} % there"
            severe = area >= TELLING and p < 0.01
        yield Finding(
            f"shared-{what}s",
            # few corpora can have each speaker in one split alone, and dialogues are of the same ones throughout
            "leak" if severe else "note" if what == "speaker" else "warning",
            told,
            f"split by {what}, so that what is tested on was made by others than what was trained on",
            evidence,
        )


def _told_by_group(
    material: Material, one: str, other: str, groups: Mapping[str, list[str]], rows: list[int]
) -> tuple[float, float] | None:
    """Area of the mean label that a group has in another split, and how often chance does as well."""
    ours, theirs = material.parts[one].labels, material.parts[other].labels
    alike = ours is not None and theirs is not None and (ours.ndim, ours.dtype.kind) == (theirs.ndim, theirs.dtype.kind)
    if not alike or ours is None or theirs is None or len(rows) < FEWEST:
        return None
    classes = 1 + int(max(ours.max(), theirs.max())) if (ours.ndim, ours.dtype.kind) == (1, "i") else 0
    known, asked = Targets.of(ours, classes), Targets.of(theirs, classes)[torch.tensor(rows)]
    names = sorted(set(groups[one]))
    place = {name: row for row, name in enumerate(names)}
    at = torch.tensor([place[name] for name in groups[one]])
    sums = torch.zeros(len(names), known.columns.shape[1]).double().index_add_(0, at, known.columns)
    means = sums / torch.bincount(at, minlength=len(names)).double()[:, None]
    wanted = torch.tensor([place[groups[other][row]] for row in rows])
    area = asked.area(means[wanted])
    if area != area:
        return None
    used, rng = torch.tensor(sorted(set(wanted.tolist()))), np.random.default_rng(0)
    chance = []
    for _ in range(DRAWS):
        other_means = means.clone()
        other_means[used] = means[used[torch.from_numpy(rng.permutation(len(used)))]]
        chance.append(asked.area(other_means[wanted]) >= area)
    return area, (1 + sum(chance)) / (1 + DRAWS)
