"""DMD: the network and its graph distillation."""

from mer_zoo.backbones.dmd.network import DMD

__all__ = ["DMD"]
