"""MPLMM: the network and its prompts."""

from mer_zoo.backbones.mplmm.network import MPLMM

__all__ = ["MPLMM"]
