from typing import Any

import pytest
import torch
from golden_cases import golden
from torch import Tensor

from mer_zoo.backbones.cubemlp.network import CubeMLP
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.layers.sequence import masked_resample
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"dim": 8, "hidden_dims": ((6, 3, 8), (4, 3, 8))}


def cube_of(model: CubeMLP, batch: Batch) -> Tensor:
    """The last cube, as the model's blocks leave it."""
    kept: list[Tensor] = []
    with model.blocks.register_forward_hook(lambda _module, _given, cube: kept.append(cube)):
        model(batch)
    return kept[0]


@pytest.mark.parametrize("name", ["cubemlp_gru_lnlast", "cubemlp_lstm_lnfirst"])
@pytest.mark.parametrize("explicit", [False, True])
def test_parity_with_the_released_code(name: str, explicit: bool) -> None:
    config, params, inputs, outputs = golden(name)
    ids, mask = inputs["text"][:, 0].long(), inputs["text"][:, 1].bool()
    assert len(set(mask.sum(1).tolist())) > 1
    size, vocabulary = config["d_t"], params["bertmodel.embeddings.word_embeddings.weight"].shape[0]
    shapes: dict[str, Any] = {"text_len": ids.shape[1], "audio_len": ids.shape[1] - 2, "vision_len": ids.shape[1] - 2}
    shapes |= {"audio_dim": config["d_a"], "vision_dim": config["d_v"], "vocab_size": vocabulary}
    bert: dict[str, Any] = {"model_type": "bert", "hidden_size": size, "num_hidden_layers": 2, "num_attention_heads": 2}
    bert |= {"intermediate_size": 2 * size, "max_position_embeddings": 64, "vocab_size": vocabulary}
    options: dict[str, Any] = {"norm_first": config["ln_first"], "bias": config["bias"], "time_len": config["time_len"]}
    options |= {"compose_time": config["features_compose_t"], "compose_modality": config["features_compose_k"]}
    options |= {"hidden_dims": config["d_hiddens"], "output_dims": config["d_outs"], "encoder": config["encoders"]}
    options |= {"project": config["res_project"]} if explicit else {}
    spec = DataSpec(**shapes, tokens=True, aligned=True)
    model = CubeMLP(spec, TASK, bert, dim=config["d_common"], **options).eval()
    report = load_released(model, params, source="cubemlp")
    assert {key.split(".")[1] for key in report.unused} == {"pooler"}
    assert report.kept == {}
    # The masks of audio and vision stand at the words, which the released code takes from the text.
    audio, vision = (Modality(inputs[key], mask[:, 2:]) for key in ("audio", "vision"))
    batch = Batch(Modality(ids, mask), audio, vision, target=inputs["labels"], index=torch.arange(3))
    output = model(batch)
    close: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(cube_of(model, batch), outputs["cube"], **close)
    torch.testing.assert_close(output.logits, outputs["pred"], **close)
    torch.testing.assert_close(TASK.criterion(output.logits, batch.target).mean(), outputs["loss.l1"], **close)


def test_unaligned_audio_is_averaged_to_the_words() -> None:
    spec = DataSpec(text_len=4, audio_len=8)
    model = CubeMLP(spec, TASK, **SMALL).eval()
    batch = Batch.random(spec, TASK, size=3)
    pooled = masked_resample(batch.audio.x, batch.audio.mask, batch.text.mask)
    other = batch.replace(audio=Modality(pooled, batch.text.mask))
    torch.testing.assert_close(model(other).logits, model(batch).logits)


def test_the_cube_has_as_many_layers_as_modalities() -> None:
    spec = DataSpec(modalities=["text", "vision"])
    model = CubeMLP(spec, TASK, **SMALL)
    batch = Batch.random(spec, TASK, size=3)
    assert cube_of(model, batch).shape == (3, 4, 2, 8)
    assert model(batch).features.shape == (3, 16)


def test_hidden_sequences_are_the_layers_of_the_last_cube() -> None:
    model = CubeMLP(DataSpec(), TASK, **SMALL).eval()
    batch = Batch.random(DataSpec(), TASK, size=3)
    hidden = model(batch).hidden
    assert hidden is not None
    torch.testing.assert_close(torch.stack(list(hidden.values()), 2), cube_of(model, batch))
    assert model.hidden_axes is None
    assert CubeMLP(DataSpec(), TASK, dim=8, hidden_dims=((6, 3, 8),)).hidden_axes == dict.fromkeys(hidden, "text")
    fewer = CubeMLP(DataSpec(), TASK, dim=8, hidden_dims=((6, 2, 8),))
    assert fewer.hidden_shape is None
    assert fewer(batch).hidden is None


@pytest.mark.parametrize(
    ("time", "modality", "width"), [("mean", "mean", 8), ("cat", "mean", 32), ("mean", "cat", 24), ("cat", "cat", 96)]
)
def test_compositions(time: Any, modality: Any, width: int) -> None:
    model = CubeMLP(DataSpec(), TASK, **SMALL, compose_time=time, compose_modality=modality)
    cube = torch.randn(2, 4, 3, 8)
    assert model.compose(cube).shape == (2, width)
    assert model.feature_dim == width


def test_wide_features_are_classified_by_two_layers() -> None:
    def layers(**options: Any) -> int:
        head = CubeMLP(DataSpec(), TASK, dim=8, **options).head
        assert isinstance(head, torch.nn.Sequential)
        return len(head)

    assert layers(hidden_dims=((4, 3, 42),)) == 1  # 126 wide
    assert layers(hidden_dims=((4, 3, 43),)) == 4


def test_refusals() -> None:
    with pytest.raises(MERError, match="time_len is 5, but the data has 6 steps"):
        CubeMLP(DataSpec(), TASK, **SMALL, time_len=5)
    with pytest.raises(MERError, match="different numbers of blocks"):
        CubeMLP(DataSpec(), TASK, **SMALL, project=[True])
    with pytest.raises(MERError, match="encoder is 'conv'; choose gru or lstm"):
        CubeMLP(DataSpec(), TASK, **SMALL, encoder="conv")  # type: ignore[arg-type]
    for name in ("compose_time", "compose_modality"):
        unknown: dict[str, Any] = {name: "sum"}
        with pytest.raises(MERError, match=f"unknown {name} 'sum' of CubeMLP; choose from mean, cat"):
            CubeMLP(DataSpec(), TASK, **SMALL, **unknown)
    longer = DataSpec(text_len=9)
    with pytest.raises(MERError, match="a batch has 9 steps, the cube 6"):
        CubeMLP(DataSpec(), TASK, **SMALL)(Batch.random(longer, TASK))
