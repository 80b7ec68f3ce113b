"""Networks of the DMD and DLF cases, with their parameters, and the batches they were run on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from golden_cases import Case
from torch import Tensor

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import LoadReport, load_released
from mer_zoo.model import Backbone
from mer_zoo.task import SentimentRegression, Task

LETTERS = {"text": "l", "audio": "a", "vision": "v"}


def build(
    network: Callable[..., Any], source: str, case: Case, options: dict[str, Any]
) -> tuple[Any, Batch, LoadReport]:
    """The network of a case in evaluation mode, its batch, and what became of its parameters."""
    config = case.config
    lens, dims = config["lens"], config["feature_dims"]
    spec = DataSpec(*dims, *lens)
    spec.tokens = "bert" in config
    encoder = None
    if "bert" in config:
        hidden = config["bert"]["hidden"]
        encoder = {"model_type": "bert", "hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 2}
        encoder |= {"intermediate_size": 2 * hidden, "max_position_embeddings": 64}
    kernels = tuple(config[f"conv1d_kernel_size_{letter}"] for letter in "lav")
    options = {"dim": config["d"], "heads": config["nheads"], "depth": config["nlevels"]} | options
    model: Backbone = network(
        spec, SentimentRegression(), text_encoder=encoder, kernels=kernels, causal=config["attn_mask"], **options
    )
    report = load_released(model, case.params, source)
    return model.eval(), batch_of(case), report


def batch_of(case: Case) -> Batch:
    text = case.inputs["text"]
    tokens = "bert" in case.config
    given = Modality(text[:, 0].long(), text[:, 1].bool()) if tokens else full(text)
    size = len(text)
    target = case.inputs["labels"]
    others = (full(case.inputs["audio"]), full(case.inputs["vision"]))
    return Batch(given, *others, target, torch.arange(size), [str(i) for i in range(size)], [""] * size)


def full(x: Tensor) -> Modality:
    return Modality(x, torch.ones(x.shape[:2], dtype=torch.bool))


def close(found: Tensor, case: Case, name: str) -> None:
    """An activation, to the stated tolerance."""
    torch.testing.assert_close(found, case.outputs[name], atol=1e-5, rtol=1e-4, msg=lambda text: f"{name}: {text}")


def close_loss(found: Tensor, expected: Tensor, name: str) -> None:
    torch.testing.assert_close(found, expected, atol=0, rtol=1e-5, msg=lambda text: f"{name}: {text}")


def gradients(model: Backbone, batch: Batch, task: Task) -> list[str]:
    """Names of the parameters without a finite gradient in a training step."""
    (step,) = model.train().steps(batch)
    loss = task.criterion(step.output.logits, batch.target).mean() + torch.stack(list(step.losses.values())).sum()
    torch.autograd.backward(loss)
    return [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]


def assert_shares_add_up(model: Backbone, joint: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All losses but the ``joint`` ones: their mean over two processes with uneven shares is that of the whole
    batch.
    """

    def cut(modality: Modality, rows: slice) -> Modality:
        return Modality(modality.x[rows], modality.mask[rows])

    model.eval()
    batch = Batch.random(model.spec, model.task, size=6)
    whole = model.losses(model(batch), batch)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda count: count.fill_(6))
    found = []
    for rows in (slice(0, 2), slice(2, 6)):
        text, audio, vision = (cut(batch.modality(name), rows) for name in MODALITIES)
        share = Batch(text, audio, vision, batch.target[rows], batch.index[rows])
        found.append(model.losses(model(share), share))
    for name in set(whole) - joint:
        torch.testing.assert_close((found[0][name] + found[1][name]) / 2, whole[name])
