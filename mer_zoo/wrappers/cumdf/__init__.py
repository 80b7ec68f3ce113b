"""CUMDF: the wrapper, its views, its teacher, and what distils and attributes."""

from mer_zoo.wrappers.cumdf.wrapper import CUMDF

__all__ = ["CUMDF"]
