"""The published networks, one file each; ``__all__`` is the registry."""

from mer_zoo.backbones.mult import MulT

__all__ = ["MulT"]
