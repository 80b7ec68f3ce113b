"""What CUMDF's objective learns and counts: the projections of its distillation, and who contributes how much."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES
from mer_zoo.distributed import distributed_mean, global_sum
from mer_zoo.functional.attribution import (
    balance_loss,
    class_probability,
    modality_effect,
    modality_shares,
    srd,
)
from mer_zoo.layers.label_guided import label_classes
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.model import Shown
from mer_zoo.task import Task
from mer_zoo.wrappers.cumdf.guided_head import Guided

__all__ = [
    "Attribution",
    "CounterfactualHead",
    "Distillation",
    "Effect",
    "ModalityAttribution",
    "Projection",
    "Target",
]

Effect = Literal["unimodal", "total"]
Projection = Literal["both", "none"]
CounterfactualHead = Literal["own", "shared"]
Rescore = Callable[[Mapping[str, Tensor], Tensor | None], tuple[Tensor, Tensor]]


class Target(NamedTuple):
    """What distillation compares.

    Args:
        h: (B, D) joint representation.
        pooled: (B, n, d) pooled sequence of each modality.
    """

    h: Tensor
    pooled: Tensor

    def repeat(self, times: int) -> Target:
        """The same for a batch that stands there several times."""
        return Target(self.h.repeat(times, 1), self.pooled.repeat(times, 1, 1))


class Distillation(nn.Module):
    """Distance of student and teacher, SRD of the joint representations and, weighted, of each modality's (Eq. 10).

    Inferred: W_s and W_t start equal, each modality has projections of its own, and the weighted sum over the
    modalities is added.

    Args:
        modalities: Names of the modalities.
        h_dim: Width of the joint representation.
        dim: Width of the sequences, and of all projections.
        alpha: Strength.
        projection: ``both``, W_s and W_t as printed, or ``none``, which compares directly.

    Example:
        >>> distance = Distillation(["text", "audio"], 4, 4, projection="none")
        >>> same = Target(torch.ones(3, 4), torch.ones(3, 2, 4))
        >>> distance(same, same, torch.tensor([0.5, 0.5])).abs().max() < 1e-6
        tensor(True)
    """

    def __init__(
        self, modalities: Sequence[str], h_dim: int, dim: int, alpha: float = 1.0, projection: Projection = "both"
    ) -> None:
        super().__init__()
        self.modalities, self.alpha = tuple(modalities), alpha
        self.w_s, self.w_t = nn.ParameterDict(), nn.ParameterDict()
        if projection == "both":
            for name in ("joint", *modalities):
                weight = nn.init.xavier_uniform_(torch.empty(dim, h_dim if name == "joint" else dim))
                self.w_s[name], self.w_t[name] = nn.Parameter(weight), nn.Parameter(weight.clone())

    @override
    def forward(self, student: Target, teacher: Target, weights: Tensor) -> Tensor:
        """Distance (B,) of each sample; weights (n,) are those of the modalities."""
        distance = self._distance("joint", student.h, teacher.h)
        for place, name in enumerate(self.modalities):
            distance = distance + weights[place] * self._distance(
                name, student.pooled[:, place], teacher.pooled[:, place]
            )
        return distance

    def _distance(self, name: str, s: Tensor, t: Tensor) -> Tensor:
        if name in self.w_s:
            return srd(s, t, self.w_s[name], self.w_t[name], self.alpha)
        return srd(s, t, None, None, self.alpha)


class Attribution(NamedTuple):
    """What :class:`ModalityAttribution` finds in a batch.

    Args:
        shares: (n,) X, they sum to 1.
        balance: Scalar L_cou.
        unimodal: Scalar loss that trains the heads of the unimodal predictions and, where it has one of its own, of the
            counterfactual one; None without them.
    """

    shares: Tensor
    balance: Tensor
    unimodal: Tensor | None


class ModalityAttribution(nn.Module):
    """Measures, by counterfactuals, how much each modality contributes (Eqs. 11-16; the manuscript calls it MACI).

    In the counterfactual world a modality's sequence is its mean over the training split: a running mean over all real
    steps of all processes. What the network knows of all modalities at once, the context, is its mean wherever a
    prediction is rescored.

    Inferred: the mean runs over samples and steps, its momentum, that all modalities share one W_s_con, that it and the
    heads of the unimodal predictions learn by the task's loss on features and sequences without gradient (in the
    printed objective nothing would make them predictions), and that the class is the true one.

    Args:
        task: Says how logits are read.
        modalities: Names of the modalities.
        dim: Width d of the sequences.
        context_dim: Width of the context; 0 where there is none.
        effect: ``unimodal`` compares the prediction of a modality alone with the one without it, as the specification
            has it; ``total`` compares the prediction from all.
        momentum: Weight of a batch in the running mean.
        own_head: Width of the features that a counterfactual head W_s_con of its own reads (Eq. 12); 0 for the
            prediction's head.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> attribution = ModalityAttribution(SentimentClassification(3), ["text", "audio"], dim=4)
        >>> x, mask = {name: torch.randn(5, 6, 4) for name in ("text", "audio")}, torch.ones(5, 6, dtype=torch.bool)
        >>> def rescore(x, context):
        ...     features = (x["text"] + x["audio"]).mean(1)
        ...     return features, features[:, :3]
        >>> shares = attribution(x, mask, None, rescore, torch.zeros(5)).shares
        >>> round(shares.sum().item(), 4), round(sum(attribution.proportions().values()), 4)
        (1.0, 1.0)
    """

    shown: ClassVar[Mapping[str, Shown]] = {
        f"attribution_{name}": Shown(f"attribution of {name}", "number") for name in MODALITIES
    }
    statistics: Tensor
    effects: Tensor
    shares: Tensor

    def __init__(
        self,
        task: Task,
        modalities: Sequence[str],
        dim: int,
        context_dim: int = 0,
        effect: Effect = "unimodal",
        momentum: float = 0.1,
        own_head: int = 0,
    ) -> None:
        super().__init__()
        self.task, self.modalities, self.momentum = task, tuple(modalities), momentum
        self.sizes = (*[dim] * len(modalities), context_dim, 1, 1)
        heads = modalities if effect == "unimodal" else []
        self.heads = nn.ModuleDict({name: nn.Linear(dim, task.num_outputs) for name in heads})
        self.counterfactual = nn.Linear(own_head, task.num_outputs) if own_head else None
        # A sample's sums over its steps, the context, the number of steps, and 1, each a running mean: their quotients
        # are right from the first batch on.
        self.register_buffer("statistics", torch.zeros(sum(self.sizes)))
        self.register_buffer("effects", torch.zeros(len(modalities)))
        self.register_buffer("shares", torch.zeros(len(modalities)))

    @override
    def forward(
        self, x: Mapping[str, Tensor], mask: Tensor, context: Tensor | None, rescore: Rescore, target: Tensor
    ) -> Attribution:
        """Attribute a training batch, and take it into the running means.

        Args:
            x: (B, T, d) of each modality, zero at padding.
            mask: (B, T) bool, real steps.
            context: (B, F), or None.
            rescore: Features and logits of replaced sequences and context.
            target: Labels as they stand in a Batch.
        """
        if self.training:
            self._take_in(x, mask, context)
        effects, pooled, features = self._compare(x, mask, context, rescore, label_classes(self.task, target))
        total = global_sum(torch.stack([effect.sum() for effect in effects]))
        self.effects += total.detach()
        shares = modality_shares(total)
        return Attribution(shares, balance_loss(shares), self._heads_loss(pooled, features, target))

    def of_samples(self, found: Guided, rescore: Rescore) -> dict[str, Tensor]:
        """The effect delta (B,) of each modality on the class that is predicted, by the names of ``shown``.

        Inferred: at test time no label may be read, so it is not the true class.

        Args:
            found: The sequences and the prediction.
            rescore: Features and logits of replaced sequences and context.
        """
        effects, _, _ = self._compare(found.x, found.mask, found.context, rescore, found.logits.argmax(-1))
        return {f"attribution_{name}": effect for name, effect in zip(self.modalities, effects, strict=True)}

    def _compare(
        self, x: Mapping[str, Tensor], mask: Tensor, context: Tensor | None, rescore: Rescore, classes: Tensor
    ) -> tuple[list[Tensor], dict[str, Tensor], list[Tensor]]:
        """Effects (B,); each modality pooled, and features of each counterfactual, where a head learns from them."""
        means, mean_context = self._means()
        without_context = None if context is None else mean_context.to(context).expand_as(context)
        pooled = {name: masked_mean(x[name], mask) for name in self.heads}
        whole = None if self.heads else class_probability(rescore(x, without_context)[1], classes)
        effects, features = [], []
        for name in self.modalities:
            replaced = torch.where(mask[..., None], means[name].to(x[name]), 0.0)
            found, logits = rescore({**x, name: replaced}, without_context)
            if self.counterfactual is not None:
                features.append(found.detach())
                logits = self.task.reshape(self.counterfactual(found))
            p_without = class_probability(logits, classes)
            p = whole if whole is not None else class_probability(self._alone(name, pooled[name]), classes)
            effects.append(modality_effect(p, p_without))
        return effects, pooled, features

    def proportions(self) -> dict[str, float]:
        """Share of each modality in the training batches since the last call (without any, that of the last call)."""
        if self.effects.any():
            self.shares.copy_(modality_shares(self.effects))
            self.effects.zero_()
        found = dict(zip(self.modalities, self.shares.tolist(), strict=True))
        return found if self.shares.any() else {}

    def _alone(self, name: str, pooled: Tensor) -> Tensor:
        return self.task.reshape(self.heads[name](pooled))

    def _heads_loss(self, pooled: Mapping[str, Tensor], features: Sequence[Tensor], target: Tensor) -> Tensor | None:
        """The mean over the unimodal predictions, and that over the counterfactual ones of a head of their own."""
        sets = [[self._alone(name, found.detach()) for name, found in pooled.items()]]
        if self.counterfactual is not None:
            sets.append([self.task.reshape(self.counterfactual(found)) for found in features])
        losses = [torch.stack([self.task.criterion(each, target) for each in found]).mean(0) for found in sets if found]
        return distributed_mean(torch.stack(losses).sum(0)) if losses else None

    @torch.no_grad()
    def _take_in(self, x: Mapping[str, Tensor], mask: Tensor, context: Tensor | None) -> None:
        parts = [x[name].float().sum((0, 1)) for name in self.modalities]
        parts.append(self.statistics[:0] if context is None else context.float().sum(0))
        parts += [mask.sum().view(1), torch.full((1,), float(len(mask)), device=mask.device)]
        total = global_sum(torch.cat(parts).to(self.statistics))
        self.statistics.lerp_(total / total[-1], self.momentum)

    def _means(self) -> tuple[dict[str, Tensor], Tensor]:
        *sums, context, steps, samples = torch.split(self.statistics, list(self.sizes))
        tiny = torch.finfo(steps.dtype).tiny
        found = [each / steps.clamp(min=tiny) for each in sums]
        return dict(zip(self.modalities, found, strict=True)), context / samples.clamp(min=tiny)
