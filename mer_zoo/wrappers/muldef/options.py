"""What MulDeF's options may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from mer_zoo.batch import MODALITIES
from mer_zoo.functional import counterfactual
from mer_zoo.functional.variants import Variant
from mer_zoo.model import Shown
from mer_zoo.options import check_choice, check_sizes, check_weights
from mer_zoo.wrappers.kept_words import BiasRule

__all__ = ["FIXED", "MOST_WORDS", "SHOWN", "WHOLE_TEXTS", "Fusion", "check_options"]

Fusion = Literal["sum", "harmonic", "rubi", "fc"]

FIXED: dict[str, counterfactual.Fusion] = {"sum": "sum", "harmonic": "harmonic", "rubi": "mask"}
MOST_WORDS = 1024  # of the released rule, which has no limit; it finds 39 to 69
WHOLE_TEXTS = "MulDeF's text branch read whole texts, since there were no token ids by which words could be masked"
SHOWN: Mapping[str, Shown] = {
    "plain": Shown("mediator and branches (plain)", "difference"),
    "counterfactual": Shown("the branches alone (counterfactual)", "difference"),
    "mediated": Shown("the mediator"),
    **{name: Shown(f"the {name} branch") for name in MODALITIES},
}


def check_options(
    fusion: str, words: str, variant: str, sizes: Mapping[str, int], weights: Mapping[str, float]
) -> None:
    """Refuse options out of range.

    Args:
        fusion: The fusion function.
        words: The rule for biased words.
        variant: Which of two forms.
        sizes: Option to size.
        weights: Option to weight.

    Raises:
        MERError: Naming the option.

    Example:
        >>> check_options("sum", "maci", "paper", {"heads": 0}, {})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: heads of MulDeF is 0; give at least 1
    """
    check_choice("MulDeF", "fusion", fusion, get_args(Fusion))
    check_choice("MulDeF", "words", words, get_args(BiasRule))
    check_choice("MulDeF", "variant", variant, get_args(Variant))
    check_weights("MulDeF", weights)
    check_sizes("MulDeF", sizes)
