"""Two processes give the parameters and the metrics of one, on the same global batches and shards of unequal size."""

from __future__ import annotations

import pytest
from ddp_worker import CASES, EXCEPTIONS, LIGHTNINGS_SAMPLER, Results, gap, launch

TOLERANCE = 1e-6  # of a parameter; running sums are kept in single precision, whose last digits depend on the order


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Results]:
    """Every case on one process and on two."""
    folder = tmp_path_factory.mktemp("ddp")
    return launch(1, folder / "one"), launch(2, folder / "two")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in EXCEPTIONS])
def test_two_processes_match_one(trained: tuple[Results, Results], name: str) -> None:
    """Under plain DDP, which refuses parameters without gradient,
    unless the case takes several optimiser steps a batch.
    """
    one, two = (results[name] for results in trained)
    assert "error" not in one, one["error"]
    assert "error" not in two, two["error"]
    assert one["moved"] > 1e-3
    assert two["apart"] == 0
    assert one["state"].keys() == two["state"].keys()
    assert gap(one, two) < TOLERANCE
    assert one["metrics"].keys() == two["metrics"].keys() > {"train/loss", "train/task", "val/loss"}
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-5, abs=1e-5, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_are_needed(trained: tuple[Results, Results], name: str) -> None:
    """With what EXCEPTIONS names, the processes are apart; that they are not without it is for the test above."""
    one, two = (results[name] for results in trained)
    assert gap(one, two) > 10 * TOLERANCE
    assert two["apart"] == 0
    assert one["metrics"].keys() == two["metrics"].keys()
    assert f"{name} without" in trained[0]


@pytest.mark.slow
def test_test_splits_of_unequal_shards(trained: tuple[Results, Results]) -> None:
    one, two = (results[LIGHTNINGS_SAMPLER]["metrics"] for results in trained)
    tested = [name for name in one if name.startswith("test/")]
    assert {"test/loss", "test/ood/Acc3"} <= set(tested)
    assert [two[name] for name in tested] == pytest.approx([one[name] for name in tested], rel=1e-5, nan_ok=True)
