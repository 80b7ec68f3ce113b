"""CASP: the wrapper, and what of a network it may change."""

from mer_zoo.wrappers.casp.layer_norms import layer_norms, match_statistics
from mer_zoo.wrappers.casp.wrapper import CASP

__all__ = ["CASP", "layer_norms", "match_statistics"]
