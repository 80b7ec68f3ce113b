"""RAVEN; see :mod:`mer_zoo.backbones.raven.network`."""

from mer_zoo.backbones.raven.network import RAVEN

__all__ = ["RAVEN"]
