"""GEAR: the wrapper and its branches of content and bias."""

from mer_zoo.wrappers.gear.wrapper import GEAR

__all__ = ["GEAR"]
