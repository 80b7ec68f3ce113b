from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.backbones import TransM
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.data.missing.drop import drop
from mer_zoo.errors import MERError
from mer_zoo.layers.positions import interleaved_table
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
SPEC = DataSpec(text_len=4, audio_len=4, vision_len=4, aligned=True)
Parameters = dict[str, Tensor]


def make(spec: DataSpec = SPEC, **options: Any) -> TransM:
    torch.manual_seed(0)
    return TransM(spec, TASK, **{"dim": 6, "rnn_dim": 3, "heads": 2, "ffn_dim": (5, 7), **options}).eval()


def gru(p: Parameters, name: str, x: Tensor) -> Tensor:
    """States (T, h) of one direction."""
    h, states = torch.zeros(3), []
    for step in x:
        given = p[f"{name}.weight_ih_l0"] @ step + p[f"{name}.bias_ih_l0"]
        kept = p[f"{name}.weight_hh_l0"] @ h + p[f"{name}.bias_hh_l0"]
        r, z = (given + kept)[:3].sigmoid(), (given + kept)[3:6].sigmoid()
        n = (given[6:] + r * kept[6:]).tanh()
        h = (1 - z) * n + z * h
        states.append(h)
    return torch.stack(states)


def attention(p: Parameters, name: str, x: Tensor, source: Tensor, rectified: bool) -> Tensor:
    act = torch.relu if rectified else lambda value: value
    w, b = p[f"{name}.in_proj_weight"].chunk(3), p[f"{name}.in_proj_bias"].chunk(3)
    q, k, v = (act(given @ w[i].T + b[i]) for i, given in enumerate((x, source, source)))
    heads = [(q[:, c] @ k[:, c].T / 3**0.5).softmax(1) @ v[:, c] for c in (slice(0, 3), slice(3, 6))]
    return act(torch.cat(heads, 1) @ p[f"{name}.out_proj.weight"].T + p[f"{name}.out_proj.bias"])


def layer(p: Parameters, name: str, x: Tensor, memory: Tensor | None, rectified: bool) -> Tensor:
    def norm(i: int, value: Tensor) -> Tensor:
        return F.layer_norm(value, (6,), p[f"{name}.norm{i}.weight"], p[f"{name}.norm{i}.bias"])

    x = norm(1, x + attention(p, f"{name}.self_attn", x, x, rectified))
    if memory is not None:
        x = norm(2, x + attention(p, f"{name}.multihead_attn", x, memory, rectified))
    inner = (x @ p[f"{name}.linear1.weight"].T + p[f"{name}.linear1.bias"]).relu()
    return norm(2 if memory is None else 3, x + inner @ p[f"{name}.linear2.weight"].T + p[f"{name}.linear2.bias"])


def transcribed(model: TransM, p: Parameters, x: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Score and translations of the steps (T, D_m) of one sample, one equation a line."""
    rect = model.rectified
    pos = interleaved_table(len(x["text"]), 6)
    ahead = {m: gru(p, f"rnn.{m}.ahead", value) for m, value in x.items()}
    back = {m: gru(p, f"rnn.{m}.back", value.flip(0)).flip(0) for m, value in x.items()}
    read = {m: torch.cat([ahead[m], back[m]], 1) for m in x}
    states = {m: (value @ p[f"project.{m}.weight"].T + p[f"project.{m}.bias"]).tanh() for m, value in read.items()}
    parts, made = [], {}
    for m in ("audio", "vision"):
        c = f"cells.{m}"
        e1 = states["text"] + pos
        for i in range(2):
            e1 = layer(p, f"{c}.there.encoder.{i}", e1, None, rect)
        d1 = layer(p, f"{c}.there.decoder.0", states[m] + pos, e1, rect)
        e2 = d1 + pos
        for i in range(2):
            e2 = layer(p, f"{c}.back.encoder.{i}", e2, None, rect)
        d2 = layer(p, f"{c}.back.decoder.0", states["text"] + pos, e2, rect)
        made[m] = d1 @ p[f"{c}.to_other.weight"].T + p[f"{c}.to_other.bias"]
        made[f"{m}_text"] = d2 @ p[f"{c}.to_text.weight"].T + p[f"{c}.to_text.bias"]
        parts += [e1, e2]
    joint = torch.cat([*parts, states["text"], states["audio"], states["vision"]], 1)
    if model.rectified:
        made = {name: value.relu() for name, value in made.items()}
    return p["head.weight"] @ joint.mean(0) + p["head.bias"], made


@pytest.mark.parametrize("rectified", [False, True])
def test_every_equation(rectified: bool) -> None:
    model = make(rectified_attention=rectified, rectified_translations=rectified)
    batch = Batch.random(SPEC, TASK, size=2)
    shared = {m: batch.modality(m).replace(mask=batch.text.mask, observed=batch.text.mask) for m in ("audio", "vision")}
    batch = batch.replace(**shared)
    p = {key: 1.5 * value for key, value in model.state_dict().items()}
    model.load_state_dict(p)
    (step,) = model.steps(batch)
    errors: dict[str, list[Tensor]] = {}
    for row in range(2):
        x = {m: batch.modality(m).x[row][batch.text.mask[row]] for m in ("text", "audio", "vision")}
        score, made = transcribed(model, p, x)
        torch.testing.assert_close(step.output.logits[row], score, atol=1e-5, rtol=1e-4)
        for name, value in made.items():
            target = x["text"] if name.endswith("text") else x[name]
            errors.setdefault(name, []).extend((value - target).abs().mean(1))
    for name, found in errors.items():
        torch.testing.assert_close(step.losses[f"transm/{name}"], 10 * torch.stack(found).mean(), atol=1e-5, rtol=1e-4)


def test_a_prediction_uses_nothing_of_what_is_missing() -> None:
    model, batch = make(), Batch.random(SPEC, TASK, size=3)
    gone = drop(batch, {"vision": torch.zeros(3, 1, dtype=torch.bool)}, SPEC)
    joint = model._read(
        {m: gone.modality(m).x for m in ("text", "audio", "vision")},
        {m: gone.modality(m).observed for m in ("text", "audio", "vision")},
        gone.text.mask,
    )[1]
    query = torch.zeros_like(joint.states["vision"])
    cell = model.cells["vision"]
    torch.testing.assert_close(joint.decoded["vision"][0], cell(joint.states["text"], query, joint.places)[1])
    assert not torch.equal(model(gone).logits, model(batch).logits)


def test_nothing_is_translated_into_what_is_missing() -> None:
    model, batch = make(), Batch.random(SPEC, TASK, size=3)
    gone = drop(batch, {"vision": torch.zeros(3, 1, dtype=torch.bool)}, SPEC)
    (step,) = model.steps(gone)
    assert step.losses["transm/vision"].item() == 0
    assert step.losses["transm/vision_text"].item() > 0


def test_without_a_weight_nothing_is_translated() -> None:
    model = make(translation_weight=0.0)
    (step,) = model.steps(Batch.random(SPEC, TASK, size=2))
    assert step.losses == {}
    torch.autograd.backward(step.output.logits.sum())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_dialogues_are_sequences_of_utterances() -> None:
    model = make(DataSpec(), context="dialogue")
    batch = Batch.random(DataSpec(), TASK, size=4)
    batch = batch.replace(dialogue=torch.tensor([1, 0, 1, 1]), turn=torch.tensor([2, 0, 0, 1]))
    (step,) = model.steps(batch)
    assert step.output.features.shape == (4, model.feature_dim)
    assert len(step.losses) == 4
    # As a clip whose words are the utterances, each with its own score.
    order = torch.tensor([2, 3, 0])
    x = {m: batch.modality(m) for m in ("text", "audio", "vision")}
    means = {
        m: ((value.x * value.mask[..., None]).sum(1) / value.mask.sum(1, keepdim=True))[order][None]
        for m, value in x.items()
    }
    real = torch.ones(1, 3, dtype=torch.bool)
    joint, _ = model._read(means, dict.fromkeys(means, real), real)
    torch.testing.assert_close(step.output.features[order], joint[0])
    assert model.hidden_shape is None
    with pytest.raises(MERError, match="this network reads dialogues, but the data tell none"):
        model(batch.replace(dialogue=None))


def test_the_vector_of_a_clip_is_of_what_was_observed() -> None:
    model = make(DataSpec(), context="dialogue").eval()
    batch = Batch.random(DataSpec(), TASK, size=2)
    batch = batch.replace(dialogue=torch.tensor([0, 0]), turn=torch.tensor([0, 1]))
    audio = batch.audio
    seen = audio.mask & (torch.arange(audio.mask.shape[1]) < 2)
    blind = batch.replace(audio=Modality(audio.x * seen[..., None], audio.mask, seen))
    short = batch.replace(audio=Modality(audio.x * seen[..., None], seen))
    torch.testing.assert_close(model(blind).logits, model(short).logits)


def test_refusals() -> None:
    with pytest.raises(MERError, match="TransM translates text into audio or vision and back, but the data has text;"):
        make(DataSpec(modalities=["text"]))
    with pytest.raises(MERError, match="encoder_depth of TransM is 0"):
        make(encoder_depth=0)
    with pytest.raises(MERError, match="4 heads do not divide a width of 6"):
        make(heads=4)


def test_audio_is_read_at_the_words() -> None:
    spec = DataSpec(text_len=2, audio_len=4, vision_len=2)
    model, batch = make(spec), Batch.random(spec, TASK, size=1)
    every = torch.ones(1, 4, dtype=torch.bool)
    text, vision = (Modality(batch.modality(m).x, every[:, :2]) for m in ("text", "vision"))
    x = torch.randn(1, 4, spec.audio_dim)
    long = batch.replace(text=text, vision=vision, audio=Modality(x, every))
    short = long.replace(audio=Modality(x.view(1, 2, 2, -1).mean(2), every[:, :2]))
    torch.testing.assert_close(model(long).logits, model(short).logits)
