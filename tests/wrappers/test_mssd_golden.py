"""A whole training iteration of CIDer against the released code's, gradients and parameters of both optimiser steps."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from mer_zoo.backbones import CIDerNet
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.data.missing.pattern import MissingPattern
from mer_zoo.module import MERModule
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers import MACI, MSSD

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "cider_train_step.safetensors")
CONFIG: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "cider_train_step.json").read_text())[
    "config"
]
HYP, BERT = CONFIG["hyp"], CONFIG["bert"]


def group(kind: str) -> dict[str, Tensor]:
    return {name.removeprefix(kind): value.clone() for name, value in GOLDEN.items() if name.startswith(kind)}


def view(suffix: str = "") -> Batch:
    x = group("in.")
    modalities: dict[str, Any] = {}
    for name in MODALITIES:
        values = x[f"{name}{suffix}"]
        mask = x[f"{name}_mask"].bool()
        observed = x[f"{name}_missing_mask"].bool() if suffix else mask
        modalities[name] = Modality(values[:, 0].long() if name == "text" else values, mask, observed)
    return Batch(**modalities, target=x["labels"], index=torch.arange(len(x["labels"])))


class Given(MissingPattern):
    """What the golden case drops."""

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        return {name: view("_m").modality(name).observed for name in MODALITIES}


def build() -> tuple[MSSD, dict[str, str]]:
    """CIDer with the case's parameters and statistics; the released names with ours."""
    dims = {"text_dim": HYP["orig_d_l"], "audio_dim": HYP["orig_d_a"], "vision_dim": HYP["orig_d_v"]}
    lengths = {"text_len": HYP["l_len"], "audio_len": HYP["a_len"], "vision_len": HYP["v_len"]}
    spec = DataSpec(**dims, **lengths, tokens=True, vocab_size=BERT["vocab_size"])
    options: dict[str, Any] = {"dim": HYP["embed_dim"], "heads": HYP["num_heads"], "depth": HYP["multimodal_layers"]}
    options |= {"positions": "released", "relu_dropout": 0.0, "res_dropout": 0.0}
    net = CIDerNet(spec, SentimentClassification(HYP["output_dim"]), {"model_type": "bert", **BERT}, **options)
    maci = MACI(net, dim=HYP["embed_dim"])
    weights = {"alpha": CONFIG["w_recon"], "beta": CONFIG["w_attn"], "gamma": CONFIG["w_joint"]}
    model = MSSD(maci, **weights, accumulate_stage_gradients=True)
    model.views.pattern = Given()
    names = load_released(model, group("param."), "cider").used
    x = group("in.")
    # Every sample comes with the same statistics, each class's vectors of the three modalities in a row.
    vectors = torch.stack([x[f"cls_feat_{i}"][:1] for i in range(HYP["output_dim"])], 1)
    means = dict(zip(MODALITIES, torch.split(vectors, list(dims.values()), 2), strict=True))
    maci.head.set_statistics(x["cls_probs"][:1], means)
    maci.prepared.fill_(True)
    return model, names


class Watch(Callback):
    """Keeps the gradients and the parameters that each optimiser step finds."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, Tensor | None]] = []
        self.parameters: list[dict[str, Tensor]] = []

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        named = dict(pl_module.model.named_parameters())
        self.gradients.append({name: None if p.grad is None else p.grad.clone() for name, p in named.items()})
        self.parameters.append({name: p.detach().clone() for name, p in named.items()})


Iteration = tuple[Watch, MSSD, dict[str, str], dict[str, Tensor]]


@pytest.fixture(scope="module")
def iteration() -> Iteration:
    model, names = build()
    small: dict[str, float] = {"lr": CONFIG["lr_bert"], "weight_decay": 0.0}
    groups = {"*.text_encoder.*bias": small, "*.text_encoder.*LayerNorm*": small}
    groups["*.text_encoder.*"] = {"lr": CONFIG["lr_bert"], "weight_decay": CONFIG["wd_bert"]}
    module = MERModule(model, optimizer=lambda p: torch.optim.Adam(p, lr=CONFIG["lr"]), param_groups=groups)
    watch = Watch()
    switches = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "limit_val_batches")
    options: dict[str, Any] = dict.fromkeys(switches, 0)
    trainer = Trainer(accelerator="cpu", max_epochs=1, callbacks=[watch], **options)
    batches: DataLoader[Any] = DataLoader([view()], batch_size=None)  # type: ignore[arg-type]
    trainer.fit(module, batches, batches)
    return watch, model, names, dict(trainer.callback_metrics)


def test_losses(iteration: Iteration) -> None:
    logged, expected = iteration[3], group("out.")
    recon = torch.stack([expected[f"loss_recon_{name}"] for name in ("text", "audio", "video")]).sum()
    wanted = {
        "train/mssd/recon": CONFIG["w_recon"] * recon,
        "train/mssd/attention": CONFIG["w_attn"] * expected["loss_attn"],
        "train/mssd/joint": CONFIG["w_joint"] * expected["loss_joint_rep"],
        "train/loss": expected["loss_task"] + expected["combined_loss"],
    }
    for name, value in wanted.items():
        torch.testing.assert_close(logged[name], value, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize("step", [1, 2])
def test_gradients_that_each_step_sees(iteration: Iteration, step: int) -> None:
    watch, _, names, _ = iteration
    for key, expected in group(f"grad.step{step}.").items():
        actual = watch.gradients[step - 1][names[key]]
        if actual is None:  # a decoder in the first stage
            actual = torch.zeros_like(expected)
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5, msg=key)


def test_parameters_after_each_step(iteration: Iteration) -> None:
    watch, model, names, _ = iteration
    after = [watch.parameters[1], {name: p.detach() for name, p in model.named_parameters()}]
    for step, parameters in enumerate(after, 1):
        for key, expected in group(f"out.step{step}.param.").items():
            torch.testing.assert_close(parameters[names[key]], expected, atol=1e-4, rtol=1e-4)
