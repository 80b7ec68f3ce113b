"""Whom wrappers refuse that take a counterfactual off the scores: what would take the same thing off twice."""

from __future__ import annotations

from mer_zoo.errors import MERError
from mer_zoo.model import Model

__all__ = ["check_subtracts_once"]

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
