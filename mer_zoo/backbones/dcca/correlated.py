"""What DCCA and DCCAE share: a network for each modality, what stands for a missing one, and two stages."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from typing_extensions import Self, override

from mer_zoo.batch import Batch, BatchSource, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.drop import unobserved
from mer_zoo.data.missing.sets import AtLeastOne
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.canonical import canonical_loss
from mer_zoo.functional.precision import widen
from mer_zoo.layers.batch_norm import BatchNorm
from mer_zoo.layers.sequence import observed_means
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task
from mer_zoo.training.modes import evaluating
from mer_zoo.training.stage_one import continue_stage_one

__all__ = ["Correlated", "Projected", "Variant", "perceptron"]

Variant = Literal["ours", "released"]
ORDER = ("audio", "vision", "text")  # of the projections side by side


class Projected(NamedTuple):
    """Vectors of the modalities and what their networks make of them.

    Args:
        x: Modality to (B, D_m), the mean of training samples where it is missing.
        z: Modality to (B, k).
    """

    x: dict[str, Tensor]
    z: dict[str, Tensor]


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear maps from width to width, batch normalisation and a ReLU behind each but the last.

    Args:
        widths: At least two.

    Example:
        >>> [type(layer).__name__ for layer in perceptron([3, 4, 2])]
        ['Linear', 'BatchNorm', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), BatchNorm(after), nn.ReLU()]
    return nn.Sequential(*layers[:-2])


class Correlated(Backbone, ABC):
    """A network for each modality, drawn to correlate with the others, and a linear classifier of all.

    Args:
        spec: Shapes of the data.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        pretrained: Checkpoint of a run of the same network, whose networks are kept as they are.
        rate: Share of the modalities that are missing in training.
        dim: Width k of a projection.
        hidden_dim: Width of the layers before.
        task_weight: Weight of the task's loss.
        weights: Of the other losses, by their names.
        decodes: Whether networks lead back from projections.
        variant: "ours" or "released".
        seed: Of what is missing in training.
    """

    prepared: Tensor
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"pretrained": ()}

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec,
        pretrained: str | None,
        rate: float,
        dim: int,
        hidden_dim: int,
        task_weight: float,
        weights: Mapping[str, float],
        decodes: bool,
        variant: Variant,
        seed: int | None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice(self.name, "variant", variant, get_args(Variant))
        check_weights(self.name, {"task_weight": task_weight, **{f"{key}_weight": w for key, w in weights.items()}})
        self.pretrained, self.task_weight, self.weights = pretrained, task_weight, dict(weights)
        drops = len(spec.modalities) > 1 and AtLeastOne(rate).rate > 0
        self.views = IncompleteViews(AtLeastOne(rate), seed) if drops else None

        widths = {name: self.input_dims[name] for name in ORDER if name in spec.modalities}
        self.network_of = {name: name for name in widths}
        if variant == "released" and {"vision", "text"} <= widths.keys():
            if widths["vision"] != widths["text"]:
                raise MERError(
                    f"{self.name} as released sends text through the network of vision, but they have"
                    f" {widths['text']} and {widths['vision']} columns; choose ours"
                )
            self.network_of["text"] = "vision"
        own = {name: widths[name] for name in dict.fromkeys(self.network_of.values())}
        hidden = [hidden_dim] * 3
        self.networks = nn.ModuleDict({name: perceptron([width, *hidden, dim]) for name, width in own.items()})
        self.decoders = (
            nn.ModuleDict({name: perceptron([dim, *hidden, width]) for name, width in own.items()}) if decodes else None
        )
        for name, width in widths.items():
            self.register_buffer(f"mean_{name}", torch.zeros(width))
        self.register_buffer("prepared", torch.tensor(False))
        self.feature_dim = dim * len(widths)
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        if pretrained is not None:
            self.requires_grad_(False)
            self.head.requires_grad_(True)
            self.train()  # trainers keep the mode that they find

    @override
    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.pretrained is not None:
            for name, part in self.named_children():
                part.train(mode and name in ("head", "views"))
        return self

    @override
    def prepare(self, train: BatchSource) -> None:
        if self.prepared:
            return
        if self.pretrained is not None:
            continue_stage_one(self.pretrained, self, "task_weight: 0")
        else:
            self._average(train)
        self.prepared.fill_(True)

    def _average(self, train: BatchSource) -> None:
        """Keep the mean vector of each modality over the training samples that have it."""
        totals = {name: torch.zeros_like(self._mean(name), dtype=torch.float64) for name in self.network_of}
        counts = dict.fromkeys(totals, 0)
        with torch.no_grad(), evaluating(self):
            for batch in train:
                given = self.in_use(self.encode_text(batch.text), batch.audio, batch.vision)
                missing = unobserved(given, self.spec)
                for (name, x), gone in zip(observed_means(given, missing).items(), missing.T, strict=True):
                    totals[name] += x.double().sum(0)
                    counts[name] += int((~gone).sum())
        for name, total in totals.items():
            self._mean(name).copy_(total / max(counts[name], 1))

    def _mean(self, name: str) -> Tensor:
        return self.get_buffer(f"mean_{name}")

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        view: Batch = batch if self.views is None else self.views(batch, self.spec)
        output: Output = self(view)
        yield Step(view, output, self.losses(output, view), 1.0 if self.pretrained is not None else self.task_weight)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        missing = unobserved(given, self.spec)
        gone = dict(zip(given, missing.unbind(1), strict=True))
        x = {
            name: torch.where(gone[name][:, None], self._mean(name).to(vector.dtype), vector)
            for name, vector in observed_means(given, missing).items()
        }
        z = {name: self.networks[network](x[name]) for name, network in self.network_of.items()}
        features = torch.cat(list(z.values()), 1)
        return Output(self.classify(features), features, aux=Projected(x, z))

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        if self.pretrained is not None:
            return {}
        projected: Projected = output.aux
        losses = {}
        if len(projected.z) > 1:
            losses["correlation"] = canonical_loss(*projected.z.values())
        if self.decoders is not None:
            back = {name: self.decoders[self.network_of[name]](z) for name, z in projected.z.items()}
            errors = [
                distributed_mean((widen(x) - widen(projected.x[name].detach())).square()) for name, x in back.items()
            ]
            losses["reconstruction"] = torch.stack(errors).sum()
        return {f"{self.name.lower()}/{name}": self.weights[name] * loss for name, loss in losses.items()}
