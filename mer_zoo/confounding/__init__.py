"""Traces of a confounder, propensities fitted on them, and validation under their weights."""

from mer_zoo.confounding.groups import Groups
from mer_zoo.confounding.partition import Partition
from mer_zoo.confounding.propensity import Propensity
from mer_zoo.confounding.reader import BiasSource, GroupOption, TraceReader
from mer_zoo.confounding.refutation import Refutation, refute
from mer_zoo.confounding.spelling import spellings
from mer_zoo.confounding.trace import TrainingSplit, WordRule, Words, read_split
from mer_zoo.confounding.validation import ValidationWeights
from mer_zoo.confounding.worst import WorstGroup
from mer_zoo.data.files.groups import read_groups

__all__ = [
    "BiasSource",
    "GroupOption",
    "Groups",
    "Partition",
    "Propensity",
    "Refutation",
    "TraceReader",
    "TrainingSplit",
    "ValidationWeights",
    "WordRule",
    "Words",
    "WorstGroup",
    "read_groups",
    "read_split",
    "refute",
    "spellings",
]
