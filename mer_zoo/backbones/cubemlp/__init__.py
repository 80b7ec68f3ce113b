"""CubeMLP: the network and the MLP blocks of its cube."""

from mer_zoo.backbones.cubemlp.network import CubeMLP

__all__ = ["CubeMLP"]
