"""Checks of the options of PropensityWeighting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import get_args

from mer_zoo.confounding.reader import BiasSource
from mer_zoo.confounding.trace import WordRule
from mer_zoo.errors import MERError
from mer_zoo.options import check_choice, check_sizes, check_weights

__all__ = ["DEFAULTS", "check_options", "check_use"]

DEFAULTS = {"balance": 0.5, "min_share": 0.05, "min_cv": 0.1}
USERS = {"balance": "both", "min_share": "frequent", "min_cv": "maci"}  # the choice that uses the option


def check_options(
    weights: Mapping[str, float], max_words: int, folds: int, max_weight: float, keep_words: Sequence[str]
) -> None:
    """Refuse options out of range.

    Args:
        weights: The exponent of the weights, and options that are shares or coefficients.
        max_words: Most words.
        folds: Folds in which the propensities are fitted.
        max_weight: Largest weight.
        keep_words: Words that never count.

    Raises:
        MERError: Naming the option.
    """
    check_weights("PropensityWeighting", weights)
    _check_kept(keep_words)
    _check_numbers(max_words, folds, max_weight, {name: weights[name] for name in ("balance", "min_share")})


def check_use(weights: Mapping[str, float], mode: str, rule: WordRule, source: str, groups: object) -> None:
    """Refuse options that others leave out of use.

    Args:
        weights: As for :func:`check_options`.
        mode: Whether samples are weighed, or logits offset.
        rule: Which words count as biased.
        source: Where the bias is looked for.
        groups: Of ``source="groups"``.

    Raises:
        MERError: Naming the option and the one that would use it.
    """
    check_choice("PropensityWeighting", "source", source, get_args(BiasSource))
    chosen = ("words", rule.words)
    _check_in_use(weights, {"balance": ("mode", mode), "min_share": chosen, "min_cv": chosen})
    _check_source(rule, source)
    if mode == "exchange" and source != "words":
        raise MERError(
            f"mode exchange of PropensityWeighting exchanges words, but source is {source}; set source: words"
        )
    strength = weights["strength"]
    if mode == "exchange" and strength > 1:
        raise MERError(
            f"strength of PropensityWeighting is {strength}, but of mode exchange it is a share; give at most 1"
        )
    if groups is not None and source != "groups":
        raise MERError(
            f"groups are given, but source {source} of PropensityWeighting does not use them; set source: groups"
        )


def _check_numbers(max_words: int, folds: int, max_weight: float, shares: Mapping[str, float]) -> None:
    check_sizes("PropensityWeighting", {"max_words": max_words})
    if folds < 2:
        raise MERError(f"folds of PropensityWeighting is {folds}; give at least 2")
    if not math.isfinite(max_weight) or max_weight <= 1:
        raise MERError(f"max_weight of PropensityWeighting is {max_weight}; give a finite number above 1")
    for name, share in shares.items():
        if share > 1:
            raise MERError(f"{name} of PropensityWeighting is {share}; give a number from 0 to 1")


def _check_kept(words: Sequence[object]) -> None:
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise MERError(f"keep_words of PropensityWeighting is {words!r}; give a list of words")
    for word in words:
        if not isinstance(word, str) or not word.strip():
            raise MERError(
                f"keep_words of PropensityWeighting holds {word!r}; give words, a token's '#' and number in quotes"
            )


def _check_in_use(options: Mapping[str, float], choices: Mapping[str, tuple[str, str]]) -> None:
    for name, (choice, chosen) in choices.items():
        if options[name] != DEFAULTS[name] and chosen != USERS[name]:
            raise MERError(
                f"{name} is {options[name]}, but {choice} {chosen} of PropensityWeighting does not use it; set"
                f" {choice}: {USERS[name]}"
            )


def _check_source(rule: WordRule, source: str) -> None:
    for name, default in WordRule()._asdict().items():
        value = getattr(rule, name)
        if source != "words" and value != default:
            raise MERError(
                f"{name} is {value}, but source {source} of PropensityWeighting does not use it; set source: words"
            )
