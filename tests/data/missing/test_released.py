"""Patterns against the released ones, which are given the same random draws."""

from collections.abc import Callable

import pytest
import torch
from pattern_toys import GOLDEN, check_golden, golden_batch, rows
from torch import Tensor

from mer_zoo.batch import MODALITIES, Batch
from mer_zoo.data.missing import frames as patterns
from mer_zoo.data.missing.frames import RMFM, STMFM, TMFM, TraditionalRMFM


def table(draws: list[Tensor]) -> Callable[[int, Tensor, Tensor], Tensor]:
    """Stands for ``uniform``: looks the draws (B, T) of each modality up by the counters that RMFM makes."""

    def look_up(key: int, index: Tensor, counter: Tensor) -> Tensor:
        return draws[int(counter[0, 0]) % 3].gather(1, counter // 3)

    return look_up


def split(draws: Tensor, batch: Batch) -> list[Tensor]:
    return list(torch.split(draws, [batch.modality(name).mask.shape[1] for name in MODALITIES], 1))


@pytest.mark.parametrize("aligned", [False, True])
def test_rmfm_against_the_released_draws(monkeypatch: pytest.MonkeyPatch, aligned: bool) -> None:
    batch, spec = golden_batch(aligned)
    case = "RMFM_aligned" if aligned else "RMFM"
    monkeypatch.setattr(patterns, "uniform", table(split(GOLDEN[f"out.{case}.draw"], batch)))
    check_golden(RMFM(0.4), batch, spec, case)


def test_traditional_rmfm_against_the_released_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, spec = golden_batch()
    monkeypatch.setattr(patterns, "uniform", table([GOLDEN[f"out.RMFM_same.draw_{name}"] for name in MODALITIES]))
    check_golden(TraditionalRMFM(0.2, 0.5, 0.8), batch, spec, "RMFM_same")


@pytest.mark.parametrize("sample", range(4))
def test_training_rmfm_against_the_released_draws(monkeypatch: pytest.MonkeyPatch, sample: int) -> None:
    batch, spec = golden_batch()
    case = f"RMFM_train.{sample}"
    rate = table(split(GOLDEN[f"out.{case}.draw_rate"], batch))
    draw = table(split(GOLDEN[f"out.{case}.draw"], batch))
    monkeypatch.setattr(patterns, "uniform", lambda key, *place: draw(key, *place) if key == 0 else rate(key, *place))
    check_golden(RMFM("per_position"), rows(batch, [sample]), spec, case)


def test_tmfm_against_the_released_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, spec = golden_batch(aligned=True)
    draws = GOLDEN["out.TMFM.draw"]
    monkeypatch.setattr(patterns, "uniform", lambda key, index, counter: draws.gather(1, counter))
    check_golden(TMFM(0.5), batch, spec, "TMFM")


def test_stmfm_against_the_released_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, spec = golden_batch(aligned=True)
    start, block = GOLDEN["out.STMFM.start"], GOLDEN["out.STMFM.block"]
    places = batch.text.lengths - 2 - block + 1
    # any draw inside the released start's share of [0, 1)
    monkeypatch.setattr(patterns, "uniform", lambda *_: ((start - 1 + 0.5) / places)[:, None])
    check_golden(STMFM(0.5), batch, spec, "STMFM")
