"""The work of a step is what one works out by hand from its shapes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.rows import add_rows
from benchmarks.speed import roofline
from benchmarks.speed.counting import OURS, Work, count_step, counted
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.reports.measured import Measured, read_measured
from mer_zoo.task import SentimentRegression

BATCH = Batch.random(DataSpec(6, 2, 2, 5, 5, 5), SentimentRegression(), 3)
GIVEN = 4 * 3 * 5 * (6 + 2 + 2)  # bytes


def work(model: nn.Module) -> Work:
    def step(batch: Batch) -> None:
        out = model(batch.text.x)
        torch.autograd.backward((out[0] if isinstance(out, tuple) else out).sum())

    return count_step(model, step, BATCH)


def test_a_linear_layer() -> None:
    product = 2 * (3 * 5) * 6 * 4
    kept = 4 * 3 * 5 * 6  # its input, for the gradient of the weight
    parameters = 4 * (4 * 6 + 4)
    assert work(nn.Linear(6, 4)) == Work(2 * product, 0, GIVEN + 10 * parameters + 2 * kept)


def test_what_is_kept_and_exponentials() -> None:
    done = work(nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Softmax(-1)))
    states = 4 * 3 * 5 * 4
    assert done.exps == 2 * 3 * 5 * 4
    assert done.bytes - work(nn.Linear(6, 4)).bytes == 2 * 2 * states


@pytest.mark.parametrize("queries", [5, 7])
@pytest.mark.parametrize("padded", [False, True])
def test_fused_attention(queries: int, padded: bool) -> None:
    q, k = torch.randn(2, 3, queries, 4, requires_grad=True), torch.randn(2, 3, 5, 4, requires_grad=True)
    room = (0, 12 if padded else 0)
    causal = queries == 5
    with counted() as counter:
        wide, keys = F.pad(q, room), F.pad(k, room)
        mixed = F.scaled_dot_product_attention(wide, keys, keys, is_causal=causal, scale=4**-0.5)[..., :4]
        scores = 2 * 3 * (5 * 6 // 2 if causal else queries * 5)
        assert (counter.flops, counter.exps) == (2 * 2 * 4 * scores, scores)
        torch.autograd.backward(mixed.sum())
    assert (counter.flops, counter.exps) == ((2 + 5) * 2 * 4 * scores, 2 * scores)


def test_an_lstm() -> None:
    done = work(nn.LSTM(6, 4, batch_first=True))
    assert done.flops == 3 * 2 * (3 * 5) * (4 * 4) * (6 + 4)
    assert done.exps == 5 * (3 * 5) * 4


def test_without_our_formulas_an_lstm_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OURS, torch.ops.aten.mkldnn_rnn_layer)
    monkeypatch.delitem(OURS, torch.ops.aten.mkldnn_rnn_layer_backward)
    assert work(nn.LSTM(6, 4, batch_first=True)).flops == 0


def test_shares_are_of_the_time_that_each_kind_takes() -> None:
    assert roofline.shares(Work(50, 10, 40), 2.0, [100.0, 10.0, 20.0]) == [25.0, 50.0, 100.0]


def test_a_network_is_measured_and_its_row_takes_the_place_of_the_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "roofline_cpu.csv"
    add_rows(path, [Measured(roofline.TITLE, name, "", "GFLOP", "7") for name in ("LFDNN", "MulT")])
    threads = torch.get_num_threads()
    roofline.main(["--only", "LFDNN", "--repeats", "1", "--csv", str(path), "--commit", "abc"])
    torch.set_num_threads(threads)
    found = {(figure.model, figure.metric): figure.value for figure in read_measured(path)}
    assert found["MulT", "GFLOP"] == "7"
    assert float(found["LFDNN", "GFLOP"]) == pytest.approx(2.21, abs=0.01)
    assert 0 < float(found["LFDNN", roofline.SHARES[0]]) < 200
    assert "LFDNN" in capsys.readouterr().out
