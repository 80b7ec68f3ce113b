from typing import Any

import pytest
import torch
from torch import Tensor

from mer_zoo.backbones import RAVEN
from mer_zoo.backbones.raven.subwords import SubwordLSTM, subwords
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.data.missing.drop import drop
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
ALIGNED = DataSpec(text_len=4, audio_len=4, vision_len=4, aligned=True)
OTHERS = ("audio", "vision")


def make(spec: DataSpec = ALIGNED, **options: Any) -> RAVEN:
    torch.manual_seed(0)
    return RAVEN(spec, TASK, **{"dim": 5, "nonverbal_dim": 3, **options}).eval()


def lstm(p: dict[str, Tensor], name: str, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    h, c = state
    gates = p[f"{name}.weight_ih_l0"] @ x + p[f"{name}.weight_hh_l0"] @ h
    i, f, g, o = (gates + p[f"{name}.bias_ih_l0"] + p[f"{name}.bias_hh_l0"]).chunk(4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def transcribed(p: dict[str, Tensor], words: list[tuple[Tensor, dict[str, list[Tensor]]]], beta: float) -> Tensor:
    """The score of one sample, of the vector of each word and its frames, one equation a line."""
    state = (torch.zeros(5), torch.zeros(5))
    for e, frames in words:
        h_m = {}
        for m in OTHERS:
            read = (torch.zeros(3), torch.zeros(3))
            for x in frames[m]:
                read = lstm(
                    p, f"frames.{m}.lstm", p[f"frames.{m}.resize.weight"] @ x + p[f"frames.{m}.resize.bias"], read
                )
            h_m[m] = read[0]
        w = {m: (p[f"gates.{m}.weight"] @ torch.cat([h_m[m], e]) + p[f"gates.{m}.bias"]).sigmoid() for m in OTHERS}
        h = w["vision"] * (p["maps.vision.weight"] @ h_m["vision"]) + w["audio"] * (
            p["maps.audio.weight"] @ h_m["audio"]
        )
        h = h + p["bias"]
        alpha = min(beta * e.norm() / h.norm(), torch.tensor(1.0))
        moved = e + alpha * h if any(frames.values()) else e
        state = lstm(p, "lstm", moved, state)
    return p["head.weight"] @ state[0] + p["head.bias"]


@pytest.mark.parametrize("beta", [0.2, 50.0])
def test_every_equation(beta: float) -> None:
    spec = DataSpec(text_len=3, audio_len=9, vision_len=2)
    model, batch = make(spec, beta=beta, steps=9), Batch.random(spec, TASK, size=4)
    p = {key: 2 * value + 0.1 for key, value in model.state_dict().items()}
    model.load_state_dict(p)
    expected = []
    for row in range(4):
        vectors = batch.text.x[row][batch.text.mask[row]]
        words: list[tuple[Tensor, dict[str, list[Tensor]]]] = [(e, {m: [] for m in OTHERS}) for e in vectors]
        for m in OTHERS:
            frames = batch.modality(m).x[row][batch.modality(m).mask[row]]
            for j, x in enumerate(frames):
                words[j * len(words) // len(frames)][1][m].append(x)
        expected.append(transcribed(p, words, beta))
    torch.testing.assert_close(model(batch).logits, torch.stack(expected), atol=1e-5, rtol=1e-4)


def test_aligned_frames_belong_to_the_word_at_their_place() -> None:
    batch = Batch.random(ALIGNED, TASK, size=3)
    for aligned in (True, False):
        audio = batch.audio.replace(mask=batch.text.mask, observed=batch.text.mask)
        steps, there = subwords(audio, batch.text.mask, 5, aligned)
        assert torch.equal(there.any(2), batch.text.mask)
        torch.testing.assert_close(steps[:, :, 0], audio.x * audio.mask[..., None])


def test_many_frames_become_means() -> None:
    x = torch.arange(10.0).view(1, 10, 1)
    seen = torch.ones(1, 10, dtype=torch.bool)
    seen[0, :3] = False
    audio = Modality(x, torch.ones(1, 10, dtype=torch.bool), seen)
    steps, there = subwords(audio, torch.ones(1, 2, dtype=torch.bool), 2, aligned=False)
    assert there.tolist() == [[[False, True], [True, True]]]
    assert steps.squeeze(-1).tolist() == [[[0.0, 3.5], [6.0, 8.5]]]


def test_words_are_not_moved_where_nothing_is_observed() -> None:
    model, batch = make(DataSpec()), Batch.random(DataSpec(), TASK, size=3)
    gone = drop(batch, dict.fromkeys(OTHERS, torch.zeros(3, 1, dtype=torch.bool)), DataSpec())
    bare = make(DataSpec(modalities=["text"]))
    bare.load_state_dict({key: value for key, value in model.state_dict().items() if key in bare.state_dict()})
    torch.testing.assert_close(model(gone).logits, bare(batch).logits)
    model.train()(gone).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_shift_is_no_longer_than_a_share_of_the_word() -> None:
    model, batch = make(beta=0.1), Batch.random(ALIGNED, TASK, size=3)
    model.load_state_dict({key: 9 * value for key, value in model.state_dict().items()})
    moved = model._move(batch.text, {m: batch.modality(m) for m in OTHERS}) - batch.text.x
    assert (moved.norm(dim=2) <= 0.1001 * batch.text.x.norm(dim=2)).all()


def test_as_released() -> None:
    model, batch = make(variant="released"), Batch.random(ALIGNED, TASK, size=3)
    p = {key: 2 * value for key, value in model.state_dict().items()}
    model.load_state_dict(p)
    audio = batch.audio.x * (batch.audio.mask & batch.text.mask)[..., None]
    mean, variance = audio.mean((0, 2), keepdim=True), audio.var((0, 2), unbiased=False, keepdim=True)
    audio = (audio - mean) / (variance + 1e-5).sqrt() * p["frames.audio.norm.weight"][:, None]
    shown = {"audio": audio, "vision": batch.vision.x}
    for row in range(3):
        state = (torch.zeros(5), torch.zeros(5))
        for t in batch.text.mask[row].nonzero().squeeze(1):
            e, shift = batch.text.x[row, t], p["bias"]
            for m in OTHERS:
                h = torch.zeros(3)
                if batch.modality(m).mask[row, t]:
                    x = p[f"frames.{m}.resize.weight"] @ shown[m][row, t] + p[f"frames.{m}.resize.bias"]
                    h = lstm(p, f"frames.{m}.lstm", x, (h, h))[0]
                w = p[f"gates.{m}.weight"] @ torch.cat([h, e]) + p[f"gates.{m}.bias"]
                shift = shift + w * (p[f"maps.{m}.weight"] @ h)
            shift = shift * 0.2 / max(1.0, shift.norm().item())
            state = lstm(p, "lstm", e + e.norm() * shift, state)
        expected = p["head.weight"] @ state[0] + p["head.bias"]
        torch.testing.assert_close(model(batch).logits[row], expected, atol=1e-5, rtol=1e-4)
    model.train()(batch).logits.sum().backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {name.split(".")[0] for name in learning} == {"lstm", "head"}


def test_a_subword_lstm_reads_to_the_last_step() -> None:
    read, x = SubwordLSTM(2, 3), torch.randn(1, 2, 4, 2)
    there = torch.tensor([[[True, True, False, False], [True] * 4]])
    states = read(x, there)
    torch.testing.assert_close(read(x[:, :1, :2], there[:, :1, :2])[0, 0], states[0, 0])
    assert not torch.equal(states[0, 0], states[0, 1])


def test_refusals() -> None:
    with pytest.raises(MERError, match="RAVEN moves words, but the data has audio, vision"):
        make(DataSpec(modalities=["audio", "vision"]))
    with pytest.raises(MERError, match="beta of RAVEN is 0"):
        make(beta=0)
    with pytest.raises(MERError, match="RAVEN was built for 4 steps of text"):
        make(variant="released")(Batch.random(DataSpec(text_len=3, audio_len=3, vision_len=3), TASK, size=2))
