"""MMIN and IF-MMIN: the networks, their encoders of a modality, and the cascade that imagines what is missing."""

from mer_zoo.backbones.mmin.network import MMIN

__all__ = ["MMIN"]
