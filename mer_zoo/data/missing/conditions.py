"""Test conditions: which split is tested, under which missing pattern, and the presets that name sets of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mer_zoo.batch import MODALITIES, availability_name
from mer_zoo.data.missing.frames import MRMS, RMFM, STMFM, TMFM, TraditionalRMFM
from mer_zoo.data.missing.pattern import AVAILABILITY, RMM, SMM, MissingPattern
from mer_zoo.data.missing.sets import AtLeastOne
from mer_zoo.errors import MERError

__all__ = ["PRESETS", "RATED", "Condition", "build_conditions", "condition_name", "described", "is_test_split"]


HEARD = "asr"
"""What the condition with the heard text is called."""


@dataclass(frozen=True)
class Condition:
    """One way to test a model.

    Args:
        name: What tables and log entries call it.
        split: The split to test on.
        pattern: What is missing; nothing when left out.
        source: Path of another corpus to take the split from.
        heard: Whether the text is what was heard, as by speech recognition, instead of what the file gives as text.

    Attributes:
        curve: The curve over missing rates that the pattern is a point of, whatever the condition is called; None where
            no one number is its rate.
        rate: The rate there.
        available: The modalities that are there, where the pattern says so.

    Raises:
        MERError: Without a name.

    Example:
        >>> half = Condition("half", "test", RMM(0.5))
        >>> half, half.curve, half.rate
        (Condition(name='half', split='test', pattern=RMM(rate=0.5), source=None, heard=False), 'RMM', 0.5)
    """

    name: str
    split: str
    pattern: MissingPattern | None = None
    source: str | None = None
    heard: bool = False
    curve: str | None = field(init=False, repr=False, compare=False)
    rate: float | None = field(init=False, repr=False, compare=False)
    available: tuple[str, ...] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise MERError(f"a condition on the split {self.split!r} has no name; give it one")
        curve, rate = (None if self.pattern is None else self.pattern.point) or (None, None)
        curve = f"{HEARD} {curve}" if curve and self.heard else curve  # another curve than that of the text
        available = self.pattern.available if isinstance(self.pattern, SMM) and not self.heard else None
        for name, value in {"curve": curve, "rate": rate, "available": available}.items():
            object.__setattr__(self, name, value)

    @property
    def complete(self) -> bool:
        """Whether the samples are as the file has them."""
        return self.pattern is None and not self.heard


def is_test_split(split: str) -> bool:
    """Whether a split serves testing: ``test``, or a name that starts with ``test_``.

    Example:
        >>> is_test_split("test_ood"), is_test_split("valid")
        (True, False)
    """
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


def _same_rate(rate: float) -> TraditionalRMFM:
    return TraditionalRMFM(rate, rate, rate)


# What a rate alone makes a pattern of.
RATED: dict[str, Callable[[float], MissingPattern]] = {
    "RMFM": RMFM,
    "TraditionalRMFM": _same_rate,
    "RMM": RMM,
    "TMFM": TMFM,
    "STMFM": STMFM,
    "MRMS": MRMS,
    "AtLeastOne": AtLeastOne,
}
PRESETS = ("default", "availability", "robustness", "asr")
PATTERN = "RMFM"  # of robustness without a name


def build_conditions(
    conditions: str | Sequence[str | Condition], splits: Sequence[str], modalities: Sequence[str] = MODALITIES
) -> list[Condition]:
    """Turn names of presets and Condition objects into the list of conditions to test under.

    Args:
        conditions: A preset, or a list of presets and conditions. Presets are ``default`` (each test split as it is),
            ``availability`` (the first test split with each of the seven sets of modalities), ``robustness`` (the first
            test split at the rates 0 to 1 of RMFM) and ``asr`` (the first test split, also with what was heard as its
            text). ``robustness:TMFM`` takes another pattern, ``robustness@ood`` another test split,
            ``robustness:TMFM@ood`` both; behind the ``@`` may also stand the name of a given Condition, such as one of
            another corpus.
        splits: The splits of the corpus; presets that name none give nothing where none is a test split.
        modalities: The modalities in use.

    Returns:
        The conditions in the order asked for, each once.

    Raises:
        MERError: For an unknown preset, pattern or split, or one name for two different conditions.

    Example:
        >>> chosen = build_conditions(["default", "availability"], ["train", "test_iid", "test_ood"])
        >>> [condition.name for condition in chosen]
        ['iid', 'ood', '{l}', '{a}', '{v}', '{l,a}', '{l,v}', '{a,v}']
        >>> [condition.name for condition in build_conditions("robustness:RMM@ood", ["test_iid", "test_ood"])][:3]
        ['ood', 'ood RMM 0.1', 'ood RMM 0.2']
    """
    if conditions is None:  # as null in a configuration
        raise MERError("conditions is null; give a preset, such as default, or a list")
    chosen: dict[str, Condition] = {}
    entries = [conditions] if isinstance(conditions, str) else conditions
    given = [entry for entry in entries if isinstance(entry, Condition) and entry.complete]
    for entry in entries:
        for condition in (
            _preset(entry, splits, modalities, given) if isinstance(entry, str) else [_known(entry, splits)]
        ):
            if chosen.setdefault(condition.name, condition) != condition:
                raise MERError(f"two different conditions are called {condition.name!r}; rename one of them")
    return list(chosen.values())


def _known(condition: Condition, splits: Sequence[str]) -> Condition:
    if condition.source is None and condition.split not in splits:
        have = ", ".join(splits)
        raise MERError(f"condition {condition.name!r} wants the split {condition.split!r}; the corpus has {have}")
    if condition.source is None and condition.split == "train":
        raise MERError(f"condition {condition.name!r} tests on train, which is trained on; choose another split")
    return condition


def _preset(text: str, splits: Sequence[str], modalities: Sequence[str], given: Sequence[Condition]) -> list[Condition]:
    match = re.fullmatch(r"(\w+)(?::(\w+))?(?:@(\w+))?", text)
    parts = text.split(",")
    if len(parts) > 1 and all(part.partition("@")[0].partition(":")[0] in PRESETS for part in parts):
        raise MERError(f"conditions are a list; write {text} in brackets and quotes, '[{text}]'")
    if match is None or match[1] not in PRESETS:
        raise MERError(
            f"unknown conditions {text!r}; choose from {', '.join(PRESETS)}, robustness:PATTERN, PRESET@SPLIT,"
            " or give a Condition"
        )
    preset, pattern, place = match.groups()
    if pattern is not None and preset != "robustness":
        raise MERError(f"conditions {text!r}: {preset} takes no pattern; did you mean robustness:{pattern}?")
    if pattern not in (None, *RATED):
        raise MERError(f"conditions {text!r}: unknown pattern {pattern!r}; choose from {', '.join(RATED)}")
    tested = [Condition(condition_name(split, splits), split) for split in splits if is_test_split(split)]
    chosen = tested if preset == "default" else tested[:1]
    if place is not None:
        chosen = [condition for condition in given if place == condition.name]
        chosen = chosen or [condition for condition in tested if place in (condition.name, condition.split)]
        if not chosen:
            have = ", ".join(dict.fromkeys(condition.name for condition in (*tested, *given))) or "none"
            raise MERError(f"conditions {text!r}: there is no test split {place!r}; choose from {have}")
    return [view for whole in chosen for view in _views(whole, preset, pattern, modalities, whole in tested[:1])]


def _views(
    whole: Condition, preset: str, pattern: str | None, modalities: Sequence[str], is_first: bool
) -> list[Condition]:
    """A complete condition and what the preset takes from it; the first split's are named without it."""
    patterns: dict[str, MissingPattern] = {}
    if preset == "availability":
        sets = [available for available in AVAILABILITY if set(available) < set(modalities)]
        patterns = {availability_name(available): SMM(available) for available in sets}
    elif preset == "robustness":
        name = pattern or PATTERN
        patterns = {f"{name} {step / 10}": RATED[name](step / 10) for step in range(1, 11)}
    prefix = "" if is_first else f"{whole.name} "
    if preset == HEARD:
        return [whole, Condition(prefix + HEARD, whole.split, source=whole.source, heard=True)]
    return [
        whole,
        *(Condition(prefix + name, whole.split, missing, whole.source) for name, missing in patterns.items()),
    ]


def described(condition: Condition, conditions: Sequence[Condition], splits: Sequence[str]) -> dict[str, Any]:
    """What results.json says about a condition, in plain values.

    Args:
        condition: The condition.
        conditions: All conditions that are tested.
        splits: The splits of the corpus.

    Returns:
        ``split``, ``source`` and ``pattern``; ``place``, the name of the complete condition of the split, which is
        empty for the first test split; ``curve``, ``rate`` and ``available``.

    Example:
        >>> conditions = [Condition("ood", "test_ood"), Condition("a third", "test_ood", RMM(0.3))]
        >>> about = described(conditions[1], conditions, ["train", "test_iid", "test_ood"])
        >>> about["place"], about["curve"], about["rate"], about["available"]
        ('ood', 'RMM', 0.3, None)
    """
    return {
        "split": condition.split,
        "source": condition.source,
        "pattern": None if condition.complete else _told(condition),
        "place": _place(condition, conditions, splits),
        "curve": condition.curve,
        "rate": condition.rate,
        "available": None if condition.available is None else list(condition.available),
    }


def _told(condition: Condition) -> str:
    heard = "what was heard" if condition.heard else ""
    return ", ".join(filter(None, [heard, "" if condition.pattern is None else repr(condition.pattern)]))


def _place(condition: Condition, conditions: Sequence[Condition], splits: Sequence[str]) -> str:
    first = next(filter(is_test_split, splits), None)
    if condition.source is None and condition.split == first:
        return ""
    where = (condition.split, condition.source)
    whole = (other.name for other in conditions if other.complete and (other.split, other.source) == where)
    other_corpus = "" if condition.source is None else f" of {Path(condition.source).name}"
    return next(whole, condition_name(condition.split, splits) + other_corpus)
