"""Predictions that say how sure they are: calibrated on validation data, measured on each test condition."""

from mer_zoo.uncertainty.answers import Answers
from mer_zoo.uncertainty.assess import ASSESSED, UNBOUNDED, assess, judge
from mer_zoo.uncertainty.calibration import Calibration, Uncertainty, calibrated, fit_calibration
from mer_zoo.uncertainty.thresholds import Thresholds

__all__ = ["ASSESSED", "UNBOUNDED", "Answers", "Calibration", "Thresholds", "Uncertainty", "assess", "calibrated"]
__all__ += ["fit_calibration", "judge"]
