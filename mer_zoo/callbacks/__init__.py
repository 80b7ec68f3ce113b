"""Callbacks: the record that a run leaves."""

from mer_zoo.callbacks.record import RunRecord
from mer_zoo.callbacks.save_config import SaveConfig

__all__ = ["RunRecord", "SaveConfig"]
