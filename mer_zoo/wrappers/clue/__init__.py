"""CLUE: the wrapper and its text branch."""

from mer_zoo.wrappers.clue.wrapper import CLUE

__all__ = ["CLUE"]
