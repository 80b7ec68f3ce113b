"""IMDer: the network and the diffusion that makes one modality of the others."""

from mer_zoo.backbones.imder.network import IMDer

__all__ = ["IMDer"]
