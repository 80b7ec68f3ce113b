"""Traces of a confounder, propensities fitted on them, and validation under their weights."""

from mer_zoo.confounding.groups import Groups, read_groups
from mer_zoo.confounding.propensity import Propensity
from mer_zoo.confounding.reader import BiasSource, GroupOption, TraceReader
from mer_zoo.confounding.spelling import spellings
from mer_zoo.confounding.trace import TrainingSplit, WordRule, Words, read_split
from mer_zoo.confounding.validation import ValidationWeights

__all__ = [
    "BiasSource",
    "GroupOption",
    "Groups",
    "Propensity",
    "TraceReader",
    "TrainingSplit",
    "ValidationWeights",
    "WordRule",
    "Words",
    "read_groups",
    "read_split",
    "spellings",
]
