"""Sweeps: search spaces in the syntax of W&B, run offline with Optuna."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
