"""GCNet: the network, its graphs, and how wrong what it completes is."""

from mer_zoo.backbones.gcnet.network import GCNet

__all__ = ["GCNet"]
