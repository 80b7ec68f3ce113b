"""Callbacks: the record that a run leaves, and what a LightningModule of your own gets without being rewritten."""

from mer_zoo.callbacks.calibration import SetCalibration
from mer_zoo.callbacks.condition_metrics import ConditionMetrics
from mer_zoo.callbacks.deconfounded_metrics import DeconfoundedMetrics
from mer_zoo.callbacks.gradient_balance import GradientBalance
from mer_zoo.callbacks.propensity_weights import PropensityWeights
from mer_zoo.callbacks.record import RunRecord
from mer_zoo.callbacks.save_config import SaveConfig

__all__ = [
    "ConditionMetrics",
    "DeconfoundedMetrics",
    "GradientBalance",
    "PropensityWeights",
    "RunRecord",
    "SaveConfig",
    "SetCalibration",
]
