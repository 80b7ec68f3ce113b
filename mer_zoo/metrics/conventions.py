"""What papers mean by their metrics of sentiment, and which classes each of them has."""

from __future__ import annotations

from typing import Literal, get_args

from mer_zoo.errors import MERError

__all__ = ["Convention", "check_classes"]

Convention = Literal["mmsa", "mult", "causalmer", "sims", "scale"]


def check_classes(num_classes: int | None, convention: Convention) -> None:
    """Refuse what has no metrics of sentiment.

    Args:
        num_classes: See :func:`~mer_zoo.metrics.collections.sentiment_metrics`.
        convention: See :mod:`mer_zoo.metrics`.

    Raises:
        MERError: For an unknown convention, or a number of classes that it does not have.

    Example:
        >>> check_classes(7, "sims")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: sentiment in [-1, 1] has 2, 3 or 5 classes, not 7; set data.task: five or regression
    """
    if num_classes not in (None, 2, 3, 5, 7):
        raise MERError(f"num_classes is {num_classes}; sentiment has 2, 3, 5 or 7 classes, or None for regression")
    if convention not in get_args(Convention):
        raise MERError(f"unknown convention {convention!r}; choose from {', '.join(get_args(Convention))}")
    if convention == "scale" and num_classes is not None:
        raise MERError("convention scale, of labels on a scale of their own, has no classes; set data.task: regression")
    if convention == "sims" and num_classes == 7:
        raise MERError("sentiment in [-1, 1] has 2, 3 or 5 classes, not 7; set data.task: five or regression")
