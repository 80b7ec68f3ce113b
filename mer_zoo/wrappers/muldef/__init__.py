"""MulDeF: the wrapper, its mediator and its branches."""

from mer_zoo.wrappers.muldef.wrapper import MulDeF

__all__ = ["MulDeF"]
