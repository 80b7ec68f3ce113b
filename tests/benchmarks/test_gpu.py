"""What the script for a GPU does that needs none, at a tiny size on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.speed import gpu
from benchmarks.speed.gpu import Kind, covered, padded
from mer_zoo.batch import Batch
from mer_zoo.errors import MERError
from mer_zoo.reports.measured import read_measured
from mer_zoo.task import SentimentRegression

BATCH = Batch.random(gpu.TINY.spec, SentimentRegression(), 3)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(gpu, "KINDS", [Kind(torch.float32, False), Kind(torch.bfloat16, False)])
    monkeypatch.setattr(gpu, "SLOWEST", ("LFLSTM",))
    monkeypatch.setattr(gpu, "CHECKED", ("MulT", "LFLSTM"))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_go_on_the_cpu_writes_every_row(tmp_path: Path) -> None:
    path = tmp_path / "speed_toy.csv"
    gpu.main(["--device", "cpu", "--tiny", "--csv", str(path), "--commit", "abc"])
    found = {(figure.benchmark, figure.model, figure.condition, figure.metric) for figure in read_measured(path)}
    for kind in ("fp32", "bf16"):
        assert (gpu.EPOCH, "MulT", kind, "s an epoch") in found
        assert (gpu.EVALUATION, "LFLSTM", kind, "samples a second") in found
    assert ("checks", "MulT", "", "padding") in found
    assert (gpu.RATES, "bytes copied, float32", "", "G a second") in found


def test_nothing_is_begun_when_the_time_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    bench = gpu.Bench(torch.device("cpu"), gpu.TINY, None, "", minutes=0)
    gpu.epochs(bench)
    gpu.evaluation(bench)
    assert capsys.readouterr().out.count("left out, the time is over") == 2


def test_a_difference_between_devices_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([0.0, 0.0, 1.0])

    def answer(model: object, batch: Batch) -> dict[str, torch.Tensor]:
        del model
        return {"scores": torch.ones(len(batch)) + next(answers)}

    monkeypatch.setattr(gpu, "answer", answer)
    with pytest.raises(MERError, match="padding of MulT differ by 1.0e"):
        gpu.check(gpu.Bench(torch.device("cpu"), gpu.TINY, None, "", minutes=1))


def test_padding_is_longer_and_full_of_numbers() -> None:
    more = padded(BATCH)
    assert more.audio.x.shape[1] == BATCH.audio.x.shape[1] + 3
    assert not more.audio.mask[:, -3:].any()
    assert bool((more.audio.x[:, -3:] != 0).all())


def test_the_time_of_kernels_that_overlap_counts_once() -> None:
    assert covered(iter([(3.0, 4.0), (0.0, 2.0), (1.0, 2.5), (1.5, 1.6)])) == 3.5
    assert covered([]) == 0.0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_without_a_gpu_one_sentence_says_so() -> None:
    with pytest.raises(MERError, match="there is no CUDA device here; run it where there is one, or try it with"):
        gpu.main([])
