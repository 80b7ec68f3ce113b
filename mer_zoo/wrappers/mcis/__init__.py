"""MCIS: the wrapper, its counterfactual inputs and the choice of its strengths."""

from mer_zoo.wrappers.mcis.wrapper import MCIS

__all__ = ["MCIS"]
