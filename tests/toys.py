"""Small models that show one trait of the contract each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, DataSpec, Modality, Output, Step
from mer_zoo.distributed import distributed_mean
from mer_zoo.model import Backbone, Model, Wrapper
from mer_zoo.scores import Scores
from mer_zoo.task import Task

TINY_BERT: dict[str, Any] = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1}
TINY_BERT |= {"num_attention_heads": 2, "intermediate_size": 16}


class MeanNet(Backbone):
    """Masked means of the modalities through one hidden layer."""

    def __init__(self, spec: DataSpec, task: Task, width: int = 8) -> None:
        super().__init__(spec, task)
        self.feature_dim = width
        self.hidden = nn.Linear(sum(self.input_dims.values()), width)
        self.head = nn.Linear(width, task.num_outputs)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        means = []
        for name in self.spec.modalities:
            mask = given[name].mask[..., None]
            means.append((given[name].x * mask).sum(1) / mask.sum(1).clamp_min(1))
        features = torch.tanh(self.hidden(torch.cat(means, 1)))
        return Output(self.classify(features), features)


class TwoStep(Wrapper):
    """Trains on the batch, then on its negative, in two optimiser steps."""

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.num_steps = 2
        self.extra = nn.Linear(backbone.feature_dim, 1)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield Step(batch, self(batch))
        output = self(batch.replace(audio=batch.audio.replace(x=-batch.audio.x)))
        yield Step(batch, output, {"extra": distributed_mean(self.extra(output.features).square())}, task_weight=0.5)


class Shifting(Wrapper):
    """Learns a shift of the scores on validation data, and counts the training samples it saw."""

    shift: Tensor
    seen: Tensor
    prepared: Tensor

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.register_buffer("shift", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.register_buffer("prepared", torch.zeros((), dtype=torch.bool))

    @override
    def predict(self, batch: Batch) -> Output:
        output = self.backbone.predict(batch)
        effects = {"factual": output.logits, "raw": output.logits}
        return output.replace(logits=output.logits + self.shift, effects=effects)

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        self.seen += sum(len(batch) for batch in train)
        self.prepared.fill_(True)

    @override
    def calibrate(self, valid: Scores) -> None:
        super().calibrate(valid)
        self.shift.copy_((valid.target - valid.effects["raw"].squeeze(-1)).mean())

    @override
    def rescore(self, valid: Scores) -> Tensor:
        return valid.effects["raw"] + self.shift.cpu()


def step_loss(model: Model, step: Step) -> Tensor:
    """What MERModule would train on in one step."""
    task_loss = model.task.weighted(step.output.logits, step.batch.target, step.task_weight).mean()
    return torch.stack([task_loss, *step.losses.values()]).sum()


def loss_of(model: Model, batch: Batch) -> Tensor:
    """The sum over the steps of what MERModule would train on."""
    return torch.stack([step_loss(model, step) for step in model.steps(batch)]).sum()
