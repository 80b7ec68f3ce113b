"""Whom wrappers refuse that take a counterfactual off the scores: who takes it off too, or fits the scores anew."""

from __future__ import annotations

from mer_zoo.errors import MERError
from mer_zoo.model import Model

__all__ = ["check_answers_alike", "check_subtracts_once"]

SUBTRACTING = ("CLUE", "CausalMER", "MACI", "MCIS", "MulDeF")
WHOLE = ("MCIS", "MulDeF")
"""Those that take off all of what the others do."""


def check_subtracts_once(owner: Model, inner: Model) -> None:
    """Refuse an inner model from whose scores the same effect is taken off.

    Args:
        owner: The wrapper.
        inner: The model that it stands around.

    Raises:
        MERError: Naming both.
    """
    own = type(owner).__name__
    others = SUBTRACTING if own in WHOLE else WHOLE
    found = [type(model).__name__ for model in inner.nest if type(model).__name__ in others]
    if found:
        raise MERError(
            f"{own} and {found[0]} both take what the words alone say off the scores of {inner.name}, so that it would"
            " be taken off twice; keep one of them"
        )


def check_answers_alike(owner: Model, inner: Model) -> None:
    """Refuse an inner model whose validation scores are of another layer than its answers to other inputs.

    Args:
        owner: The wrapper, which takes answers to imagined inputs off the scores.
        inner: The model that it stands around.

    Raises:
        MERError: Naming both.
    """
    if not inner.refits_logits:
        return
    found = next(type(model).__name__ for model in reversed(inner.nest) if model.refits_logits)
    raise MERError(
        f"{type(owner).__name__} takes answers to imagined inputs off the scores of {inner.name}, but on validation"
        f" data {found} scores by layers that were fitted without the sample, and answers by the one before; leave one"
        " of them out"
    )
