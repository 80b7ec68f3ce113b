"""Joint representations of the samples that are tested, kept on request."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info

from mer_zoo.module import MERModule
from mer_zoo.reports.kept_features import check_room, save_features

__all__ = ["keep_features", "write_features"]


def keep_features(module: MERModule) -> None:
    """Let the test that begins keep joint representations.

    Args:
        module: What is tested.

    Raises:
        MERError: If there is no room for them.
    """
    data = module.datamodule
    counts = [] if data is None else [len(data.dataset(each.split, each.source)) for each in data.conditions]
    check_room(counts, module.model.feature_dim)
    module.kept.with_features = True


def write_features(folder: Path, module: MERModule, kept: Set[str]) -> None:
    """Write what a test has kept, and say how large it is.

    Args:
        folder: The run's folder.
        module: What was tested.
        kept: Names of conditions of an earlier test, whose representations stay.
    """
    module.kept.with_features = False
    path = save_features(folder, module.test_scores, kept)
    size = path.stat().st_size / 1e6
    rank_zero_info(f"joint representations: {path} ({size:.1f} MB, {module.model.feature_dim} numbers a sample)")
