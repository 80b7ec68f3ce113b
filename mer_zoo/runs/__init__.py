"""What a run leaves behind: its folder, its curve, where it came from."""

from mer_zoo.runs.files import whole_file
from mer_zoo.runs.folder import newest_run, run_folder

__all__ = ["newest_run", "run_folder", "whole_file"]
