"""CUMDFNet: its stages against a transcription, padding anywhere, modalities, ablations, precisions."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mer_zoo.backbones import CUMDFNet
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.layers.positions import interleaved_table
from mer_zoo.layers.sequence import masked_resample
from mer_zoo.task import SentimentClassification, SentimentRegression

SPEC = DataSpec()
ALIGNED = DataSpec(text_len=6, audio_len=6, vision_len=6, aligned=True)
SEVEN = SentimentClassification(7)


def build(spec: DataSpec = SPEC, **options: Any) -> CUMDFNet:
    torch.manual_seed(0)
    return CUMDFNet(spec, SEVEN, **{"dim": 8, "heads": 2, **options}).eval()


FORMS: list[tuple[Any, Any]] = [("attention", "tanh"), ("attention", "tan"), ("mamba", "tanh")]


@pytest.mark.parametrize(("common", "squash"), FORMS)
def test_the_network_is_the_manuscripts(common: Any, squash: Any) -> None:
    """Eqs. 1-4 and the pooled head for one sample at a time, without padding; LG-MMT and Mamba have their own tests."""
    net, batch = build(common=common, squash=squash), Batch.random(SPEC, SEVEN, size=4)
    output, table = net(batch), interleaved_table(6, 8)
    for i in range(4):
        length = int(batch.text.lengths[i])
        real = torch.ones(1, length, dtype=torch.bool)
        embedded = {}
        for name in MODALITIES:
            modality = batch.modality(name)
            steps = modality.x[i, modality.mask[i]][None]
            pooled = masked_resample(steps, torch.ones(steps.shape[:2], dtype=torch.bool), real)
            weight = net.project[name].weight
            embedded[name] = F.conv1d(pooled.transpose(1, 2), weight, padding=1).transpose(1, 2)[0] + table[:length]  # type: ignore[arg-type]
        for name, x in embedded.items():
            assert net.extract is not None
            specific = net.extract.specific[name](x[None])[0]
            parts = [specific]
            for other, y in embedded.items():
                if other != name:
                    bounded = {"tanh": torch.tanh, "tan": torch.tan}[squash](x @ y.T)
                    r = torch.softmax(bounded, 1) @ y
                    if common == "mamba":
                        r = net.extract.mamba[f"{name}_{other}"](x[None], y[None], real)[0]
                    parts += [r, r * x]
            expected = net.extract.join[name](torch.cat(parts, 1))
            assert output.hidden is not None
            torch.testing.assert_close(output.hidden[name][i, :length], expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(output.logits, net.head(output.features))


def padded(batch: Batch, front: int, behind: int, fill: float) -> Batch:
    """More padding, with anything in it."""

    def wide(modality: Modality) -> Modality:
        x = F.pad(modality.x, (0, 0, front, behind))
        mask = F.pad(modality.mask, (front, behind))
        return Modality(torch.where(mask[..., None], x, fill), mask)

    return batch.replace(**{name: wide(batch.modality(name)) for name in MODALITIES})


@pytest.mark.parametrize("spec", [SPEC, ALIGNED], ids=["unaligned", "aligned"])
@pytest.mark.parametrize(("front", "behind"), [(0, 3), (4, 0), (2, 5)])
@pytest.mark.parametrize("common", ["attention", "mamba"])
def test_padding_anywhere_changes_nothing(spec: DataSpec, front: int, behind: int, common: Any) -> None:
    net, batch = build(spec, common=common), Batch.random(spec, SEVEN, size=5)
    plain, wide = net(batch), net(padded(batch, front, behind, fill=9.0))
    torch.testing.assert_close(wide.logits, plain.logits, atol=1e-5, rtol=1e-5)
    assert plain.hidden is not None
    assert wide.hidden is not None
    steps = plain.hidden["audio"].shape[1]
    moved = wide.hidden["audio"][:, front : front + steps]
    torch.testing.assert_close(moved, plain.hidden["audio"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("names", [["text", "audio"], ["audio", "vision"], ["text", "vision"]])
def test_two_modalities_make_one_pair(names: list[str]) -> None:
    spec = DataSpec(modalities=names)
    net, batch = build(spec), Batch.random(spec, SEVEN, size=3)
    assert net.feature_dim == 8
    assert net(batch).logits.shape == (3, 7)
    assert net.hidden_shape == dict.fromkeys(names, (spec.length(names[0]), 8))


def test_one_modality_is_refused() -> None:
    with pytest.raises(MERError, match="CUMDFNet joins pairs of modalities, but the data is used with text only"):
        build(DataSpec(modalities=["text"]))


def test_bad_options() -> None:
    with pytest.raises(MERError, match="3 heads do not divide a width of 8"):
        build(heads=3)
    with pytest.raises(MERError, match=r"kernels of CUMDFNet is \[3, 0, 3\]"):
        build(kernels=(3, 0, 3))
    with pytest.raises(MERError, match="unknown common 'lstm' of CUMDFNet; choose from attention, mamba"):
        build(common="lstm")
    with pytest.raises(MERError, match="unknown squash 'sin' of CUMDFNet; choose from tanh, tan"):
        build(squash="sin")


def test_ablations() -> None:
    batch = Batch.random(SPEC, SEVEN, size=3)
    plain, without_mke, without_lgmmt = build(), build(extractors=False), build(guided=False)
    assert without_mke.extract is None
    assert without_mke(batch).logits.shape == without_lgmmt(batch).logits.shape == (3, 7)
    sizes = [sum(p.numel() for p in net.parameters()) for net in (plain, without_mke, without_lgmmt)]
    assert max(sizes[1:]) < sizes[0]
    assert without_lgmmt.feature_dim == 24


def test_each_modality_has_a_mamba_block_for_each_other() -> None:
    net = build(common="mamba")
    assert net.extract is not None
    assert sorted(net.extract.mamba) == sorted(f"{a}_{b}" for a in MODALITIES for b in MODALITIES if a != b)
    net.train()(Batch.random(SPEC, SEVEN, size=6)).logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.extract.mamba.parameters())
    plain = build()
    assert plain.extract is not None
    assert not list(plain.extract.mamba.parameters())


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("common", ["attention", "mamba"])
def test_bfloat16_stays_close(size: int, common: Any) -> None:
    net, batch = build(common=common), Batch.random(SPEC, SEVEN, size=size)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(batch).logits
    torch.testing.assert_close(half.float(), net(batch).logits, atol=0.05, rtol=0.05)


def test_no_label_is_read() -> None:
    net, batch = build(), Batch.random(SPEC, SEVEN, size=3)
    changed = batch.replace(target=torch.full_like(batch.target, torch.nan))
    assert torch.equal(net(batch).logits, net(changed).logits)


def test_regression_has_one_score_and_seven_labels() -> None:
    net = CUMDFNet(SPEC, SentimentRegression(), dim=8)
    assert net(Batch.random(SPEC, net.task, size=2)).logits.shape == (2, 1)
    assert net.fusion.guidance.table.shape == (7, 8)
