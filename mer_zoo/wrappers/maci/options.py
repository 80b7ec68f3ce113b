"""What MACI's options may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

from mer_zoo.confounding.strength import check_strength
from mer_zoo.errors import MERError
from mer_zoo.functional.variants import Variant
from mer_zoo.model import Shown
from mer_zoo.options import check_choice, check_sizes

__all__ = ["NOTHING", "NO_LABELS", "SHOWN", "Counterfactual", "check_options"]

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
    check_sizes("MACI", {"dim": dim, "num_words": num_words})
    if not math.isfinite(threshold) or threshold < 0:
        raise MERError(f"threshold of MACI is {threshold}; give a finite number of at least 0")
    check_choice("MACI", "variant", variant, get_args(Variant))
    check_strength("MACI", "tau", selection, tau)
    check_choice("MACI", "counterfactual", counterfactual, get_args(Counterfactual))
