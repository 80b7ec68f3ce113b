"""Two processes give the parameters and the metrics of one, on the same global batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

WORKER = Path(__file__).parent / "ddp_worker.py"


def train(wrapper: str, devices: int, path: Path) -> dict[str, Any]:
    env = {**os.environ, "PYTHONPATH": str(WORKER.parent), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(WORKER), wrapper, str(devices), str(path)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = torch.load(path, weights_only=True)
    return result


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrapper",
    [
        *("none", "CausalMER", "MACI", "CLUE", "GEAR", "TwoStep", "MSSD", "MSSD one step"),
        *("CUMDF", "CUMDF without teacher", "CUMDF teacher", "SelfMM"),
        *("PropensityWeighting", "product"),
    ],
)
def test_two_processes_match_one(tmp_path: Path, wrapper: str) -> None:
    one, two = (train(wrapper, devices, tmp_path / f"{devices}.pt") for devices in (1, 2))
    assert one["state"].keys() == two["state"].keys()
    for name, value in one["state"].items():
        # Sums over shards round differently, and two epochs of momentum carry that on; training moves weights by ~0.1.
        gap = float((value.double() - two["state"][name].double()).abs().max())
        assert gap < 1e-4, f"{name} differs by {gap}"
    assert one["metrics"].keys() == two["metrics"].keys()
    for name, value in one["metrics"].items():
        assert value == pytest.approx(two["metrics"][name], abs=2e-4), name
