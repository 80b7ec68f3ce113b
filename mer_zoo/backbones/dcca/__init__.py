"""DCCA and DCCAE, and what they share: a network for each modality, drawn to correlate."""

from mer_zoo.backbones.dcca.autoencoder import DCCAE
from mer_zoo.backbones.dcca.network import DCCA

__all__ = ["DCCA", "DCCAE"]
