"""Whom wrappers refuse that make scores of their own: models without classes, and such whose scores would be lost."""

from __future__ import annotations

from mer_zoo.errors import MERError
from mer_zoo.model import Model

__all__ = ["check_classes", "check_keeps_logits"]


def check_classes(owner: str, inner: Model) -> None:
    """Refuse a model of a single output, of which there are no probabilities.

    Args:
        owner: The wrapper.
        inner: The model that it stands around.

    Raises:
        MERError: Naming the task.

    Example:
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentRegression
        >>> check_classes("CLUE", LFLSTM(DataSpec(), SentimentRegression()))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: CLUE needs classes, but SentimentRegression has a single output, whose softmax is ...
    """
    if not inner.task.is_classification:
        raise MERError(
            f"{owner} needs classes, but {type(inner.task).__name__} has a single output, whose softmax is constant;"
            " choose a task with classes, such as seven"
        )


def check_keeps_logits(owner: str, inner: Model, remedy: str = "", read: str = "the features") -> None:
    """Refuse a model that has made scores of its own, where a wrapper makes them anew.

    Args:
        owner: The wrapper.
        inner: The model that it stands around.
        remedy: How else the nest could be, with a comma and "or" behind it.
        read: What the wrapper makes them of.

    Raises:
        MERError: Naming both.

    Example:
        >>> from mer_zoo import CLUE, LFLSTM, DataSpec, SentimentClassification
        >>> check_keeps_logits("MulDeF", CLUE(LFLSTM(DataSpec(), SentimentClassification(3))))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: MulDeF computes its scores from the features, so those of CLUE(LFLSTM) would be ...
    """
    if inner.replaces_logits:
        raise MERError(
            f"{owner} computes its scores from {read}, so those of {inner.name} would be lost; {remedy}leave one of"
            " them out"
        )
