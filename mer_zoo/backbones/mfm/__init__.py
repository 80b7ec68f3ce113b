"""MFM: the network, and what encodes and makes its sequences."""

from mer_zoo.backbones.mfm.network import MFM

__all__ = ["MFM"]
