"""MACI's head against the released code's golden vectors, and its size as published."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.functional.backdoor import backdoor_adjustment
from mer_zoo.wrappers.maci.backdoor import BackdoorHead, BackdoorHeads

GOLDEN = Path(__file__).parents[2] / "golden"
MODALITIES = {"text": "l", "audio": "a", "vision": "v"}
MOSI = {"text": 768, "audio": 5, "vision": 20}


def our_key(key: str) -> str:
    for name, letter in MODALITIES.items():
        key = key.replace(f"cls_encoders_{letter}.", f"encoders.{name}.")
    return key


def golden_head(stem: str) -> tuple[BackdoorHead, dict[str, Tensor], dict[str, Any]]:
    tensors = load_file(GOLDEN / f"{stem}.safetensors")
    config = json.loads((GOLDEN / f"{stem}.json").read_text())["config"]["hyp"]
    widths = {name: config[f"orig_d_{letter}"] for name, letter in MODALITIES.items()}
    dim = config["embed_dim"]
    head = BackdoorHead(3 * dim, widths, config["output_dim"], dim, layer_norm=config["cross_dataset"])
    released = {key.removeprefix("param."): value for key, value in tensors.items() if key.startswith("param.")}
    head.load_state_dict({our_key(key): value for key, value in released.items()})
    return head, tensors, config


@pytest.mark.parametrize("stem", ["cider_mcm", "cider_mcm_cross_dataset"])
def test_golden(stem: str) -> None:
    head, tensors, config = golden_head(stem)
    features = tensors["in.rep"].clone().requires_grad_()
    # the released code repeats the features of a class for every sample
    classes = [tensors[f"in.cls_feat_{i}"][0] for i in range(config["output_dim"])]
    joint = torch.stack(classes).requires_grad_()
    widths = [config[f"orig_d_{letter}"] for letter in MODALITIES.values()]
    means = dict(zip(MODALITIES, torch.split(joint, widths, dim=1), strict=True))
    output = head(features, means, tensors["in.cls_probs"][0])
    torch.testing.assert_close(output, tensors["out.pred"], atol=1e-5, rtol=1e-5)

    (output * tensors["in.cot"]).sum().backward()
    found = {name: parameter.grad for name, parameter in head.named_parameters()}
    wanted = {our_key(k.removeprefix("grad.")): v for k, v in tensors.items() if k.startswith("grad.")}
    inputs = {name: wanted.pop(name) for name in list(wanted) if name.startswith("in.")}
    assert len(wanted) == 9 + 2 * config["output_dim"]
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5, msg=name)
    torch.testing.assert_close(features.grad, inputs.pop("in.rep"), atol=1e-5, rtol=1e-5)
    per_class = torch.stack([inputs[f"in.cls_feat_{i}"].sum(0) for i in range(config["output_dim"])])
    torch.testing.assert_close(joint.grad, per_class, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize(("num_classes", "count"), [(3, 33_545), (7, 41_265)])
def test_published_parameters(num_classes: int, count: int, layer_norm: bool) -> None:
    heads = BackdoorHeads(96, MOSI, (num_classes,), layer_norm=layer_norm)
    assert sum(p.numel() for p in heads.parameters()) == count


def test_layer_norm_is_in_the_encoders_of_audio_and_vision_only() -> None:
    head = BackdoorHead(4, MOSI, 3, layer_norm=True)
    kinds = {name: [type(layer).__name__ for layer in mlp.children()] for name, mlp in head.encoders.named_children()}
    assert kinds["text"] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    normed = ["Linear", "LayerNorm", "ReLU", "Linear", "LayerNorm", "ReLU", "Linear"]
    assert kinds["audio"] == kinds["vision"] == normed


def test_head_is_the_formula_one_classifier_at_a_time() -> None:
    head, tensors, config = golden_head("cider_mcm")
    features, prior = tensors["in.rep"], tensors["in.cls_probs"][0]
    means = {name: torch.randn(3, config[f"orig_d_{letter}"]) for name, letter in MODALITIES.items()}
    h = torch.cat([head.encoders[name](mean) for name, mean in means.items()], 1)
    z = [c(torch.cat([features, h[i].expand(4, -1)], 1)) for i, c in enumerate(head.classifiers)]
    torch.testing.assert_close(head(features, means, prior), backdoor_adjustment(torch.stack(z, 1), prior))


def test_test_scores_take_every_class_alike() -> None:
    torch.manual_seed(0)
    heads = BackdoorHeads(5, {"audio": 4}, (2, 3))
    means, prior = torch.randn(2, 3, 4), torch.tensor([[0.7, 0.1, 0.2], [0.2, 0.2, 0.6]])
    heads.set_statistics(prior, {"audio": means})
    features = [torch.randn(6, 5), torch.randn(6, 5)]
    found = heads.test_scores(features)
    for g, head in enumerate(heads.heads):
        everywhere = {"audio": means[g].mean(0).expand(3, -1)}
        torch.testing.assert_close(found[:, g], head(features[g], everywhere, torch.full((3,), 1 / 3)))
        torch.testing.assert_close(heads(features[0])[:, g], head(features[0], {"audio": means[g]}, prior[g]))
    assert found.shape == (6, 2, 3)
    assert {name: tuple(b.shape) for name, b in heads.named_buffers()} == {"prior": (2, 3), "mean_audio": (2, 3, 4)}
