"""The unimodal branches, the paper's against the released code's golden vectors."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel
from typing_extensions import override

from mer_zoo.batch import DataSpec
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.wrappers.causalmer.branches import AlbertBranch, GRUBranch, ResNetBranch, build_branches, reads_mask

GOLDEN = Path(__file__).parents[2] / "golden"
TINY: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
DIMS = {"text": 6, "audio": 5, "vision": 4}


def load(stem: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return load_file(GOLDEN / f"{stem}.safetensors"), json.loads((GOLDEN / f"{stem}.json").read_text())


def close(actual: Tensor | None, expected: Tensor, tolerance: float) -> None:
    assert actual is not None
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def test_released_text_branch_and_its_gradients() -> None:
    tensors, about = load("causalmer_branch_text")
    options = {name: value for name, value in about["config"]["albert"].items() if name != "vocab_size"}
    branch = AlbertBranch(300, length=10, outputs=8, albert=options).eval()
    state = {key.removeprefix("param."): value for key, value in tensors.items() if key.startswith("param.")}
    report = load_released(branch, state, source="causalmer")
    assert all("never" in reason for reason in report.unused.values())
    hidden: list[Tensor] = []
    branch.albert.register_forward_hook(lambda _module, _args, output: hidden.append(output.last_hidden_state))
    logits = branch(tensors["in.x_l"])
    close(hidden[0], tensors["out.hidden"], 1e-5)
    close(logits, tensors["out.logits"], 1e-5)
    (logits * tensors["in.cot"]).sum().backward()
    gradients = {key.removeprefix("grad."): value for key, value in tensors.items() if key.startswith("grad.")}
    assert gradients
    for key, value in gradients.items():
        close(branch.get_parameter(report.used[key]).grad, value, 1e-5)


def from_formula(entry: dict[str, Any]) -> Tensor:
    """A tensor of the released ResNet's golden case, which is given by a hash of each element's place."""
    shape = entry["shape"]
    if entry["j"] is None:
        return torch.tensor(0)
    i = np.arange(math.prod(shape), dtype=np.uint64)
    x = (i * 2654435761 + entry["j"] * 2246822519 + 374761393) % 2**32
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        x = (x ^ (x >> np.uint64(shift))) * factor % 2**32
    u = (x ^ (x >> np.uint64(16))) / 2**32 - 0.5
    fan_in = math.prod(shape[1:])
    scales = {"u*sqrt(12)*sqrt(2/fan_in)": (0, math.sqrt(24 / fan_in)), "1+0.4*u": (1, 0.4), "1+0.8*u": (1, 0.8)}
    scales |= {"0.4*u": (0, 0.4), "u/sqrt(fan_in)": (0, 1 / math.sqrt(fan_in))}
    offset, scale = scales[entry["value"]]
    return torch.from_numpy(offset + scale * u).float().view(shape)


@pytest.mark.parametrize("name", ["audio", "vision"])
def test_released_resnet_branches(name: str) -> None:
    tensors, about = load(f"causalmer_branch_{name}")
    branch = ResNetBranch(about["config"]["output_dim"]).eval()
    state = {entry["key"].split(".", 1)[1]: from_formula(entry) for entry in about["parameters"]}
    branch.resnet.load_state_dict(state)
    seen: dict[str, Tensor] = {}
    for layer in ("conv1", "layer1", "avgpool"):
        branch.resnet.get_submodule(layer).register_forward_hook(
            lambda _module, _args, output, layer=layer: seen.update({layer: output})
        )
    logits = branch(tensors["in.x"])
    close(seen["conv1"][:, :, 0], tensors["out.conv1_row"], 1e-4)
    close(seen["layer1"].mean((2, 3)), tensors["out.layer1_mean"], 1e-4)
    close(seen["avgpool"].flatten(1), tensors["out.pooled"], 1e-4)
    close(logits, tensors["out.logits"], 1e-4)


def test_paper_sizes_are_those_of_albert_base() -> None:
    with torch.device("meta"):
        config = AlbertBranch(300, length=50, outputs=3).albert.config
    sizes = (config.embedding_size, config.hidden_size, config.intermediate_size)
    assert sizes == (128, 768, 3072)
    assert (config.num_hidden_layers, config.num_attention_heads) == (12, 12)


@pytest.mark.parametrize(("steps", "dim"), [(1, 1), (6, 5), (32, 32), (33, 4)])
@pytest.mark.parametrize("size", [1, 2])
def test_resnet_trains_on_one_sample_and_tiny_images(size: int, steps: int, dim: int) -> None:
    branch = ResNetBranch(3)
    loss = branch(torch.randn(size, steps, dim)).square().sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in branch.parameters())


def test_resnet_gradients_on_narrow_images_under_autocast() -> None:
    torch.manual_seed(0)
    branch, x = ResNetBranch(3), torch.randn(8, 40, 5)
    found = []
    for enabled in (False, True, True, True):
        branch.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = branch(x).float().logsumexp(1).sum()
        loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in branch.parameters() if p.grad is not None]))
    for gradient in found[1:]:
        assert torch.linalg.vector_norm(gradient - found[0]) < 0.1 * torch.linalg.vector_norm(found[0])


@pytest.mark.parametrize("kind", ["paper", "light"])
def test_gradient_reaches_every_parameter(kind: str) -> None:
    spec = DataSpec()
    branches = build_branches(kind, spec, DIMS, outputs=3, albert=TINY)
    for name, branch in branches.items():
        x = torch.randn(4, spec.length(name), DIMS[name])
        extra = {"mask": torch.ones(x.shape[:2], dtype=torch.bool)} if reads_mask(branch) else {}
        branch(x, **extra).square().sum().backward()
        assert [key for key, p in branch.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("front", [0, 3])
def test_light_branch_does_not_see_padding(front: int) -> None:
    torch.manual_seed(0)
    branch = GRUBranch(5, 3).eval()
    x = torch.randn(2, 4, 5)
    padded = torch.cat([torch.randn(2, front, 5), x, torch.randn(2, 3 - front, 5)], 1)
    mask = torch.zeros(2, 7, dtype=torch.bool)
    mask[:, front : front + 4] = True
    close(branch(padded, mask), branch(x, torch.ones(2, 4, dtype=torch.bool)), 1e-6)


def test_light_branch_of_a_sample_without_steps() -> None:
    branch = GRUBranch(5, 3)
    close(branch(torch.randn(1, 4, 5), torch.zeros(1, 4, dtype=torch.bool))[0], branch.head.bias, 0)


def test_pretrained_albert_from_a_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = AlbertModel(AlbertConfig(vocab_size=20, embedding_size=12, **TINY))
    saved.save_pretrained(tmp_path)
    branch = AlbertBranch(300, length=6, outputs=3, albert=str(tmp_path)).eval()
    assert branch.project.out_features == 12
    x = torch.randn(2, 6, 300)
    saved.train(False)
    states = saved(inputs_embeds=branch.project(x)).last_hidden_state
    close(branch(x), branch.head(states.mean(1)), 1e-6)


def test_albert_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(
        MERError, match="no pretrained ALBERT at .*nowhere'; give a folder with the files of albert-base"
    ):
        AlbertBranch(300, 6, 3, albert=str(tmp_path / "nowhere"))
    with pytest.raises(MERError, match="no pretrained ALBERT at"):
        AlbertBranch(300, 6, 3, albert=str(tmp_path))
    BertModel(BertConfig(vocab_size=20, **TINY)).save_pretrained(tmp_path)
    with pytest.raises(MERError, match="holds a bert model, but the text branch needs ALBERT"):
        AlbertBranch(300, 6, 3, albert=str(tmp_path))
    with pytest.raises(MERError, match="albert sets 'hidden', which ALBERT does not have"):
        AlbertBranch(300, 6, 3, albert={"hidden": 8})
    for bad in ({"num_attention_heads": 3}, {"hidden_size": -8}, {"hidden_size": "wide"}):
        with pytest.raises(MERError, match="can't be built .* change its sizes"):
            AlbertBranch(300, 6, 3, albert=TINY | bad)
    with pytest.raises(MERError, match="4 positions, but text has 6 steps"):
        AlbertBranch(300, 6, 3, albert={**TINY, "max_position_embeddings": 4})


class Mine(nn.Module):
    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x * mask[..., None]).sum((1, 2))[:, None].expand(-1, 3)


def test_own_modules_beside_named_kinds() -> None:
    mine = Mine()
    built = build_branches({"text": mine, "vision": "paper"}, DataSpec(), DIMS, outputs=3)
    assert built["text"] is mine
    assert [type(branch) for branch in built.values()] == [Mine, GRUBranch, ResNetBranch]
    two = build_branches({"vision": mine}, DataSpec(modalities=["text", "audio"]), DIMS, outputs=3)
    assert list(two) == ["text", "audio"]


def test_unknown_branches() -> None:
    with pytest.raises(MERError, match="the text branch is 'heavy'; choose paper, light or a module"):
        build_branches("heavy", DataSpec(), DIMS, outputs=3)
    with pytest.raises(MERError, match="branches names 'video'; choose from text, audio, vision"):
        build_branches({"video": "light"}, DataSpec(), DIMS, outputs=3)
