from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mer_zoo.backbones.pmr.network import PMR, Messages
from mer_zoo.backbones.pmr.reinforcement import ReinforcementUnit
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.layers.attention import Visibility
from mer_zoo.layers.positions import embed_positions
from mer_zoo.layers.sequence import masked_first, masked_last
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 2}
OPTIONS: list[dict[str, Any]] = [
    {"unit": "r1"},
    {"gate": "cross"},
    {"residual": "none"},
    {"scoring": "mean"},
    {"scoring": "full"},
    {"sharing": "layers"},
    {"sharing": "all"},
    {"causal": True},
    {"pool": "first"},
    {"pool": "mean"},
    {"interaction_layers": 2},
]


def make(spec: DataSpec | None = None, **options: Any) -> PMR:
    torch.manual_seed(0)
    return PMR(spec or DataSpec(), TASK, **{**SMALL, **options})


def widen(batch: Batch, front: int, behind: int) -> Batch:
    def pad(modality: Modality) -> Modality:
        x = F.pad(torch.where(modality.mask[..., None], modality.x, 7.0), (0, 0, front, behind), value=7.0)
        return Modality(x, F.pad(modality.mask, (front, behind)))

    return batch.replace(**{name: pad(batch.modality(name)) for name in MODALITIES})


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_options_train_and_hide_padding(option: dict[str, Any]) -> None:
    model, batch = make(**option), Batch.random(DataSpec(), TASK, size=4)
    torch.autograd.backward(model(batch).logits.square().sum())
    dead = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []
    assert model.fixed_length == (option.get("scoring") == "full")
    if not model.fixed_length:
        model.eval()
        torch.testing.assert_close(model(widen(batch, 2, 3)).logits, model(batch).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_each_option_changes_the_scores(option: dict[str, Any]) -> None:
    batch = Batch.random(DataSpec(), TASK, size=4)
    torch.manual_seed(0)
    assert not torch.allclose(make().eval()(batch).logits, make(**option).eval()(batch).logits)


def test_sharing_is_what_it_says() -> None:
    def count(sharing: str) -> int:
        return sum(isinstance(part, ReinforcementUnit) for part in make(sharing=sharing).modules())

    assert [count(sharing) for sharing in ("none", "layers", "all")] == [2 * 6, 6, 1]


@pytest.mark.parametrize("modalities", [MODALITIES, ("text", "audio"), ("vision",)])
def test_what_the_layers_pass_around(modalities: tuple[str, ...]) -> None:
    spec = DataSpec(modalities=modalities)
    model, batch = make(spec).eval(), Batch.random(spec, TASK, size=3)
    output = model(batch)
    length, n = sum(spec.length(name) for name in modalities), len(modalities)
    assert isinstance(output.aux, Messages)
    assert output.aux.hub.shape == (3, length, 8)
    assert output.aux.weights.shape == (3, 2, n)
    torch.testing.assert_close(output.aux.weights.sum(2), torch.ones(3, 2))
    for name in modalities:
        gate = output.aux.gates[name]
        assert gate.shape == (3, spec.length(name), 8)
        assert gate.min() > 0
        assert gate.max() < 1
    assert output.hidden is not None
    assert list(output.hidden) == list(modalities)


def test_a_modality_of_which_nothing_is_real_gets_no_weight() -> None:
    batch = Batch.random(DataSpec(), TASK, size=3)
    mask = batch.audio.mask.clone()
    mask[1] = False
    output = make().eval()(batch.replace(audio=Modality(batch.audio.x * mask[..., None], mask)))
    assert isinstance(output.aux, Messages)
    assert (output.aux.weights[:, 0] > 0).tolist() == [[True] * 3, [True, True, False], [True] * 3]


def test_refusals() -> None:
    for option in ("unit", "gate", "residual", "scoring", "sharing", "pool"):
        with pytest.raises(MERError, match=f"unknown {option} 'x' of PMR; choose from"):
            PMR(DataSpec(), TASK, **{**SMALL, option: "x"})
    with pytest.raises(MERError, match="dim is 2, but positions need a width of at least 4"):
        make(dim=2)
    with pytest.raises(MERError, match="depth of PMR is 0, but must be at least 1"):
        make(depth=0)
    with pytest.raises(MERError, match="the smallest kernel of PMR is 0"):
        make(kernels=(3, 0, 3))
    with pytest.raises(
        MERError, match=r"scoring: full of PMR would need .* weights at these lengths; choose pooled or mean"
    ):
        make(DataSpec(audio_len=375, vision_len=500), dim=40, scoring="full")
    with pytest.raises(MERError, match="PMR was built for 7 steps of vision, but the batch has 5; pad batches"):
        make(scoring="full")(Batch.random(DataSpec(vision_len=5), TASK))


def test_layers_are_the_equations() -> None:
    """Modalities read the hub of the layer before; the hub is updated by what they have become."""
    spec = DataSpec()
    model = make(spec).eval()
    x = {name: torch.randn(3, spec.length(name), spec.dim(name)) for name in MODALITIES}
    whole = {name: Modality(x[name], torch.ones(x[name].shape[:2], dtype=torch.bool)) for name in MODALITIES}
    output = model(Batch.random(spec, TASK, size=3).replace(**whole))
    z = {name: embed_positions(model.project[name](x[name])) for name in ("text", "vision", "audio")}
    hub, full, real = torch.cat(list(z.values()), 1), Visibility(), torch.ones(3, 3, dtype=torch.bool)
    for i in range(2):
        z = {name: model.units[f"to_{name}_{i}"](x, hub, full, full)[0] for name, x in z.items()}
        written = {name: model.units[f"from_{name}_{i}"](hub, x, full, full)[0] for name, x in z.items()}
        hub, alpha = model.updates[i](written, real)
        torch.testing.assert_close(output.aux.weights[:, i], alpha)
    torch.testing.assert_close(output.aux.hub, hub)
    assert output.hidden is not None
    for name in z:
        torch.testing.assert_close(output.hidden[name], z[name])


@pytest.mark.parametrize("pool", ["last", "first"])
def test_the_step_that_is_read_is_that_of_the_whole_encoding(pool: str) -> None:
    model, batch = make(pool=pool).eval(), Batch.random(DataSpec(), TASK, size=3)
    output = model(batch)
    assert output.hidden is not None
    order = ("text", "vision", "audio")
    joint = torch.cat([output.aux.hub, *(output.hidden[name] for name in order)], 1)
    mask = torch.cat([batch.modality(name).mask for name in order] * 2, 1)
    read = {"last": masked_last, "first": masked_first}[pool](model.interaction(joint, mask=mask), mask)
    expected = read + model.joint.fc2(torch.relu(model.joint.fc1(read)))
    torch.testing.assert_close(output.features, expected, atol=1e-5, rtol=1e-4)
