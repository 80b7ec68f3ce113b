"""Samples by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from mer_zoo.data import Condition, MERDataModule
from mer_zoo.data.missing.conditions import PRESETS, RATED, build_conditions, condition_name, is_test_split
from mer_zoo.errors import MERError
from mer_zoo.text import shown, told

__all__ = ["complete_condition", "find_condition", "find_samples"]

NEAREST = 3


def find_samples(data: MERDataModule, ids: Sequence[str], split: str | None = None) -> tuple[str, list[int]]:
    """Find samples in a corpus.

    Args:
        data: The corpus.
        ids: Their ids.
        split: Where they are; by default the first split that has the first of them, test splits before others.

    Returns:
        The split, and the place of each there.

    Raises:
        MERError: For an id that is not there, naming the nearest.

    Example:
        >>> from mer_zoo import SyntheticMER
        >>> from mer_zoo.data import SyntheticConfig
        >>> data = SyntheticMER(SyntheticConfig(train=4, valid=2, test=3))
        >>> find_samples(data, ["test_iid_00002"])
        ('test_iid', [2])
    """
    splits = data.corpus.splits
    order = [split] if split is not None else sorted(splits, key=lambda name: not is_test_split(name))
    known = {name: {id_: place for place, id_ in enumerate(data.corpus.split(name).ids)} for name in order}
    chosen = next((name for name in order if ids[0] in known[name]), order[0])
    lacking = next((id_ for id_ in ids if id_ not in known[chosen]), None)
    if lacking is not None:
        anywhere = split is None and lacking == ids[0]
        pool = [id_ for name in (order if anywhere else [chosen]) for id_ in known[name]]
        near = get_close_matches(lacking, pool, NEAREST, cutoff=0.0)
        where = "in any split" if anywhere else f"in the split {told(chosen)}"
        raise MERError(
            f"there is no sample {told(lacking)} {where} of {shown(data.corpus.source)}; the nearest ids are"
            f" {', '.join(map(told, near))}"
        )
    return chosen, [known[chosen][id_] for id_ in ids]


def complete_condition(data: MERDataModule, split: str) -> Condition:
    """The condition of a split under which nothing is missing.

    Args:
        data: The corpus.
        split: The split.
    """
    return Condition(condition_name(split, list(data.corpus.splits)), split)


def find_condition(data: MERDataModule, name: str) -> Condition:
    """A condition by its name: one of the data's own, or of any preset.

    Args:
        data: The corpus.
        name: Such as ``{l,a}``, ``RMFM 0.3`` or ``ood``.

    Raises:
        MERError: If there is none of that name.

    Example:
        >>> from mer_zoo import SyntheticMER
        >>> from mer_zoo.data import SyntheticConfig
        >>> data = SyntheticMER(SyntheticConfig(train=4, valid=2, test=3))
        >>> find_condition(data, "RMM 0.3").pattern, find_condition(data, "ood {l}").split
        (RMM(rate=0.3), 'test_ood')
    """
    known = {condition.name: condition for condition in data.conditions}
    if name in known:
        return known[name]
    presets = [preset for preset in PRESETS if preset != "robustness"] + [f"robustness:{rated}" for rated in RATED]
    splits = list(data.corpus.splits)
    tested = [condition_name(split, splits) for split in splits if is_test_split(split)]
    for preset in ("default", *(f"{preset}@{place}" for place in tested for preset in presets[1:])):
        known |= {each.name: each for each in build_conditions(preset, splits, data.spec.modalities)}
    if name not in known:
        near = get_close_matches(name, known, NEAREST, cutoff=0.0)
        raise MERError(
            f"there is no condition {told(name)}; the nearest are {', '.join(map(told, near))}, and --data.conditions"
            " takes others"
        )
    return known[name]
