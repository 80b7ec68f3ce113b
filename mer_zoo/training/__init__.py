"""How models are trained: parameter groups, schedules, compilation, guards, resuming, checkpoints."""

from mer_zoo.training.param_groups import group_parameters
from mer_zoo.training.resume import LastCheckpoint
from mer_zoo.training.schedules import WarmupCosine
from mer_zoo.training.scoring import score

__all__ = ["LastCheckpoint", "WarmupCosine", "group_parameters", "score"]
