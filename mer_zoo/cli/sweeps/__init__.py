"""Sweeps: search spaces in the syntax of W&B, run offline with Optuna."""

from mer_zoo.cli.sweeps.command import main, run_sweep
from mer_zoo.cli.sweeps.config import Sweep, load_sweep

__all__ = ["Sweep", "load_sweep", "main", "run_sweep"]
