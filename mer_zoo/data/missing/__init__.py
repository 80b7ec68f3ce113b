"""What is missing: patterns, the conditions that a model is tested under, and incomplete views for training."""

from mer_zoo.data.missing.conditions import Condition, build_conditions
from mer_zoo.data.missing.frames import MRMS, RMFM, STMFM, TMFM, TraditionalRMFM
from mer_zoo.data.missing.noise import UnevenRMFM
from mer_zoo.data.missing.pattern import AVAILABILITY, RMM, SMM, MissingPattern, derive_key
from mer_zoo.data.missing.sets import AtLeastOne, RandomSMM

__all__ = [
    "AVAILABILITY",
    "MRMS",
    "RMFM",
    "RMM",
    "SMM",
    "STMFM",
    "TMFM",
    "AtLeastOne",
    "Condition",
    "MissingPattern",
    "RandomSMM",
    "TraditionalRMFM",
    "UnevenRMFM",
    "build_conditions",
    "derive_key",
]
