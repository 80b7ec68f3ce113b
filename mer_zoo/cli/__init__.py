"""The command line ``mer-zoo``."""

from mer_zoo.cli.command import main

__all__ = ["main"]
