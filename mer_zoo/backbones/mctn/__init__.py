"""MCTN: the network and its translations between modalities."""

from mer_zoo.backbones.mctn.network import MCTN

__all__ = ["MCTN"]
