"""DLF: parity with the released code, its options, what a training step reaches."""

from typing import Any

import pytest
import torch
from decoupling_cases import LETTERS, assert_shares_add_up, build, close, close_loss, gradients
from golden_cases import Case, golden

from mer_zoo.backbones.dlf import DLF
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.compat import LoadReport
from mer_zoo.errors import MERError
from mer_zoo.layers.positions import embed_positions
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1, "kernels": (3, 3, 3)}
TASK = SentimentRegression()


def load(case: Case) -> tuple[DLF, Batch, LoadReport]:
    return build(DLF, "dlf", case, {"ortho_chunk": case.config["ort_chunk"]})


@pytest.fixture(params=["dlf_feat_unaligned", "dlf_bert_chunk"])
def case(request: pytest.FixtureRequest) -> Case:
    return golden(request.param)


def test_outputs_of_the_released_code(case: Case) -> None:
    model, batch, _ = load(case)
    output = model(batch)
    state = output.aux
    close(output.logits, case, "output_logit")
    close(model.common_head(state.common).logits, case, "logits_c")
    close(model.gates["common"](state.common), case, "mod.projector_c")
    restored, again = model.decouple.restore(state.parts)
    aligned = model.decouple.aligned(state.parts)
    for name, letter in LETTERS.items():
        close(state.projected[name].transpose(0, 1), case, f"origin_{letter}")
        close(state.parts.private[name].transpose(0, 1), case, f"s_{letter}")
        close(state.parts.shared[name].transpose(0, 1), case, f"c_{letter}")
        close(restored[name].transpose(0, 1), case, f"recon_{letter}")
        close(again[name].transpose(1, 2), case, f"s_{letter}_r")
        close(aligned[name], case, f"c_{letter}_sim")
        close(state.streams[name].logits, case, f"logits_{letter}_hetero")
        close(model.gates[name](state.streams[name].joined), case, f"mod.projector_{letter}")
        memory = model.memory[name](embed_positions(output.hidden[name], rule="released"))
        close(memory.transpose(0, 1), case, f"mod.trans_{letter}_mem")
        read = model.common.encoders[name](embed_positions(state.parts.shared[name], rule="released"))
        close(read.transpose(0, 1), case, f"mod.self_attentions_c_{letter}")
    gates = [case.outputs[f"mod.projector_{letter}"] for letter in "lvac"]
    close(output.features - torch.cat(gates, 1).sigmoid(), case, "mod.proj2")


def test_losses_of_the_released_code(case: Case) -> None:
    model, batch, _ = load(case)
    output = model(batch)
    found = model.losses(output, batch)
    released = {name.removeprefix("loss."): value for name, value in case.outputs.items() if name.startswith("loss.")}
    expected = {
        "text": 3 * released["task_l"],
        "audio": released["task_a"],
        "vision": released["task_v"],
        "common": released["task_c"],
        "reconstruction": 0.1 * released["recon"],
        "cycle": 0.1 * released["cycle"],
        "margin": 0.01 * released["margin"],
        "orthogonality": 0.01 * released["ort"],
    }
    assert {name.removeprefix("dlf/") for name in found} == set(expected)
    for name, value in expected.items():
        close_loss(found[f"dlf/{name}"], value, name)
    task = TASK.criterion(output.logits, batch.target).mean()
    close_loss(task, released["task_all"], "task")
    close_loss(task + torch.stack(list(found.values())).sum(), released["total"], "total")


def test_what_the_released_code_never_uses_is_left_out_and_named(case: Case) -> None:
    model, _, report = load(case)
    assert set(model.crossmodal) == {"text_from_audio", "text_from_vision"}
    assert report.kept == {}
    left_out = {f"trans_{query}_with_{source}" for query, source in ("al", "av", "vl", "va")}
    left_out |= {f"{part}_{letter}" for letter in "lav" for part in ("proj_cosine",)}
    left_out |= {f"{part}_{letter}_low" for letter in "lav" for part in ("proj1", "proj2", "out_layer")}
    assert {key.split(".")[0] for key in report.unused} - {"text_model"} == left_out
    assert "never uses them" in report.unused["trans_a_with_l.layer_norm.weight"]
    assert "returns them to nobody" in report.unused["proj1_l_low.weight"]


@pytest.mark.parametrize("task", [TASK, SentimentClassification(7), EmotionDetection()], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("modalities", [["text", "audio", "vision"], ["text", "vision"]])
def test_a_step_reaches_every_parameter(task: Task, modalities: list[str]) -> None:
    spec = DataSpec(modalities=modalities)
    assert gradients(DLF(spec, task, **SMALL), Batch.random(spec, task, size=4), task) == []
    assert gradients(DLF(spec, task, **SMALL), Batch.random(spec, task, size=1), task) == []


def test_pieces_of_vectors_are_compared_on_request() -> None:
    spec = DataSpec()
    whole, pieces = DLF(spec, TASK, **SMALL).eval(), DLF(spec, TASK, **SMALL, ortho_chunk=2).eval()
    pieces.load_state_dict(whole.state_dict())
    batch = Batch.random(spec, TASK, size=4)
    found = [m.losses(m(batch), batch)["dlf/orthogonality"] for m in (whole, pieces)]
    assert not torch.allclose(found[0], found[1])


def test_streams_have_the_steps_of_the_text() -> None:
    spec = DataSpec()
    model = DLF(spec, TASK, **SMALL).eval()
    assert model.hidden_shape == dict.fromkeys(("text", "audio", "vision"), (4, 8))
    hidden = model(Batch.random(spec, TASK, size=2)).hidden
    assert {name: tuple(h.shape[1:]) for name, h in hidden.items()} == model.hidden_shape


def test_impossible_sizes_are_refused() -> None:
    for modalities, names in ((["audio", "vision"], "audio and vision"), (["text"], "text")):
        with pytest.raises(MERError, match=f"used with {names} only; use text and another"):
            DLF(DataSpec(modalities=modalities), TASK, **SMALL)
    with pytest.raises(MERError, match="ortho_chunk of DLF is 3; give a divisor of the width, 8"):
        DLF(DataSpec(), TASK, **SMALL, ortho_chunk=3)
    with pytest.raises(MERError, match="width 2 and 1 layers"):
        DLF(DataSpec(), TASK, **{**SMALL, "dim": 2})
    with pytest.raises(MERError, match="DLF was built for 8 steps of audio, but the batch has 7; pad batches"):
        DLF(DataSpec(), TASK, **SMALL).eval()(Batch.random(DataSpec(audio_len=7), TASK))


def test_losses_of_uneven_shares_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_shares_add_up(DLF(DataSpec(), TASK, **SMALL), {"dlf/margin"}, monkeypatch)
