"""TFRNet: the network, its gated pooling and the generator of lost frames."""

from mer_zoo.backbones.tfrnet.network import TFRNet

__all__ = ["TFRNet"]
