"""PMR: the network and its reinforcement units."""

from mer_zoo.backbones.pmr.network import PMR

__all__ = ["PMR"]
