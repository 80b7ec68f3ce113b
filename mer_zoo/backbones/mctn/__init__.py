"""MCTN: the network and its translations between modalities, and the port of MultiBench, another network."""

from mer_zoo.backbones.mctn.multibench import MultiBenchMCTN
from mer_zoo.backbones.mctn.network import MCTN

__all__ = ["MCTN", "MultiBenchMCTN"]
