"""DMD: parity with the released code, its options, what a training step reaches."""

from typing import Any

import pytest
import torch
from decoupling_cases import LETTERS, assert_shares_add_up, batch_of, build, close, close_loss, gradients
from golden_cases import Case, golden

from mer_zoo.backbones.dmd.network import DMD
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.compat import LoadReport, load_released
from mer_zoo.errors import MERError
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

CASES = ["dmd_feat_unaligned", "dmd_bert_nomask"]
SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1, "kernels": (3, 3, 3)}
TASK = SentimentRegression()
# Pairs (student, teacher) in the order of the case, l, v, a.
PAIRS = [(s, t) for s in ("text", "vision", "audio") for t in ("text", "vision", "audio") if s != t]


def load(case: Case, **options: Any) -> tuple[DMD, Batch, LoadReport]:
    sizes = {"shared_hidden": case.config["gd_size_homo"], "private_hidden": case.config["gd_size_hetero"]}
    return build(DMD, "dmd", case, sizes | options)


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return golden(request.param)


def test_outputs_of_the_released_code(case: Case) -> None:
    model, batch, _ = load(case)
    output = model(batch)
    state = output.aux
    close(output.logits, case, "output_logit")
    restored, again = model.decouple.restore(state.parts)
    aligned = model.decouple.aligned(state.parts)
    said = model.auxiliary(state)
    close(said.common.logits, case, "logits_c")
    for name, letter in LETTERS.items():
        close(state.projected[name].transpose(1, 2), case, f"origin_{letter}")
        close(state.parts.private[name].transpose(0, 1), case, f"s_{letter}")
        close(state.parts.shared[name].transpose(0, 1), case, f"c_{letter}")
        close(restored[name].transpose(1, 2), case, f"recon_{letter}")
        close(again[name].transpose(1, 2), case, f"s_{letter}_r")
        close(aligned[name], case, f"c_{letter}_sim")
        close(state.private[name], case, f"last_h_{letter}")
        close(said.shared[name].logits, case, f"logits_{letter}_homo")
        close(said.shared[name].inner, case, f"repr_{letter}_homo")
        close(said.private[name].logits, case, f"logits_{letter}_hetero")
        close(said.private[name].joined, case, f"repr_{letter}_hetero")


def test_graphs_of_the_released_code(case: Case) -> None:
    model, batch, _ = load(case)
    said = model.auxiliary(model(batch).aux)
    homo = model.shared_graph(*({n: getattr(p, part) for n, p in said.shared.items()} for part in ("logits", "inner")))
    hetero = model.private_graph(
        *({n: getattr(p, part) for n, p in said.private.items()} for part in ("logits", "joined"))
    )
    for kernel, found, name in ((model.shared_graph, homo, "homo"), (model.private_graph, hetero, "hetero")):
        order = [kernel.edges.index(pair) for pair in PAIRS]
        close(found.strengths.T[order], case, f"edges_{name}")
        close_loss(found.logits, case.outputs[f"loss.gd_{name}_logit"], f"{name} logits")
        close_loss(found.representations, case.outputs[f"loss.gd_{name}_repr"], f"{name} representations")
        close_loss(found.deviation, case.outputs[f"loss.gd_{name}_reg"], f"{name} deviation")


@pytest.mark.parametrize(("orthogonality", "reading"), [("features", "featdim"), ("batch", "batchdim")])
def test_losses_of_the_released_code(case: Case, orthogonality: str, reading: str) -> None:
    model, batch, _ = load(case, orthogonality=orthogonality)
    output = model(batch)
    found = model.losses(output, batch)
    released = {name.removeprefix("loss."): value for name, value in case.outputs.items() if name.startswith("loss.")}
    expected = {
        "shared": sum(released[f"task_{letter}_homo"] for letter in "lav"),
        "private": sum(released[f"task_{letter}_hetero"] for letter in "lav"),
        "common": released["task_c"],
        "shared_graph": released["gd_homo_total"],
        "private_graph": released["gd_hetero_total"],
        "reconstruction": 0.1 * released["recon"],
        "cycle": 0.1 * released["cycle"],
        "margin": 0.01 * released["margin"],
        "orthogonality": 0.01 * released[f"ort_{reading}"],
    }
    assert {name.removeprefix("dmd/") for name in found} == set(expected)
    for name, value in expected.items():
        close_loss(found[f"dmd/{name}"], torch.as_tensor(value), name)
    task = TASK.criterion(output.logits, batch.target).mean()
    close_loss(task, released["task_all"], "task")
    close_loss(task + torch.stack(list(found.values())).sum(), released[f"total_{reading}"], "total")


def test_what_no_loss_uses_is_named() -> None:
    case = golden("dmd_bert_nomask")
    _, _, report = load(case)
    assert report.kept == {}
    kinds = {key.split("_l")[0].split("_v")[0].split("_a")[0] for key in report.unused}
    pooler = {f"dmd.text_model.model.pooler.dense.{name}" for name in ("weight", "bias")}
    assert kinds == {"dmd.proj_cosine", "kernel_homo.W_edge.bias", "kernel_hetero.W_edge.bias", *pooler}
    assert "never charges" in report.unused["dmd.proj_cosine_l.weight"]


def test_a_network_saved_without_its_kernels() -> None:
    case = golden("dmd_feat_unaligned")
    model, batch, _ = load(case)
    network = {k.removeprefix("dmd."): v for k, v in case.params.items() if k.startswith("dmd.")}
    report = load_released(model, network, "dmd")
    assert {name.split(".")[0] for name in report.kept} == {"shared_graph", "private_graph"}
    close(model(batch).logits, case, "output_logit")


@pytest.mark.parametrize("task", [TASK, SentimentClassification(7), EmotionDetection()], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("modalities", [["text", "audio", "vision"], ["audio", "vision"]])
def test_a_step_reaches_every_parameter(task: Task, modalities: list[str]) -> None:
    spec = DataSpec(modalities=modalities)
    assert gradients(DMD(spec, task, **SMALL), Batch.random(spec, task, size=4), task) == []
    assert gradients(DMD(spec, task, **SMALL), Batch.random(spec, task, size=1), task) == []


def test_the_prior_over_two_modalities() -> None:
    model = DMD(DataSpec(modalities=["text", "vision"]), TASK, **SMALL)
    assert model.feature_dim == 4 * 8
    assert model.private_graph.edges == [("text", "vision"), ("vision", "text")]
    torch.testing.assert_close(model.private_graph.prior, torch.tensor([0.0, 4.0]).softmax(0))


def test_readings_of_orthogonality_differ() -> None:
    spec = DataSpec()
    model, batch = DMD(spec, TASK, **SMALL).eval(), Batch.random(spec, TASK, size=4)
    other = DMD(spec, TASK, **SMALL, orthogonality="batch").eval()
    other.load_state_dict(model.state_dict())
    found = [m.losses(m(batch), batch)["dmd/orthogonality"] for m in (model, other)]
    assert not torch.allclose(found[0], found[1])


def test_a_projection_of_equal_width_is_skipped() -> None:
    spec = DataSpec(audio_dim=8)
    model = DMD(spec, TASK, **SMALL)
    assert model.hidden_shape == {"text": (4, 16), "audio": (8, 16), "vision": (5, 16)}
    batch = Batch.random(spec, TASK, size=2)
    assert torch.equal(model.eval()(batch).aux.projected["audio"], batch.audio.x)
    assert gradients(model, batch, TASK) == []


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(MERError, match="used with audio only; use at least two"):
        DMD(DataSpec(modalities=["audio"]), TASK, **SMALL)
    with pytest.raises(MERError, match="the text kernel is 7, but must lie between 1 and the 6 steps"):
        DMD(DataSpec(), TASK, **{**SMALL, "kernels": (7, 1, 1)})
    with pytest.raises(MERError, match="width 8 and 0 layers"):
        DMD(DataSpec(), TASK, **{**SMALL, "depth": 0})
    with pytest.raises(MERError, match="3 heads do not divide a width of 8"):
        DMD(DataSpec(), TASK, **{**SMALL, "heads": 3})
    with pytest.raises(MERError, match="unknown orthogonality 'feature' of DMD; choose from features, batch"):
        DMD(DataSpec(), TASK, **SMALL, orthogonality="feature")  # type: ignore[arg-type]
    with pytest.raises(MERError, match="DMD was built for 6 steps of text, but the batch has 5; pad batches"):
        DMD(DataSpec(), TASK, **SMALL).eval()(Batch.random(DataSpec(text_len=5), TASK))


def test_losses_of_uneven_shares_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_shares_add_up(
        DMD(DataSpec(), TASK, **SMALL), {"dmd/margin", "dmd/shared_graph", "dmd/private_graph"}, monkeypatch
    )


def test_batches_of_the_cases_are_complete() -> None:
    assert batch_of(golden("dmd_bert_nomask")).text.lengths.tolist() == [10, 7, 4]
