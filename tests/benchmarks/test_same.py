"""Networks and their plain transcriptions are compared in double precision, where a small mistake shows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.plain.same import assert_same, backward, in_double
from benchmarks.plain.zoo import CASES, Pair, Sizes, build, check, make_batch
from benchmarks.speed import cider_step
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.task import SentimentRegression

SMALL = {name: case._replace(sizes=Sizes((6, 5, 4), (5, 7, 9), 4)) for name, case in CASES.items()}
SMALL["IMDer"] = SMALL["IMDer"]._replace(sizes=Sizes((6, 5, 4), (18, 18, 18), 4))  # halved three times
SMALL["DiCMoR"] = SMALL["DiCMoR"]._replace(sizes=Sizes((6, 5, 4), (6, 6, 6), 4))  # flows lead from one to another
SMALL["MFM"] = SMALL["MFM"]._replace(sizes=Sizes((6, 5, 4), (6, 6, 6), 4))  # its transcription reads one time axis
SMALL = {
    name: case._replace(sizes=case.sizes._replace(size=16)) if case.padded else case for name, case in SMALL.items()
}


def pair_of(name: str) -> tuple[Pair, Batch, dict[str, float]]:
    case = SMALL[name]
    drop = case.dropouts["no dropout"]
    return build(case, drop), make_batch(case), drop


@pytest.mark.parametrize("name", SMALL)
def test_transcriptions_compute_the_same(name: str) -> None:
    check(*pair_of(name))


def test_a_mistake_that_single_precision_would_hide_is_found() -> None:
    pair, batch, drop = pair_of("MulT short")
    with torch.no_grad():
        next(pair.plain.parameters())[0] *= 1 + 2e-6
    with pytest.raises(AssertionError, match="not close"):
        check(pair, batch, drop)


@pytest.mark.parametrize("title", cider_step.DROPOUTS)
def test_cider_is_compared_at_any_size(title: str) -> None:
    lengths = (3, 5, 6)
    ours, plain, names = cider_step.build(lengths, cider_step.DROPOUTS[title])
    cider_step.check(ours, plain, names, cider_step.make_batch(lengths, 4))


def test_networks_have_their_bits_back_afterwards() -> None:
    net = nn.BatchNorm1d(2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    batch = Batch.random(DataSpec(), SentimentRegression(), size=2)
    with in_double(batch, net) as given:
        kinds = {name: value.dtype for name, value in net.state_dict().items()}
        assert {kinds["weight"], kinds["running_mean"], given.audio.x.dtype} == {torch.float64}
        assert {kinds["num_batches_tracked"], given.index.dtype} == {torch.int64}
        backward({"sum": net.weight.sum()})
    assert net.weight.grad is None
    for name, value in net.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    assert_same(torch.ones(2), torch.ones(2) + 1e-8)
