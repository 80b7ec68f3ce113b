"""MAGBERT: the network and its gate."""

from mer_zoo.backbones.magbert.network import MAGBERT

__all__ = ["MAGBERT"]
