"""SelfMM: the network and its bank of generated labels."""

from mer_zoo.backbones.selfmm.network import SelfMM

__all__ = ["SelfMM"]
