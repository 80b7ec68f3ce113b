"""DiCMoR: the network and the flows that lead from one modality to another."""

from mer_zoo.backbones.dicmor.network import DiCMoR

__all__ = ["DiCMoR"]
