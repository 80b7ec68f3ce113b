import pytest
import torch
from torch import Tensor

from mer_zoo.backbones import RMFN
from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
SPEC = DataSpec(text_len=4, audio_len=4, vision_len=4, aligned=True)


def make(**options: object) -> RMFN:
    torch.manual_seed(0)
    sizes: dict[str, object] = {"hidden_dims": (5, 3, 4), "cross_dim": 3, "highlight_dim": 6, "fuse_dim": 7}
    return RMFN(SPEC, TASK, **{**sizes, **options}).eval()  # type: ignore[arg-type]


def lstm(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def transcribed(model: RMFN, p: dict[str, Tensor], steps: list[dict[str, Tensor]]) -> Tensor:
    """The scores of one sample, of the vectors of its words, one equation a line."""
    h, c = ({m: torch.zeros(width) for m, width in zip(MODALITIES, (5, 3, 4), strict=True)} for _ in range(2))
    z = torch.zeros(3)
    for x in steps:
        for m in MODALITIES:
            gates = p[f"cells.{m}.weight_ih"] @ x[m] + p[f"cells.{m}.weight_hh"] @ h[m] + p[f"cross.{m}.weight"] @ z
            h[m], c[m] = lstm(gates + p[f"cells.{m}.bias_ih"] + p[f"cells.{m}.bias_hh"], c[m])
        h_t = torch.cat([h[m] for m in MODALITIES])
        q, q_cell, s, s_cell, outputs = torch.zeros(6), torch.zeros(6), torch.zeros(7), torch.zeros(7), []
        for _ in range(model.stages):
            gates = p["highlight.weight_ih"] @ h_t + p["highlight.weight_hh"] @ q
            q, q_cell = lstm(gates + p["highlight.bias_ih"] + p["highlight.bias_hh"], q_cell)
            scores = p["attention.weight"] @ q + p["attention.bias"]
            a = scores.softmax(0) if model.softmax else scores.sigmoid()
            gates = p["fuse_stage.weight_ih"] @ (a * h_t) + p["fuse_stage.weight_hh"] @ s
            s, s_cell = lstm(gates + p["fuse_stage.bias_ih"] + p["fuse_stage.bias_hh"], s_cell)
            outputs.append(s)
        inner = (p["summary.fc1.weight"] @ torch.cat(outputs) + p["summary.fc1.bias"]).relu()
        z = p["summary.fc2.weight"] @ inner + p["summary.fc2.bias"]
    return p["head.weight"] @ torch.cat([h_t, z]) + p["head.bias"]


@pytest.mark.parametrize("options", [{}, {"stages": 1}, {"attention": "sigmoid"}], ids=str)
def test_every_equation(options: dict[str, object]) -> None:
    model, batch = make(**options), Batch.random(SPEC, TASK, size=3)
    parameters, logits = {name: 2 * value for name, value in model.state_dict().items()}, []
    model.load_state_dict(parameters)
    for row in range(3):
        words = batch.text.mask[row].nonzero().squeeze(1)
        steps = [{m: batch.modality(m).x[row, t] * batch.modality(m).mask[row, t] for m in MODALITIES} for t in words]
        logits.append(transcribed(model, parameters, steps))
    torch.testing.assert_close(model(batch).logits, torch.stack(logits), atol=1e-6, rtol=1e-5)


def test_a_word_reads_what_was_fused_at_the_word_before() -> None:
    model, batch = make(), Batch.random(SPEC, TASK, size=2)
    loud = batch.replace(audio=batch.audio.replace(x=batch.audio.x.clone()))
    loud.audio.x[:, 0] += 1
    before, after = (model(given).hidden["text"] for given in (batch, loud))
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


def test_what_is_missing_is_read_as_zeros() -> None:
    model, batch = make(), Batch.random(SPEC, TASK, size=2)
    gone = batch.replace(audio=batch.audio.replace(x=batch.audio.x * 0, observed=batch.audio.mask & False))
    assert not torch.equal(model(gone).logits, model(batch).logits)
    assert not model(gone).logits.isnan().any()


def test_refusals() -> None:
    with pytest.raises(MERError, match="stages of RMFN is 0"):
        make(stages=0)
    with pytest.raises(MERError, match="unknown attention 'sum' of RMFN"):
        make(attention="sum")
