"""Parity with the released codes: golden vectors made by running them, see the JSON beside each file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.backbones import MulT
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.layers.positions import embed_positions, positions, sinusoid_table
from mer_zoo.layers.transformer import TransformerEncoder
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

GOLDEN = Path(__file__).parents[1] / "golden"
ENCODERS = sorted(path.stem for path in GOLDEN.glob("mult_*_encoder_*.safetensors"))
LETTERS = {"text": "l", "audio": "a", "vision": "v"}


def load(stem: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return load_file(GOLDEN / f"{stem}.safetensors"), json.loads((GOLDEN / f"{stem}.json").read_text())["config"]


def group(tensors: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{kind}."): value for key, value in tensors.items() if key.startswith(f"{kind}.")}


def close(actual: Tensor | None, expected: Tensor) -> None:
    assert actual is not None
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def assert_gradients(model: torch.nn.Module, used: dict[str, str], expected: dict[str, Tensor]) -> None:
    assert expected
    for key, value in expected.items():
        close(model.get_parameter(used[key]).grad, value)


@pytest.mark.parametrize("dim", [8, 9, 30])
def test_positions(dim: int) -> None:
    tensors, _ = load("mult_positional")
    close(sinusoid_table(23, dim), tensors[f"out.table_d{dim}"])
    for name in ("long", "short"):
        signal = tensors[f"in.sig_{name}"]
        x = torch.ones(*signal.shape, dim)
        x[..., 0] = signal
        close(positions(x, rule="released"), tensors[f"out.emb_d{dim}_{name}"])


@pytest.mark.parametrize("stem", ENCODERS)
def test_encoder(stem: str) -> None:
    tensors, config = load(stem)
    encoder = TransformerEncoder(20, config["num_heads"], config["layers"], causal=config["attn_mask"]).eval()
    report = load_released(encoder, group(tensors, "param"))
    assert sorted(report.unused) == ["embed_positions._float_tensor", "version"]
    inputs = {key: value.clone().requires_grad_() for key, value in group(tensors, "in").items() if key != "cot"}
    embedded = [embed_positions(value.transpose(0, 1), rule="released") for value in inputs.values()]
    layers: list[Tensor] = []
    for layer in encoder.layers:
        layer.register_forward_hook(lambda _module, _args, output: layers.append(output))
    y = encoder(*embedded).transpose(0, 1)
    close(y, tensors["out.y"])
    for i, layer_output in enumerate(layers):
        close(layer_output.transpose(0, 1), tensors[f"out.layer_{i}"])
    torch.autograd.backward((y * tensors["in.cot"]).sum())
    gradients = group(tensors, "grad")
    for key, value in inputs.items():
        # LayerNorm multiplies the gradient of an all-zero frame by 316, the released code's rounding errors with it; a
        # frame is therefore compared on its own scale. (In double precision the released numbers are off by as much.)
        expected = gradients.pop(f"in.{key}")
        scale = expected.abs().amax(-1, keepdim=True).clamp(min=1)
        assert value.grad is not None
        close(value.grad / scale, expected / scale)
    assert_gradients(encoder, report.used, gradients)


def build(tensors: dict[str, Tensor], config: dict[str, Any], **options: Any) -> tuple[MulT, Batch]:
    x = {name: tensors[f"in.x_{letter}"] for name, letter in LETTERS.items()}
    sizes: dict[str, Any] = {f"{name}_dim": value.shape[2] for name, value in x.items()}
    sizes |= {f"{name}_len": value.shape[1] for name, value in x.items()}
    tasks: dict[int, Task] = {8: EmotionDetection(), 7: SentimentClassification(7), 1: SentimentRegression()}
    common = {"dim": config["d_model"], "depth": config["layers"], "variant": "released"} | options
    model = MulT(DataSpec(**sizes), tasks[config["output_dim"]], **common).eval()
    text, audio, vision = (Modality(value, torch.ones(value.shape[:2], dtype=torch.bool)) for value in x.values())
    target = tensors.get("in.labels", torch.zeros(len(text.x)))
    return model, Batch(text, audio, vision, target, torch.arange(len(target)))


def run(model: MulT, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Logits, what enters the residual block, and the output of every encoder, time first."""
    seen: dict[str, Tensor] = {}
    r: list[Tensor] = []

    def record(name: str) -> Callable[[torch.nn.Module, Any, Tensor], None]:
        return lambda _module, _args, output: seen.update({name: output.transpose(0, 1)})

    for name, module in model.crossmodal.named_children():
        module.register_forward_hook(record(name))
    model.joint.fc1.register_forward_pre_hook(lambda _module, args: r.append(args[0]))
    output = model(batch)
    assert output.hidden is not None
    seen.update({name: states.transpose(0, 1) for name, states in output.hidden.items()})
    return output.logits, r[0], seen


@pytest.mark.parametrize("stem", ["mult_full_lonly", "mult_full_out1", "mult_full_out8"])
def test_whole_mult(stem: str) -> None:
    tensors, config = load(stem)
    targets = ["text"] if not config["aonly"] else None
    options = {"heads": config["num_heads"], "causal": config["attn_mask"], "targets": targets}
    model, batch = build(tensors, config, **options)
    report = load_released(model, group(tensors, "param"))
    real = [key for key in report.unused if not key.endswith((".version", "._float_tensor"))]
    skipped = {
        "mult_full_lonly": ("trans_a_mem.", "trans_v_mem."),
        "mult_full_out1": ("proj_a.",),
        "mult_full_out8": (),
    }
    assert all(key.startswith(skipped[stem]) for key in real)
    assert bool(real) == bool(skipped[stem])
    logits, r, seen = run(model, batch)
    close(logits.flatten(1), tensors["out.output"])
    close(r, tensors["out.last_hs"])
    for name, letter in LETTERS.items():
        for other, source in LETTERS.items():
            if name in model.targets and other != name:
                close(seen[f"{name}_from_{other}"], tensors[f"out.h_{letter}_with_{source}"])
        if name in model.targets:
            close(seen[name], tensors[f"out.h_{letter}_mem"])
    if config["output_dim"] == 8:
        loss = F.cross_entropy(logits.flatten(0, 1), batch.target.flatten())
    else:
        loss = (logits - batch.target).abs().mean()
    close(loss, tensors["out.loss"])
    torch.autograd.backward(loss)
    assert_gradients(model, report.used, group(tensors, "grad"))
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("stem", "kernels"), [("causalmer_mult_iemocap", (3, 5, 3)), ("causalmer_mult_mosei", (1, 3, 3))]
)
def test_mult_of_causalmer(stem: str, kernels: tuple[int, int, int]) -> None:
    tensors, config = load(stem)
    model, batch = build(tensors, config, heads=10, kernels=kernels)
    load_released(model, group(tensors, "param"))
    logits, r, _ = run(model, batch)
    close(logits.flatten(1), tensors["out.output"])
    close(r, tensors["out.last_hs"])
    hidden = model(batch).hidden
    assert hidden is not None
    assert model.hidden_shape == {name: tuple(value.shape[1:]) for name, value in hidden.items()}


def encoder_and_state() -> tuple[TransformerEncoder, dict[str, Tensor]]:
    tensors, config = load("mult_self_encoder_masked")
    return TransformerEncoder(20, config["num_heads"], config["layers"]), group(tensors, "param")


def test_refuses_what_does_not_fit_and_changes_nothing() -> None:
    encoder, state = encoder_and_state()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(MERError, match="unknown source 'cider2'"):
        load_released(encoder, state, source="cider2")
    with pytest.raises(MERError, match=r"'extra.weight' .* has no place in TransformerEncoder"):
        load_released(encoder, {**state, "extra.weight": torch.zeros(1)})
    with pytest.raises(MERError, match=r"lacks 'norm.bias' and 0 more"):
        load_released(encoder, {key: value for key, value in state.items() if key != "layer_norm.bias"})
    with pytest.raises(MERError, match=r"shape \(3,\) in the checkpoint, \(20,\) here"):
        load_released(encoder, {**state, "layer_norm.bias": torch.zeros(3)})
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, before[key])
