"""CausalMER against the released code's golden vectors: loss, gradients, prediction, checkpoint."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from toys import loss_of
from typing_extensions import override

from mer_zoo.backbones import MulT
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.functional.counterfactual import Fusion
from mer_zoo.model import Backbone
from mer_zoo.task import EmotionDetection, SentimentClassification, Task
from mer_zoo.wrappers import CausalMER

GOLDEN = Path(__file__).parents[2] / "golden"
SPEC = DataSpec()
TASKS: dict[int, Task] = {2: SentimentClassification(2), 7: SentimentClassification(7), 8: EmotionDetection()}
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
RELEASED = {"mask": "mask", "sum": "sum", "harmonic": "hm", "tanh": "tanh"}
LETTERS = dict(zip(MODALITIES, "tav", strict=True))
TINY_ALBERT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


class Given(nn.Module):
    """A branch that returns given logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.logits


class GivenBackbone(Backbone):
    """A network that returns given logits."""

    def __init__(self, task: Task, logits: Tensor) -> None:
        super().__init__(SPEC, task)
        self.logits, self.feature_dim = nn.Parameter(logits.clone()), 1

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        return Output(self.task.reshape(self.logits), self.logits[:, :1])


def golden(stem: str, classes: int, **options: Any) -> tuple[dict[str, Tensor], CausalMER, Batch]:
    tensors = load_file(GOLDEN / f"{stem}_k{classes}.safetensors")
    branches = {name: Given(tensors[f"in.y_{letter}"]) for name, letter in LETTERS.items()}
    model = CausalMER(GivenBackbone(TASKS[classes], tensors["in.y_m"]), branches=branches, **options)
    for name, letter in LETTERS.items():
        model.constants[name].data.copy_(tensors[f"in.c_{letter}"])
    return tensors, model, Batch.random(SPEC, TASKS[classes], size=4)


@pytest.mark.parametrize("classes", [2, 7, 8])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_released_loss_and_gradients(fusion: Fusion, classes: int) -> None:
    tensors, model, batch = golden("causalmer_loss", classes, fusion=fusion, variant="released", alpha=0.1, beta=1.0)
    labels = tensors["in.labels"]
    loss = loss_of(model, batch.replace(target=labels.view(4, 4) if classes == 8 else labels))
    close(loss, tensors[f"out.{RELEASED[fusion]}.loss"])
    loss.backward()  # type: ignore[no-untyped-call]
    expected = {key: value for key, value in tensors.items() if key.startswith(f"grad.{RELEASED[fusion]}.")}
    leaves = {"y_m": model.get_parameter("backbone.logits")}
    for name, letter in LETTERS.items():
        leaves[f"y_{letter}"] = model.get_parameter(f"branches.{name}.logits")
        leaves[f"c_{letter}"] = model.constants[name]
    assert len(expected) == len(leaves)
    for key, value in expected.items():
        leaf = leaves[key.rsplit(".", 1)[1]]
        close(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad, value)


@pytest.mark.parametrize("classes", [2, 7, 8])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_released_prediction(fusion: Fusion, classes: int) -> None:
    tensors, model, batch = golden("causalmer_effects", classes, fusion=fusion, variant="released")
    output = model.predict(batch)
    names = {"factual": "logits_te", "tie": "logits_causal_mer", "te": "z_te", "y_m": "logits_m"}
    for name, letter in LETTERS.items():
        names |= {f"nde_{name}": f"z_nde_{letter}", f"y_{name}": f"logits_{letter}"}
    assert output.effects.keys() == names.keys()
    for ours, theirs in names.items():
        close(output.effects[ours].flatten(1), tensors[f"out.{RELEASED[fusion]}.{theirs}"])
    assert torch.equal(output.logits, output.effects["tie"])
    close(model(batch).logits.flatten(1), tensors[f"out.{RELEASED[fusion]}.logits_te"])


def released_names(key: str) -> str:
    for ours, theirs in {
        "branches.audio.resnet.": "a_branch.",
        "branches.vision.resnet.": "v_branch.",
        "branches.text.project.": "t_branch.linear_transformation.",
        "branches.text.albert.": "t_branch.model.",
        "branches.text.head.": "t_branch.text_mlp.",
        "constants.text": "c_t",
        "constants.audio": "c_a",
        "constants.vision": "c_v",
    }.items():
        key = key.replace(ours, theirs)
    return key


def test_released_checkpoint_of_the_whole_model() -> None:
    tensors = load_file(GOLDEN / "causalmer_mult_iemocap.safetensors")
    config = json.loads((GOLDEN / "causalmer_mult_iemocap.json").read_text())["config"]
    sizes = {
        f"{m}_{kind}": n
        for kind, key in (("len", "lens"), ("dim", "orig_d"))
        for m, n in zip(MODALITIES, config[key], strict=True)
    }
    spec, task = DataSpec(**sizes), EmotionDetection()

    def build() -> CausalMER:
        common: dict[str, Any] = {"dim": config["d_model"], "depth": config["layers"], "variant": "released"}
        return CausalMER(MulT(spec, task, kernels=(3, 5, 3), **common), branches="paper", albert=TINY_ALBERT).eval()

    theirs, model = build(), build()
    with torch.no_grad():
        for number, constant in enumerate(theirs.constants.values()):
            constant.fill_(number + 0.5)
    state = {released_names(k): v for k, v in theirs.state_dict().items() if not k.startswith("backbone.")}
    state |= {f"m_branch.{k.removeprefix('param.')}": v for k, v in tensors.items() if k.startswith("param.")}
    useless = {
        "t_branch.model.pooler.bias": torch.zeros(8),
        "t_branch.model.embeddings.word_embeddings.weight": torch.zeros(9, 128),
    }
    report = load_released(model, state | useless, source="causalmer")
    assert set(useless) <= set(report.unused)
    assert set(report.used.values()) == set(model.state_dict())
    for key, value in theirs.state_dict().items():
        assert key.startswith("backbone.") or torch.equal(model.state_dict()[key], value), key
    x = {name: tensors[f"in.x_{letter}"] for name, letter in zip(MODALITIES, "lav", strict=True)}
    views = {name: Modality(value, torch.ones(value.shape[:2], dtype=torch.bool)) for name, value in x.items()}
    output = model.predict(Batch.random(spec, task, size=3).replace(**views))
    close(output.effects["y_m"].flatten(1), tensors["out.output"])
    with pytest.raises(MERError, match=r"'a_branch.fc.gain' .* has no place in CausalMER"):
        load_released(model, {**state, "a_branch.fc.gain": torch.zeros(1)}, source="causalmer")
