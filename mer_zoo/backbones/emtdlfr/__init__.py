"""EMTDLFR: the network, its fusion and what only it has."""

from mer_zoo.backbones.emtdlfr.network import EMTDLFR

__all__ = ["EMTDLFR"]
