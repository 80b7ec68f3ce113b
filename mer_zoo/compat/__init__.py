"""Checkpoints of the released codes."""

from mer_zoo.compat.files import load_released_file, read_state_dict
from mer_zoo.compat.keymap import KeyMap
from mer_zoo.compat.released import SOURCES, LoadReport, load_released

__all__ = ["SOURCES", "KeyMap", "LoadReport", "load_released", "load_released_file", "read_state_dict"]
