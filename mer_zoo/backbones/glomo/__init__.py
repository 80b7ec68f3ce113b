"""GLoMo: the network and its mixtures of experts."""

from mer_zoo.backbones.glomo.network import GLoMo

__all__ = ["GLoMo"]
