"""LNLN: the network and its transformer of tokens."""

from mer_zoo.backbones.lnln.network import LNLN

__all__ = ["LNLN"]
