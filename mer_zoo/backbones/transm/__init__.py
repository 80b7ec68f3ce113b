"""TransM (TransModality): the network and its cells, which translate between two modalities."""

from mer_zoo.backbones.transm.network import TransM

__all__ = ["TransM"]
