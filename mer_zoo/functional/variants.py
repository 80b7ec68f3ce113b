"""Which of two forms of a formula: where a paper and its authors' code differ, the library has both."""

from __future__ import annotations

from typing import Literal

__all__ = ["Variant"]

Variant = Literal["paper", "released"]
"""``paper`` is the printed equation, ``released`` the authors' code."""
