"""A corpus in figures: the tables of statistics that papers print of theirs, and pictures of the same."""

from mer_zoo.data.portrait.description import Description, describe
from mer_zoo.data.portrait.facts import Facts, facts_of

__all__ = ["Description", "Facts", "describe", "facts_of"]
