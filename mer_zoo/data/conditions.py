"""Test conditions: which split is tested, under which missing pattern, and the presets that name sets of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mer_zoo.batch import MODALITIES
from mer_zoo.data.missing import AVAILABILITY, RMM, SMM, MissingPattern, availability_name
from mer_zoo.errors import MERError

__all__ = ["PRESETS", "Condition", "build_conditions", "condition_name", "is_test_split"]


@dataclass(frozen=True)
class Condition:
    """One way to test a model.

    Args:
        name: What tables and log entries call it.
        split: The split to test on.
        pattern: What is missing; nothing when left out.
        source: Path of another corpus to take the split from.

    Example:
        >>> Condition("half", "test", SMM(["text"]))
        Condition(name='half', split='test', pattern=SMM(available=('text',)), source=None)
    """

    name: str
    split: str
    pattern: MissingPattern | None = None
    source: str | None = None


def is_test_split(split: str) -> bool:
    """Whether a split serves testing: ``test``, or a name that starts with ``test_``."""
    return split == "test" or split.startswith("test_")


def condition_name(split: str, splits: Sequence[str]) -> str:
    """Name the complete condition of a test split.

    Args:
        split: The test split.
        splits: All splits of the corpus.

    Returns:
        ``iid`` for ``test_iid``, or for ``test`` where there is no ``test_iid``; else the name without ``test_``.

    Example:
        >>> condition_name("test", ["train", "test"]), condition_name("test_ood", ["test_iid", "test_ood"])
        ('iid', 'ood')
    """
    if split == "test" and "test_iid" not in splits:
        return "iid"
    return split.removeprefix("test_")


def _complete(splits: Sequence[str], _modalities: Sequence[str]) -> list[Condition]:
    """Each test split as it is."""
    return [Condition(condition_name(split, splits), split) for split in splits if is_test_split(split)]


def _availability(splits: Sequence[str], modalities: Sequence[str]) -> list[Condition]:
    """The first test split as it is, and with every incomplete set of the modalities in use."""
    first = _complete(splits, modalities)[:1]
    sets = [available for available in AVAILABILITY if set(available) < set(modalities)]
    return first + [Condition(availability_name(s), c.split, SMM(s)) for c in first for s in sets]


def _robustness(splits: Sequence[str], modalities: Sequence[str]) -> list[Condition]:
    """The first test split as it is, and under random modality missing at the rates 0.1 to 1.0."""
    first = _complete(splits, modalities)[:1]
    rates = [step / 10 for step in range(1, 11)]
    return first + [Condition(f"RMM {rate}", c.split, RMM(rate)) for c in first for rate in rates]


Preset = Callable[[Sequence[str], Sequence[str]], list[Condition]]

PRESETS: dict[str, Preset] = {"default": _complete, "availability": _availability, "robustness": _robustness}


def build_conditions(
    conditions: str | Sequence[str | Condition], splits: Sequence[str], modalities: Sequence[str] = MODALITIES
) -> list[Condition]:
    """Turn names of presets and Condition objects into the list of conditions to test under.

    Args:
        conditions: A preset, or a list of presets and conditions: ``default`` (each test split as it is),
            ``availability`` (the first test split with every incomplete set of modalities), ``robustness`` (the first test
            split at every rate of random modality missing).
        splits: The splits of the corpus; presets give nothing where none is a test split.
        modalities: The modalities in use.

    Returns:
        The conditions in the order asked for, each once.

    Raises:
        MERError: For an unknown preset, a split that the corpus lacks, or one name for two different conditions.

    Example:
        >>> chosen = build_conditions(["default", "availability"], ["train", "test_iid", "test_ood"])
        >>> [condition.name for condition in chosen]
        ['iid', 'ood', '{l}', '{a}', '{v}', '{l,a}', '{l,v}', '{a,v}']
    """
    chosen: dict[str, Condition] = {}
    for entry in [conditions] if isinstance(conditions, str) else conditions:
        for condition in _expand(entry, splits, modalities):
            if chosen.setdefault(condition.name, condition) != condition:
                raise MERError(f"two different conditions are called {condition.name!r}; rename one of them")
    return list(chosen.values())


def _expand(entry: str | Condition, splits: Sequence[str], modalities: Sequence[str]) -> list[Condition]:
    if isinstance(entry, str):
        if entry not in PRESETS:
            raise MERError(f"unknown conditions {entry!r}; choose from {', '.join(PRESETS)}, or give a Condition")
        return PRESETS[entry](splits, modalities)
    if entry.source is None and entry.split not in splits:
        have = ", ".join(splits)
        raise MERError(f"condition {entry.name!r} wants the split {entry.split!r}; the corpus has {have}")
    return [entry]
