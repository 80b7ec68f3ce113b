"""The debiasing methods, one file each; ``__all__`` is the registry."""

from mer_zoo.wrappers.causalmer import CausalMER

__all__ = ["CausalMER"]
