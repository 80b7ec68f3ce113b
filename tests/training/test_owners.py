"""Whose parameters they are: the shares that networks of the zoo have, and what a graph hides."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import TINY_BERT

import mer_zoo.backbones
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.functional.ownership import reached
from mer_zoo.model import adapt
from mer_zoo.task import SentimentClassification
from mer_zoo.training.compilation import compile_networks
from mer_zoo.training.owners import FUSION, UNUSED, owners, shares_of

SPEC, TASK = DataSpec(), SentimentClassification(3)
SHARES = {  # percent of text, audio and vision at the default sizes
    "LFDNN": (58, 2, 27),
    "LFLSTM": (28, 27, 27),
    "LMF": (68, 2, 30),
    "CubeMLP": (0, 46, 46),
    "LNLN": (19, 11, 11),
    "DLF": (17, 11, 11),
    "CUMDFNet": (14, 14, 14),
    "SelfMM": (0, 5, 17),
    "DMD": (4, 4, 4),
    "EMTDLFR": (0, 1, 3),
    "MISA": (2, 2, 2),
    "PMR": (1, 1, 1),
    "CIDerNet": (6, 0, 0),
    "MAGBERT": (0, 0, 0),
    "MPLMM": (0, 0, 0),
    "TFN": (1, 0, 0),
    "MulT": (0, 0, 0),
    "EFLSTM": (0, 0, 0),
    "MFN": (0, 0, 0),
}


@pytest.mark.parametrize("name", SHARES)
def test_shares_of_the_zoo(name: str) -> None:
    model = getattr(mer_zoo.backbones, name)(SPEC, TASK)
    state, modes = torch.get_rng_state(), [part.training for part in model.modules()]
    shares = shares_of(model, owners(model))
    assert [100 * shares[modality] for modality in SPEC.modalities] == pytest.approx(SHARES[name], abs=1)
    assert sum(shares.values()) == pytest.approx(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert [part.training for part in model.modules()] == modes


class Net(nn.Module):
    """Functional weights, a shared encoder, a weight used twice and one that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.packed = nn.Parameter(torch.randn(3, 4, 6))  # one piece a modality: the tensor is all of theirs
        self.own = nn.Parameter(torch.randn(5, 4))
        self.shared = nn.Linear(4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.unused = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, text: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        t = torch.cat([(self.token * self.scale).expand(len(text), -1, -1), text @ self.packed[0].T], 1).mean(1)
        a = self.frozen(self.shared((audio @ self.own).mean(1)))
        found: Tensor = torch.cat([t, a, self.shared(vision.mean(1))], 1) + self.unused(t).detach().mean()
        return found


def test_weights_that_hooks_of_modules_would_miss() -> None:
    model = adapt(Net(), SPEC, TASK, feature_dim=12)
    assert owners(model) == {
        "module.packed": "text",
        "module.own": "audio",
        "module.token": "text",
        "module.scale": "text",
        "module.shared.weight": FUSION,
        "module.shared.bias": FUSION,
        "module.unused.weight": UNUSED,
        "module.unused.bias": UNUSED,
        "head.weight": FUSION,
        "head.bias": FUSION,
    }


@pytest.mark.parametrize("encoder", [None, {"config": TINY_BERT}, {"config": TINY_BERT, "frozen": True}])
def test_what_encodes_the_text_is_the_texts(encoder: Any) -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    model = mer_zoo.backbones.LFLSTM(spec, TASK, text_encoder=encoder, dim=4)
    found = owners(model)
    encoding = {name: owner for name, owner in found.items() if name.startswith("text_e")}
    assert set(encoding.values()) == (set() if encoder and "frozen" in encoder else {"text"})
    assert found["lstms.text.weight_ih_l0"] == "text"
    assert found["linear.weight"] == FUSION
    assert "encode_text" not in vars(model)


def test_layers_of_an_encoder_behind_a_gate_are_the_fusions() -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    found = owners(mer_zoo.backbones.MAGBERT(spec, TASK, text_encoder={"config": TINY_BERT}))
    whose = {owner: [name for name in found if found[name] == owner] for owner in ("text", FUSION)}
    assert any("embeddings" in name for name in whose["text"])
    assert any("text_encoder.model.encoder" in name for name in whose[FUSION])


def test_of_compiled_networks_and_of_one_modality() -> None:
    model = mer_zoo.backbones.LFLSTM(DataSpec(modalities=["audio"]), TASK, dim=4)
    expected = owners(model)
    assert set(expected.values()) == {"audio"}
    compile_networks(model, "eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert owners(model) == expected
    assert model._compiled_call_impl is not None


def test_given_samples_and_deep_graphs() -> None:
    model = mer_zoo.backbones.LFLSTM(SPEC, TASK, dim=4)
    assert owners(model, Batch.random(SPEC, TASK, size=1)) == owners(model)
    x, w = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    y = x * 1
    for _ in range(3000):
        y = y + 1
    assert reached(y * w, {"x": [x]}, {"w": w}) == {"w": {"x"}}
    assert reached(torch.ones(1), {"x": [x]}, {"w": w}) == {"w": set()}
