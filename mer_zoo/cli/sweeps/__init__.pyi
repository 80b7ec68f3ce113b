# ruff: noqa: I001  # "as" marks what is exported; one import a module reads better than one a name
from .command import main as main, run_sweep as run_sweep
from .config import Sweep as Sweep, load_sweep as load_sweep

__all__: list[str]
