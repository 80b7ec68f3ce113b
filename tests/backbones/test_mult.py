from typing import Any

import pytest
import torch

from mer_zoo.backbones import MulT
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1}


def test_variant_is_a_shorthand_for_five_options() -> None:
    def options(model: MulT) -> tuple[object, ...]:
        return model.causal, model.pool, model.positions, model.always_project, model.mask_padding

    assert options(MulT(DataSpec(), TASK, **SMALL)) == (False, "last_valid", "time", True, True)
    released = MulT(DataSpec(), TASK, **SMALL, variant="released")
    assert options(released) == (True, "last_position", "released", False, False)
    mixed = MulT(DataSpec(), TASK, **SMALL, variant="released", causal=False, pool="last_valid")
    assert options(mixed) == (False, "last_valid", "released", False, False)


@pytest.mark.parametrize("option", [{"pool": "last_position"}, {"positions": "released"}, {"mask_padding": False}])
def test_options_that_read_padding_ask_for_fixed_length(option: dict[str, Any]) -> None:
    model = MulT(DataSpec(), TASK, **SMALL, **option).eval()
    assert model.fixed_length
    batch = Batch.random(DataSpec(), TASK, size=4)
    assert model(batch).logits.isfinite().all()


@pytest.mark.parametrize("option", [{"causal": True}, {"pool": "last_position"}, {"positions": "released"},
                                    {"mask_padding": False}])  # fmt: skip
def test_each_option_changes_the_scores_of_padded_data(option: dict[str, Any]) -> None:
    ours = MulT(DataSpec(), TASK, **SMALL).eval()
    other = MulT(DataSpec(), TASK, **SMALL, **option).eval()
    other.load_state_dict(ours.state_dict())
    batch = Batch.random(DataSpec(), TASK, size=4)
    if "positions" in option:  # what differs is padding in front
        batch = batch.replace(text=Modality(batch.text.x.flip(1), batch.text.mask.flip(1)))
    assert not torch.allclose(ours(batch).logits, other(batch).logits)


def test_projection_is_skipped_only_at_equal_width_and_only_on_request() -> None:
    spec = DataSpec(audio_dim=8)
    assert set(MulT(spec, TASK, **SMALL).project) == {"text", "audio", "vision"}
    assert set(MulT(spec, TASK, **SMALL, always_project=False).project) == {"text", "vision"}


def test_widths_and_depths() -> None:
    for modalities, width in [(("text", "audio", "vision"), 16), (("text", "vision"), 8), (("audio",), 8)]:
        model = MulT(DataSpec(modalities=modalities), TASK, **SMALL)
        assert model.feature_dim == width * len(modalities)
        assert model.hidden_shape is not None
        assert {shape[1] for shape in model.hidden_shape.values()} == {width}
        assert len(model.crossmodal) == len(modalities) * (len(modalities) - 1)
    deep = MulT(DataSpec(), TASK, dim=8, heads=2, depth=5)
    assert {len(memory.layers) for memory in deep.memory.values()} == {5}  # type: ignore[arg-type]
    assert {len(memory.layers) for memory in model.memory.values()} == {3}  # type: ignore[arg-type]


def test_attention_dropout_is_the_source_s() -> None:
    model = MulT(DataSpec(), TASK, **SMALL, attn_dropout=0.1, attn_dropout_audio=0.2, attn_dropout_vision=0.3)
    expected = {"text": 0.1, "audio": 0.2, "vision": 0.3}
    for name, encoder in model.crossmodal.items():
        assert encoder.layers[0].attention.attn_dropout == expected[name.split("_from_")[1]]  # type: ignore[union-attr, index]
    for encoder in model.memory.values():
        assert encoder.layers[0].attention.attn_dropout == 0.1  # type: ignore[union-attr, index]


def test_released_kernels_shorten_and_masks_follow() -> None:
    spec = DataSpec()
    model = MulT(spec, TASK, **SMALL, kernels=(3, 5, 1), variant="released", pool="last_valid").eval()
    batch = Batch.random(spec, TASK, size=2)
    hidden = model(batch).hidden
    assert hidden is not None
    assert model.hidden_shape is not None
    assert {name: shape[0] for name, shape in model.hidden_shape.items()} == {"text": 4, "audio": 4, "vision": 7}
    assert {name: value.shape[1] for name, value in hidden.items()} == {"text": 4, "audio": 4, "vision": 7}


def test_refusals() -> None:
    with pytest.raises(MERError, match=r"targets is \['audio'\]; give a non-empty choice of text"):
        MulT(DataSpec(modalities=["text"]), TASK, **SMALL, targets=["audio"])
    with pytest.raises(MERError, match="targets is"):
        MulT(DataSpec(), TASK, **SMALL, targets=[])
    with pytest.raises(MERError, match="3 heads do not divide a width of 8"):
        MulT(DataSpec(), TASK, dim=8, heads=3)
    with pytest.raises(MERError, match="audio kernel is 9, but must lie between 1 and the 8 steps"):
        MulT(DataSpec(), TASK, **SMALL, kernels=(1, 9, 1), variant="released")
    with pytest.raises(MERError, match="text kernel is 0"):
        MulT(DataSpec(), TASK, **SMALL, kernels=(0, 1, 1))
    with pytest.raises(MERError, match="width of at least 4"):
        MulT(DataSpec(), TASK, dim=2, heads=1)
