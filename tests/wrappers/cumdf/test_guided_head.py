"""What CUMDF puts behind a network: the common axis, widths, networks with an LG-MMT of their own, refusals."""

import pytest
import torch
from toys import MeanNet

from mer_zoo.backbones import EFLSTM, LFLSTM, CIDerNet, CUMDFNet, MulT
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.layers.sequence import masked_resample
from mer_zoo.model import Backbone
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers.cumdf.guided_head import GuidedHead

SPEC = DataSpec()
THREE = SentimentClassification(3)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_sequences_are_pooled_to_the_steps_of_the_text() -> None:
    net, batch = LFLSTM(SPEC, THREE, dim=8).eval(), Batch.random(SPEC, THREE, size=4)
    output = net(batch)
    found = GuidedHead(net).eval()(net, output, batch)
    assert output.hidden is not None
    assert torch.equal(found.mask, batch.text.mask)
    pooled = masked_resample(output.hidden["vision"], batch.vision.mask, batch.text.mask)
    assert torch.equal(found.x["vision"], pooled)
    assert torch.equal(found.x["text"], output.hidden["text"])


@pytest.mark.parametrize("net", [EFLSTM, CIDerNet, CUMDFNet])
def test_sequences_on_the_steps_of_the_text_stay(net: type[Backbone]) -> None:
    model, batch = net(SPEC, THREE).eval(), Batch.random(SPEC, THREE, size=4)
    output = model(batch)
    found = GuidedHead(model).eval()(model, output, batch)
    assert output.hidden is not None
    for name, x in found.x.items():
        assert torch.equal(x[found.mask], output.hidden[name][found.mask])


def test_another_width_is_projected_without_waking_padding() -> None:
    net, batch = LFLSTM(SPEC, THREE, dim=8), Batch.random(SPEC, THREE, size=4)
    found = GuidedHead(net, dim=12)(net, net(batch), batch)
    assert {x.shape[2] for x in found.x.values()} == {12}
    assert not found.x["audio"][~found.mask].any()
    assert found.h.shape == (4, 36)
    assert found.features.shape == (4, 44)


def test_a_network_with_an_lgmmt_keeps_it() -> None:
    net, batch = CUMDFNet(SPEC, THREE, dim=8).eval(), Batch.random(SPEC, THREE, size=4)
    head = GuidedHead(net).eval()
    output = net(batch)
    found = head(net, output, batch)
    assert {name.split(".")[0] for name, _ in head.named_parameters()} == {"head"}
    assert found.context is None
    assert torch.equal(found.h, output.features)
    assert torch.allclose(head.join(net, found.x, found.mask, None), output.features)
    told = head(net, output, batch, batch.target)
    assert not torch.allclose(told.h, found.h)
    assert [len(weights) for weights in head.penalised(net)] == [3, 3, 3]


def test_rescoring_the_same_is_the_same() -> None:
    net, batch = LFLSTM(SPEC, THREE, dim=8).eval(), Batch.random(SPEC, THREE, size=4)
    head = GuidedHead(net).eval()
    found = head(net, net(batch), batch)
    features, logits = head.rescore(net, found.mask, found.x, found.context)
    torch.testing.assert_close(features, found.features)
    torch.testing.assert_close(logits, found.logits)


def test_aligned_data_is_not_pooled() -> None:
    spec = DataSpec(text_len=6, audio_len=6, vision_len=6, aligned=True)
    net, batch = MulT(spec, THREE, dim=8, heads=2, depth=1).eval(), Batch.random(spec, THREE, size=4)
    output = net(batch)
    found = GuidedHead(net)(net, output, batch)
    assert output.hidden is not None
    assert torch.equal(found.x["audio"], output.hidden["audio"])
    assert torch.equal(found.mask, batch.text.mask | batch.audio.mask | batch.vision.mask)


def test_networks_that_do_not_fit() -> None:
    with pytest.raises(MERError, match="at least two modalities meet, but MeanNet offers none"):
        GuidedHead(MeanNet(SPEC, THREE))
    with pytest.raises(MERError, match="but MulT offers those of text only"):
        GuidedHead(MulT(SPEC, THREE, targets=["text"]))
    with pytest.raises(MERError, match="but LFLSTM offers those of text only"):
        GuidedHead(LFLSTM(DataSpec(modalities=["text"]), THREE))
    with pytest.raises(MERError, match="the hidden text of MulT has 4 steps where the data has 6"):
        GuidedHead(MulT(SPEC, THREE, kernels=(3, 1, 1), mask_padding=False))
    with pytest.raises(MERError, match="heads of CUMDF is for networks without an LG-MMT, but CUMDFNet has one"):
        GuidedHead(CUMDFNet(SPEC, THREE), heads=2)
