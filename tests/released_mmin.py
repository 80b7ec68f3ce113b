"""The released cases of MMIN and IF-MMIN: their samples, what is missing of them, and their clipped gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from golden_cases import Case

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.model import Backbone
from mer_zoo.task import NominalClassification, SentimentRegression, Task

TASK = SentimentRegression()
CODES = ("audio", "vision", "text")  # the order of the released codes


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def batch_of(case: Case) -> tuple[DataSpec, Task, Batch]:
    """The samples of a case; a vector of an utterance is a sequence of one step."""
    given = {name: x if x.dim() == 3 else x[:, None] for name, x in case.inputs.items() if name in MODALITIES}
    shapes = [given[name].shape for name in MODALITIES]
    (text_dim, audio_dim, vision_dim), (text_len, audio_len, vision_len) = zip(
        *((s[2], s[1]) for s in shapes), strict=True
    )
    spec = DataSpec(text_dim, audio_dim, vision_dim, text_len, audio_len, vision_len)
    text, audio, vision = (Modality(given[n], torch.ones(given[n].shape[:2], dtype=torch.bool)) for n in MODALITIES)
    labels = case.inputs["labels"]
    task: Task = TASK if case.config["output_dim"] == 1 else NominalClassification([*"abcd"])
    target = labels if task is TASK else labels.long()
    return spec, task, Batch(text, audio, vision, target, torch.arange(len(labels)))


def with_codes(batch: Batch, codes: torch.Tensor) -> Batch:
    """Take away what the released codes have at 0."""

    def take(name: str) -> Modality:
        there = codes[:, [CODES.index(name)]] > 0
        modality = batch.modality(name)
        return Modality(modality.x * there[..., None], modality.mask, modality.mask & there)

    return batch.replace(**{name: take(name) for name in MODALITIES})


@contextmanager
def seeing(model: Backbone, codes: torch.Tensor) -> Iterator[None]:
    """Training views that have what codes say."""
    views = model.get_submodule("views")
    handle = views.register_forward_hook(lambda _, given, __: with_codes(given[0], codes))
    yield
    handle.remove()


def sizes(case: Case) -> dict[str, Any]:
    config = case.config
    return {
        "dim": config["embd"],
        "cascade_dims": config["AE_layers"],
        "blocks": config["n_blocks"],
        "head_dims": config["cls_layers"],
        "variant": "released",
    }


def task_loss(model: Backbone, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross entropy, or the port's squared error."""
    if model.task is TASK:
        return (logits.squeeze(1) - batch.target).square().mean()
    return model.task.criterion(logits, batch.target).mean()


def check_gradients(model: Backbone, used: dict[str, str], expected: dict[str, torch.Tensor], largest: float) -> None:
    """Those of each released part, clipped by themselves, are as expected."""
    parameters = dict(model.named_parameters())
    parts: dict[str, list[torch.nn.Parameter]] = {}
    for key, name in used.items():
        if name in parameters and not name.startswith("teacher."):
            parts.setdefault(key.removeprefix("student.").split(".")[0], []).append(parameters[name])
    for part in parts.values():
        torch.nn.utils.clip_grad_norm_(part, largest)
    assert len(expected) > 10
    for key, value in expected.items():
        ours = next(used[name] for name in (key, f"student.{key}") if name in used)
        close(parameters[ours].grad, value)


def stage_one_of(case: Case) -> dict[str, torch.Tensor]:
    return {key.removeprefix("teacher."): value for key, value in case.params.items() if key.startswith("teacher.")}
