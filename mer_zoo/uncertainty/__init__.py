"""Predictions that say how sure they are: calibrated on validation data, measured on each test condition."""

from mer_zoo.uncertainty.answers import Answers
from mer_zoo.uncertainty.assessment import ASSESSED, UNBOUNDED, Judged, assess, judge
from mer_zoo.uncertainty.calibration import Calibration, Uncertainty, calibrated, fit_calibration
from mer_zoo.uncertainty.thresholds import Thresholds

__all__ = ["ASSESSED", "UNBOUNDED", "Answers", "Calibration", "Judged", "Thresholds", "Uncertainty", "assess"]
__all__ += ["calibrated", "fit_calibration", "judge"]
