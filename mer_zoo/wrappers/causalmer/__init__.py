"""CausalMER: the wrapper and its branches."""

from mer_zoo.wrappers.causalmer.wrapper import CausalMER

__all__ = ["CausalMER"]
