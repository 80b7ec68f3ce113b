"""Parity of TFN, LMF, LF-DNN, EF-LSTM and MFN with their usual code:
golden vectors made by running it, see the JSON beside each file.
"""

from typing import Any

import pytest
import torch
from golden_cases import Case, golden
from torch import Tensor

from mer_zoo.backbones.eflstm import EFLSTM
from mer_zoo.backbones.lfdnn import LFDNN
from mer_zoo.backbones.lmf import LMF
from mer_zoo.backbones.mfn import MFN
from mer_zoo.backbones.tfn import TFN
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.functional.tensor_fusion import tensor_fusion
from mer_zoo.model import Backbone
from mer_zoo.task import SentimentClassification, SentimentRegression

TASK = SentimentRegression()
LETTERS = {"text": "t", "audio": "a", "vision": "v"}
CASES = ("tfn", "lmf", "lf_dnn", "ef_lstm", "mfn")


def build(name: str, spec: DataSpec, config: dict[str, Any], **options: Any) -> Backbone:
    if name == "ef_lstm":
        layers = config["num_layers"]
        return EFLSTM(spec, TASK, dim=config["hidden_dims"], depth=layers, variant="released", **options)
    dims = tuple(config["hidden_dims"])
    if name == "lmf":
        return LMF(spec, TASK, hidden_dims=dims, rank=config["rank"], **options)
    if name == "mfn":
        inner = [config[key]["shapes"] for key in ("NN1Config", "NN2Config", "gamma1Config", "gamma2Config")]
        sizes = {"attention_dim": inner[0], "candidate_dim": inner[1], "gate_dims": (inner[2], inner[3])}
        sizes |= {"memory_dim": config["memsize"], "head_dim": config["outConfig"]["shapes"]}
        return MFN(spec, TASK, hidden_dims=dims, **sizes, **options)
    options |= {"text_out": config["text_out"], "fusion_dim": config["post_fusion_dim"]}
    return (TFN if name == "tfn" else LFDNN)(spec, TASK, hidden_dims=dims, **options)


def load(name: str, **options: Any) -> tuple[Backbone, Batch, Case]:
    case = golden(name)
    x = {modality: case.inputs[modality] for modality in LETTERS}
    shapes: dict[str, Any] = {f"{modality}_dim": value.shape[2] for modality, value in x.items()}
    shapes |= {f"{modality}_len": value.shape[1] for modality, value in x.items()}
    spec = DataSpec(**shapes, aligned=name in ("ef_lstm", "mfn"))
    model = build(name, spec, case.config, **options).eval()
    report = load_released(model, {f"Model.{key}": value for key, value in case.params.items()}, source="mmsa")
    assert set(report.unused) == ({"Model.output_range", "Model.output_shift"} if name == "tfn" else set())
    assert all(key.endswith("num_batches_tracked") for key in report.kept)
    text, audio, vision = (Modality(value, torch.ones(value.shape[:2]).bool()) for value in x.values())
    labels = case.inputs["labels"]
    return model, Batch(text, audio, vision, target=labels, index=torch.arange(len(labels))), case


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_scores_and_loss(name: str) -> None:
    model, batch, case = load(name)
    output = model(batch)
    close(output.logits, case.outputs["M"])
    close(TASK.criterion(output.logits, batch.target).mean(), case.outputs["loss.l1"])
    assert output.logits.std() > 1e-4  # otherwise the biases alone would do


@pytest.mark.parametrize("name", ["tfn", "lmf", "lf_dnn"])
def test_vectors_and_their_fusion(name: str) -> None:
    model, batch, case = load(name)
    assert isinstance(model, (TFN, LMF, LFDNN))
    vectors = model.subnets(model.in_use(batch.text, batch.audio, batch.vision))
    for modality, letter in LETTERS.items():
        close(vectors[modality], case.outputs[f"Feature_{letter}"])
    ordered = list(vectors.values())
    fused = {"tfn": tensor_fusion(ordered), "lmf": model(batch).features, "lf_dnn": torch.cat(ordered, 1)}
    close(fused[name], case.outputs["Feature_f"])


def test_memory_and_states() -> None:
    model, batch, case = load("mfn")
    close(model(batch).features, case.outputs["L"])


@pytest.mark.parametrize("name", ["tfn", "lmf", "lf_dnn", "mfn"])
def test_without_padding_the_option_to_read_it_changes_nothing(name: str) -> None:
    model, batch, case = load(name, mask_padding=False)
    assert model.fixed_length
    close(model(batch).logits, case.outputs["M"])


def test_only_scores_of_a_regression_are_squashed() -> None:
    model, batch, _ = load("tfn")
    with torch.no_grad():
        model.head.bias.fill_(50.0)  # type: ignore[operator]
    assert model(batch).logits.tolist() == [[3.0]] * 3
    spec = DataSpec()
    batch = Batch.random(spec, TASK, size=3)
    for other in (TFN(spec, SentimentClassification(3)), TFN(spec, TASK, squash=False)):
        with torch.no_grad():
            other.head.bias.fill_(50.0)  # type: ignore[operator]
        assert (other.eval()(batch).logits > 10).all()
    model.drop_head()
    assert model.classify(torch.full((2, 7), 9.0)).tolist() == [[9.0] * 7] * 2
