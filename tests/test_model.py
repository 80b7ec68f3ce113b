from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from toys import MeanNet, Shifting, TwoStep
from typing_extensions import override

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model, Wrapper, adapt
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.task import SentimentClassification, SentimentRegression
from mer_zoo.wrappers import CUMDF, MSSD, CausalMER

TASK = SentimentClassification(3)
TOKENS = DataSpec(tokens=True, vocab_size=210)


class Sum(nn.Module):
    """A user's network: knows nothing of the zoo."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(15, 7)

    def forward(self, text: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        out: Tensor = self.layer(torch.cat([text.sum(1), audio.sum(1), vision.sum(1)], 1))
        return out


def test_adapt_takes_wrappers_and_trains() -> None:
    batch = Batch.random(DataSpec(), TASK, size=4)
    model = CausalMER(adapt(Sum(), DataSpec(), TASK, feature_dim=7))
    assert model.name == "CausalMER(Sum)"
    assert model.predict(batch).logits.shape == (4, 3)
    assert model.fixed_length


def test_adapt_call_hands_over_masks_and_accepts_an_output() -> None:
    def masked(module: nn.Module, text: Modality, audio: Modality, vision: Modality) -> Tensor:
        features: Tensor = module(*(m.x * m.mask[..., None] for m in (text, audio, vision)))
        return features

    def complete(module: nn.Module, text: Modality, audio: Modality, vision: Modality) -> Output:
        features = masked(module, text, audio, vision)
        return Output(features[:, :3], features)

    batch = Batch.random(DataSpec(), TASK, size=2)
    assert adapt(Sum(), DataSpec(), TASK, feature_dim=7, call=masked)(batch).features.shape == (2, 7)
    assert adapt(Sum(), DataSpec(), TASK, feature_dim=7, call=complete)(batch).logits.shape == (2, 3)


class Sequences(nn.Module):
    """Returns features and a hidden sequence of text and audio."""

    def __init__(self, spec: DataSpec, width: int) -> None:
        super().__init__()
        self.maps = nn.ModuleDict({name: nn.Linear(spec.dim(name), width) for name in ("text", "audio")})

    @override
    def forward(self, text: Tensor, audio: Tensor, vision: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        hidden = {"text": self.maps["text"](text), "audio": self.maps["audio"](audio)}
        return torch.cat([states.mean(1) for states in hidden.values()], 1), hidden


def test_adapt_hands_on_hidden_sequences() -> None:
    spec, task = DataSpec(), SentimentClassification(3)
    shapes = {"text": (spec.text_len, 3), "audio": (spec.audio_len, 3)}
    model = MSSD(adapt(Sequences(spec, 3), spec, task, feature_dim=6, hidden_shape=shapes))
    _, incomplete = model.steps(Batch.random(spec, task, size=4))
    assert incomplete.losses["mssd/recon"] > 0
    wrong = adapt(Sequences(spec, 3), spec, task, feature_dim=6, hidden_shape={"text": (6, 4)})
    with pytest.raises(MERError, match=r"returned hidden sequences .* see hidden_shape"):
        wrong(Batch.random(spec, task))


def test_adapt_names_a_wrong_width() -> None:
    batch = Batch.random(DataSpec(), TASK, size=2)
    with pytest.raises(MERError, match=r"returned shape \(2, 7\), expected \(2, 9\): see feature_dim"):
        adapt(Sum(), DataSpec(), TASK, feature_dim=9)(batch)


def test_the_nest_is_listed_from_outside_in() -> None:
    model = Shifting(TwoStep(MeanNet(DataSpec(), SentimentRegression())))
    assert [type(inner).__name__ for inner in model.nest] == ["Shifting", "TwoStep", "MeanNet"]
    assert model.num_steps == 2
    assert model.calibrates
    with pytest.raises(MERError, match=r"TwoStep stands twice in the nest Shifting\(TwoStep\(MeanNet\)\)"):
        TwoStep(model)


def test_token_ids_without_an_encoder_are_embedded_in_64() -> None:
    model = MeanNet(TOKENS, TASK)
    assert model.input_dims["text"] == 64
    assert model(Batch.random(TOKENS, TASK)).inputs["text"].shape == (2, 6, 64)


def test_pretrained_groups_do_not_catch_the_plain_embedding(tmp_path: Path) -> None:
    data = SyntheticMER(SyntheticConfig(train=8, valid=4, test=4), batch_size=4)
    module = MERModule(MeanNet(data.spec, data.task), optimizer=lambda p: torch.optim.Adam(p, lr=0.01))
    Trainer(
        default_root_dir=tmp_path,
        fast_dev_run=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, datamodule=data)
    optimizer = module.optimizers()
    assert not isinstance(optimizer, list)
    assert [group["lr"] for group in optimizer.param_groups] == [0.01]


class Declared(Wrapper):
    """Declares on its class what it changes."""

    num_steps = 2
    fixed_length = True


class Choosing(Wrapper):
    def calibrate(self, valid: Scores) -> None:
        super().calibrate(valid)


def test_what_a_wrapper_declares_on_its_class_stands() -> None:
    model = Declared(MeanNet(DataSpec(), TASK))
    assert model.num_steps == 2
    assert model.fixed_length
    assert model.feature_dim == 8
    assert CausalMER(model).num_steps == 2
    assert not MERModule(model).automatic_optimization


class Widening(Wrapper):
    """Sets in its constructor what it changes, one thing by what the model inside has."""

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.feature_dim = 2 * self.feature_dim
        self.replaces_logits |= True

    @property
    def attention_shape(self) -> tuple[int, ...]:  # type: ignore[override]  # worked out
        return (self.feature_dim,)


def test_what_a_model_does_not_set_is_that_of_the_model_inside() -> None:
    inner = MeanNet(DataSpec(), TASK)
    inner.hidden_shape = {"text": (6, 8)}
    model = Declared(Widening(inner))
    assert (inner.feature_dim, model.feature_dim, model.num_steps) == (8, 16, 2)
    assert (model.spec, model.task, model.input_dims) == (inner.spec, inner.task, inner.input_dims)
    assert model.hidden_shape is inner.hidden_shape
    assert (inner.replaces_logits, model.replaces_logits) == (False, True)
    assert (inner.attention_shape, model.attention_shape) == (None, (16,))
    twin = deepcopy(model)
    twin.backbone.feature_dim = 3
    assert (twin.feature_dim, model.feature_dim) == (3, 16)


def test_a_network_that_sets_no_width_is_told_so() -> None:
    class Forgetful(MeanNet):
        def __init__(self) -> None:
            super().__init__(DataSpec(), TASK)
            del self.feature_dim

    with pytest.raises(MERError, match="Forgetful has no feature_dim; set it in its constructor"):
        Widening(Forgetful())
    assert not hasattr(Forgetful, "feature_dim")


def test_calibration_is_seen_anywhere_in_the_nest() -> None:
    inner = MeanNet(DataSpec(), TASK)
    assert not inner.calibrates
    assert not CausalMER(inner).calibrates
    assert CausalMER(Choosing(inner)).calibrates


@pytest.mark.parametrize("wrapper", [getattr(mer_zoo.wrappers, name) for name in mer_zoo.wrappers.__all__])
@pytest.mark.parametrize("network", [nn.Linear(6, 3), adapt(Sum(), feature_dim=7)], ids=["module", "factory"])
def test_a_network_of_plain_torch_is_told_how_to_become_a_backbone(wrapper: Any, network: Any) -> None:
    for owner in (wrapper, MERModule):
        with pytest.raises(
            MERError, match=rf"{owner.__name__} takes a Backbone, .* by mer_zoo.adapt\(.*feature_dim="
        ) as told:
            owner(network)
        assert type(network).__name__ in str(told.value)


@pytest.mark.parametrize("wrapper", [MSSD, CUMDF])
def test_an_adapted_network_without_hidden_sequences_is_told_the_option(wrapper: Any) -> None:
    with pytest.raises(MERError, match="hidden_shape, as to mer_zoo.adapt"):
        wrapper(adapt(Sum(), DataSpec(), TASK, feature_dim=7))


def test_adapt_without_a_spec_gives_a_factory() -> None:
    factory = adapt(Sum(), feature_dim=7)
    assert factory(DataSpec(), TASK).task is TASK


def test_words_that_are_not_there_say_nothing_in_a_trained_embedding() -> None:
    spec = DataSpec(tokens=True, vocab_size=110)
    embedding = MeanNet(spec, SentimentClassification(3)).text_embedding
    assert embedding is not None
    silent = embedding.weight.eq(0).all(1).nonzero().flatten().tolist()
    assert silent == [spec.pad_id, spec.unk_id, spec.mask_id]


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("RMFN", {"hidden_dims": (8, 0, 4)}, r"hidden_dims of RMFN is \(8, 0, 4\), but must be at least 1"),
        ("MMIN", {"blocks": 0}, "blocks of MMIN is 0, but must be at least 1"),
        ("MFM", {"dropouts": (0.0, 2.0, 0.0, 0.0)}, r"dropouts of MFM is .*, but dropouts lie between 0 and 1"),
        ("IFMMIN", {"out_dropout": float("nan")}, "out_dropout of IFMMIN is nan, but dropouts lie between 0 and 1"),
    ],
)
def test_numbers_that_no_network_can_have_are_refused(name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(MERError, match=told):
        getattr(mer_zoo.backbones, name)(DataSpec(), SentimentRegression(), **options)
