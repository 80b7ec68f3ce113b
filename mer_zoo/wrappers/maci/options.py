"""What MACI's options may be, and what it can wrap."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

from mer_zoo.confounding.strength import check_strength
from mer_zoo.errors import MERError
from mer_zoo.functional.variants import Variant
from mer_zoo.model import Model, Shown
from mer_zoo.options import check_choice

__all__ = ["NOTHING", "NO_LABELS", "SHOWN", "Counterfactual", "check_inner", "check_options"]

Counterfactual = Literal["text", "text_alone"]

SHOWN: Mapping[str, Shown] = {
    "factual": Shown("as trained (factual)"),
    "plain": Shown("all classes alike (with MCM)"),
    "counterfactual": Shown("bias words alone (counterfactual)"),
}
NO_LABELS = "MACI did without its label part (labels: false)"
NOTHING = "MACI changed nothing: its label part was switched off, and there were no token ids"


def check_options(
    num_words: int,
    threshold: float,
    variant: str,
    selection: str,
    tau: float,
    counterfactual: str = "text",
    dim: int = 32,
) -> None:
    """Refuse options out of range, and a strength that the selection would not use.

    Raises:
        MERError: Naming the option.

    Example:
        >>> check_options(num_words=0, threshold=0.1, variant="paper", selection="fixed", tau=0.5)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: num_words of MACI is 0; give at least 1
    """
    if dim < 1:
        raise MERError(f"dim of MACI is {dim}; give at least 1")
    if num_words < 1:
        raise MERError(f"num_words of MACI is {num_words}; give at least 1")
    if not math.isfinite(threshold) or threshold < 0:
        raise MERError(f"threshold of MACI is {threshold}; give a finite number of at least 0")
    check_choice("MACI", "variant", variant, get_args(Variant))
    check_strength("MACI", "tau", selection, tau)
    check_choice("MACI", "counterfactual", counterfactual, get_args(Counterfactual))


def check_inner(backbone: Model) -> None:
    """Refuse a model that has no classes, or whose scores are not made of its features.

    Raises:
        MERError: Naming it.
    """
    if not backbone.task.is_classification:
        raise MERError(
            f"MACI needs classes, but {type(backbone.task).__name__} has a single output without class probabilities;"
            " choose a task with classes, such as seven"
        )
    if backbone.replaces_logits:
        raise MERError(
            f"MACI computes its scores from the features, so those of {backbone.name} would be lost; put MACI inside,"
            " as in CausalMER(MACI(...)), or leave one of them out"
        )
