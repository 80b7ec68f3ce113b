"""How sure a tested model is: its calibration at a level, and what that is worth under each condition."""

from __future__ import annotations

from typing import Any

from mer_zoo.module import MERModule
from mer_zoo.uncertainty import Thresholds, assess

__all__ = ["calibration_of", "with_uncertainty"]

_NOT_FITTED = "nothing was fitted on validation data for these weights; train again, or take the best checkpoint"


def calibration_of(module: MERModule, level: float) -> tuple[Thresholds | None, dict[str, Any]]:
    """A module's calibration at a level, and what results.json says of it.

    Args:
        module: The module.
        level: Share of samples that conformal sets and intervals are to cover.

    Returns:
        None, and why, where there is none.

    Raises:
        MERError: For a level that the validation data can't promise.
    """
    known = module.model.uncertainty
    if known is None:
        return None, {"refused": _NOT_FITTED}
    found = Thresholds.of(known, level)
    return found, {"refused": known.refused} if found is None else found.plain()


def with_uncertainty(module: MERModule, thresholds: Thresholds) -> dict[str, Any]:
    """What a module found under each condition, and how sure it was there.

    Args:
        module: The module, which has just tested.
        thresholds: Its calibration.
    """
    task, level = module.model.task, {"level": thresholds.level}
    return {
        name: {**found, "uncertainty": {**level, **assess(task, module.test_scores[name], thresholds)}}
        for name, found in module.results.items()
    }
