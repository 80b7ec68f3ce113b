"""MACI: the wrapper, its backdoor adjustment and what it keeps of the language."""

from mer_zoo.wrappers.maci.wrapper import MACI

__all__ = ["MACI"]
