"""Checks of a constructor's options, with sentences that name the option, its owner and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mer_zoo.errors import MERError

__all__ = ["check_choice", "check_numbers", "check_sizes", "check_weights"]

SIZES = ("dim", "dims", "blocks")


def check_choice(owner: str, name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a word that is no choice of an option.

    Args:
        owner: The class whose option it is.
        name: The option.
        value: The word given.
        choices: The words allowed.

    Raises:
        MERError: If the word is not among them.

    Example:
        >>> check_choice("CausalMER", "fusion", "add", ["mask", "sum"])
        Traceback (most recent call last):
        mer_zoo.errors.MERError: unknown fusion 'add' of CausalMER; choose from mask, sum
    """
    if value not in choices:
        raise MERError(f"unknown {name} {value!r} of {owner}; choose from {', '.join(choices)}")


def check_weights(owner: str, weights: Mapping[str, float]) -> None:
    """Refuse weights of losses or effects that are negative or not finite.

    Args:
        owner: The class whose options they are.
        weights: Option to weight.

    Raises:
        MERError: For the first weight out of range.

    Example:
        >>> check_weights("MSSD", {"alpha": -1.0})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: alpha of MSSD is -1.0; weights are finite and at least 0
    """
    for name, weight in weights.items():
        if not math.isfinite(weight) or weight < 0:
            raise MERError(f"{name} of {owner} is {weight}; weights are finite and at least 0")


def check_sizes(owner: str, sizes: Mapping[str, int]) -> None:
    """Refuse widths and numbers of things that are below 1.

    Args:
        owner: The class whose options they are.
        sizes: Option to size.

    Raises:
        MERError: For the first of them.

    Example:
        >>> check_sizes("MulDeF", {"heads": 0})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: heads of MulDeF is 0; give at least 1
    """
    for name, size in sizes.items():
        if size < 1:
            raise MERError(f"{name} of {owner} is {size}; give at least 1")


def check_numbers(owner: str, options: Mapping[str, Any]) -> None:
    """Refuse widths below 1 and dropouts outside of [0, 1], which torch tells late, by other names or not at all.

    Args:
        owner: The class whose options they are.
        options: All of them. Looked at are those called ``dim``, ``dims``, ``blocks``, ``dropout``, ``dropouts`` or
            ending so, however their numbers are nested.

    Raises:
        MERError: For the first number out of range.

    Example:
        >>> check_numbers("RMFN", {"hidden_dims": (128, 0, 32), "dropout": 0.2})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: hidden_dims of RMFN is (128, 0, 32), but must be at least 1
    """
    for name, value in options.items():
        kind = name.rpartition("_")[2]
        if kind in SIZES and any(number < 1 for number in _numbers(value)):
            raise MERError(f"{name} of {owner} is {value}, but must be at least 1")
        if kind in ("dropout", "dropouts") and not all(0 <= number <= 1 for number in _numbers(value)):
            raise MERError(f"{name} of {owner} is {value}, but dropouts lie between 0 and 1")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, (int, float)):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _numbers(part)
