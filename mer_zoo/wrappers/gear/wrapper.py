"""GEAR: general debiasing by splitting content from bias, weighting samples, and swapping biases, around any backbone.

Idea: what is easily learnt from one modality alone, or from the joint representation by a criterion that prefers the
easy samples, is taken for bias. The joint representation is split into a content and a bias part; the samples that bias
alone gets wrong weigh more in training the content; later, the bias parts are swapped between the samples of a batch,
so that content has to do without them.

Input and shapes (B batch, S the task's shape, m each modality in use, d = ``dim``):
    inner model: features (B, feature_dim), and in training inputs[m] (B, T_m, d_m), which the bias branches read with
        batch.m.mask;
    forward and predict: logits (B, S) of the content head; output.features (B, 2 d) = [u_c; u_b], the input of this
        head.

Where the paper is in the code:
    bias branches, u_c and u_b, heads     wrappers/gear/content_bias.py
    bias criterion, sample weights, swap  functional/gear.py
    losses                                GEAR._debias

Objective: mean(w * err_c) + lambda_dis * (sum over bias predictions of mean(w(e) e)), and once the training split has
been seen ``swap_epochs`` times lambda_swap times the terms of the swapped fusion, where content keeps its label and
bias takes its own along.

Differences between the paper and ours:
    * the authors' network is Self-MM's, with two copies of each unimodal encoder, text encoder included, for content
      and for bias; here the content comes from any backbone, and the bias branches are small and read what the backbone
      reads, without gradient to it;
    * errors are those of the task: absolute (the paper's), or cross-entropies of classes and emotions, which the paper
      does not have.
What counts as a pass through the training split: every batch that is trained on, so that inside MSSD, whose two views
are two batches, an epoch counts as two passes. Several processes swap among all of their samples.

Reproduction: outputs and losses of the released code, swap included, to 1e-5, with its content network as the backbone;
no training run.

References:
    Sun, Ni, Wang, Jing, Wei and Nie, "General Debiasing for Multimodal Sentiment Analysis", ACM Multimedia 2023,
    arXiv:2307.10511.
    Released code: Teng-Sun/GEAR (MIT); nothing copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, BatchSource, Output, Step
from mer_zoo.distributed import distributed_mean, gather_rows, global_count, global_sum
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import global_seed
from mer_zoo.functional.gear import BiasCriterion, WeightRule, bias_loss, sample_weight, swap_order
from mer_zoo.functional.precision import widen
from mer_zoo.model import Model, Shown, Wrapper
from mer_zoo.options import check_choice, check_sizes, check_weights
from mer_zoo.wrappers.gear.content_bias import BiasBranch, ContentBias, Reading, swap_halves
from mer_zoo.wrappers.inner_checks import check_keeps_logits

__all__ = ["GEAR"]


class GEAR(Wrapper):
    """Debiasing by weights and swapped biases; see the module's text for the idea.

    ``forward`` adds the effect ``bias``, the scores (B, *task shape) of the fused bias.

    Args:
        backbone: The model to debias.
        dim: Width d of content and of bias.
        branches: How the bias branches read each modality, ``lstm`` or the ``first`` real step, or a module of your
            own, which takes x (B, T, d_m) and a mask (B, T) and returns (B, outputs) logits; ``lstm`` where one is left
            out.
        branch_dim: Width of the bias branches.
        criterion: The bias criterion, see :func:`~mer_zoo.functional.gear.bias_loss`.
        weight: How a sample's bias errors are taken together, see :func:`~mer_zoo.functional.gear.sample_weight`.
        lambda_dis: The paper's lambda of that name, weight of the bias terms.
        lambda_swap: Likewise, weight of the terms of swapped biases; 0 never swaps.
        swap_epochs: Passes through the training split before the first swap.
        q: How fast the criterion ``tanh`` falls.
        out_dropout: Dropout of the joint representation.
        seed: Seed of the swaps; None for the global one.

    Raises:
        MERError: If the inner model has replaced its logits, or an option is out of range; when trained before
            ``prepare``.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> batch, model = Batch.random(spec, task, size=4), GEAR(LFLSTM(spec, task), swap_epochs=1)
        >>> model.prepare([batch])
        >>> (first,), (second,) = list(model.steps(batch)), list(model.steps(batch))
        >>> sorted(second.losses.keys() - first.losses.keys())
        ['gear/swap_bias', 'gear/swap_content']
    """

    shown_effects: ClassVar[Mapping[str, Shown]] = {"bias": Shown("the bias alone")}
    prepared: Tensor
    weights: Tensor

    def __init__(
        self,
        backbone: Model,
        dim: int = 128,
        branches: Mapping[str, nn.Module | Reading] | None = None,
        branch_dim: int = 32,
        criterion: BiasCriterion = "tanh",
        weight: WeightRule = "avg",
        lambda_dis: float = 15.0,
        lambda_swap: float = 1.0,
        swap_epochs: int = 5,
        q: float = 0.7,
        out_dropout: float = 0.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(backbone)
        check_keeps_logits("GEAR", backbone, "put GEAR inside, as in CausalMER(GEAR(...)), or ")
        check_choice("GEAR", "criterion", criterion, get_args(BiasCriterion))
        check_choice("GEAR", "weight", weight, get_args(WeightRule))
        check_weights("GEAR", {"lambda_dis": lambda_dis, "lambda_swap": lambda_swap})
        _check_numbers({"dim": dim, "branch_dim": branch_dim}, swap_epochs, q)
        self.criterion: BiasCriterion = criterion
        self.weight_rule: WeightRule = weight
        self.lambda_dis, self.lambda_swap, self.swap_epochs, self.q = lambda_dis, lambda_swap, swap_epochs, q
        self.branches = self._build_branches(branches or {}, branch_dim)
        self.fusion = ContentBias(backbone.feature_dim, self.task.num_outputs, dim, out_dropout)
        self.feature_dim = 2 * dim
        self.seed = (global_seed() or 0) if seed is None else seed
        # Plain numbers: as buffers they would lie on the device, and every batch would wait for them.
        self.split_size = self.seen = 0
        self.register_buffer("prepared", torch.tensor(False))
        self.register_buffer("weights", torch.zeros(2), persistent=False)  # sum and number since the last diagnostics
        backbone.drop_head()
        self.replaces_logits = True

    def _build_branches(self, branches: Mapping[str, nn.Module | Reading], dim: int) -> nn.ModuleDict:
        for name, choice in branches.items():
            if name not in MODALITIES:
                raise MERError(f"branches of GEAR names {name!r}; choose from {', '.join(MODALITIES)}")
            if not isinstance(choice, nn.Module):
                check_choice("GEAR", f"{name} branch", choice, get_args(Reading))

        def build(choice: nn.Module | Reading, name: str) -> nn.Module:
            if isinstance(choice, nn.Module):
                return choice
            return BiasBranch(self.input_dims[name], self.task.num_outputs, choice, dim, dim)

        return nn.ModuleDict({name: build(branches.get(name, "lstm"), name) for name in self.spec.modalities})

    @override
    def forward(self, batch: Batch) -> Output:
        return self._answer(self.backbone(batch))

    @override
    def predict(self, batch: Batch) -> Output:
        return self._answer(self.backbone.predict(batch))

    def _answer(self, output: Output) -> Output:
        """Replace logits and features."""
        u_c, u_b = self.fusion(output.features)
        effects = {name: value for name, value in output.effects.items() if name != "factual"}
        effects["bias"] = self._scores(self.fusion.bias(u_c, u_b))
        logits, features = self._scores(self.fusion.content(u_c, u_b)), torch.cat([u_c, u_b], 1)
        return output.replace(logits=logits, features=features, effects=effects)

    def _scores(self, flat: Tensor) -> Tensor:
        return widen(self.task.reshape(flat))

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        if self.lambda_swap and self.swap_epochs:
            self.split_size = sum(len(batch) for batch in train)
        self.prepared.fill_(True)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        number, swaps = self.seen, self._swaps()
        if self.training:
            self.seen += int(global_count(len(batch), batch.index.device))
        for step in self.backbone.steps(batch):
            yield self._debias(step, number if swaps else None)

    def _swaps(self) -> bool:
        """Whether the training split has been seen often enough."""
        if not (self.lambda_swap and self.swap_epochs):
            return bool(self.lambda_swap)
        if not self.split_size:
            raise MERError(
                f"{self.name} does not know the size of the training split yet; fit it, call prepare, load a"
                f" checkpoint, or set"
                " swap_epochs to 0"
            )
        return self.seen // self.split_size >= self.swap_epochs

    def _debias(self, step: Step, number: int | None) -> Step:
        """L = mean(w err_c) + lambda_dis mean(w(e) e) of every bias + lambda_swap (both of the fusion's, bias swapped).

        Args:
            step: The inner model's.
            number: Number of the swap; None swaps nothing.
        """
        target, weight = step.batch.target, step.task_weight
        u_c, u_b = self.fusion(step.output.features)
        logits = self._scores(self.fusion.content(u_c, u_b))
        biased = {**self._unimodal(step.output, step.batch), "fusion": self.fusion.bias(u_c, u_b)}
        errors = {name: self._error(scores, target) for name, scores in biased.items()}
        losses = {f"gear/bias_{name}": self._bias_term(error, weight) for name, error in errors.items()}
        w = sample_weight(self._error(logits, target), list(errors.values()), self.weight_rule)
        if number is not None:
            other_c, other_b = swap_halves(u_c, u_b, swap_order(self.seed, number, gather_rows(step.batch.index)))
            swapped = self._scores(self.fusion.content(u_c, other_b))
            bias_error = self._error(self.fusion.bias(other_c, u_b), target)
            losses["gear/swap_content"] = self.lambda_swap * distributed_mean(
                w * self.task.weighted(swapped, target, weight)
            )
            losses["gear/swap_bias"] = self.lambda_swap * self._bias_term(bias_error, weight)
        self._note(w)
        output = step.output.replace(logits=logits, features=torch.cat([u_c, u_b], 1))
        return replace(step, output=output, losses={**step.losses, **losses}).reweigh(w)

    def _unimodal(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """What each modality gives away alone; the network's words and encoders are not to be trained for it."""
        return {
            name: branch(output.inputs[name].detach(), batch.modality(name).mask)
            for name, branch in self.branches.items()
        }

    def _error(self, scores: Tensor, target: Tensor) -> Tensor:
        return self.task.criterion(widen(self.task.reshape(scores)), target)

    def _bias_term(self, error: Tensor, weight: float | Tensor) -> Tensor:
        if isinstance(weight, Tensor) and weight.dim() > 1:
            weight = weight.mean(1)  # the criterion takes a sample's errors together
        return self.lambda_dis * distributed_mean(weight * bias_loss(error, self.criterion, self.q))

    @torch.no_grad()
    def _note(self, w: Tensor) -> None:
        if self.training:
            self.weights += global_sum(torch.stack([w.sum(), torch.ones_like(w).sum()]))

    @override
    def diagnostics(self) -> dict[str, float]:
        total, count = self.weights.tolist()
        self.weights.zero_()
        mine = {"gear/weight": total / count} if count else {}
        return {**super().diagnostics(), **mine}

    @override
    def get_extra_state(self) -> Tensor:
        numbers = torch.tensor([self.seed, self.seen, self.split_size], dtype=torch.float64, device=self.weights.device)
        return torch.cat([numbers, self.weights.double()])  # exact for all of them; without values on the meta device

    @override
    def set_extra_state(self, state: Tensor) -> None:
        if state.shape not in ((3,), (5,)) or state.is_complex() or not (state.is_meta or state.isfinite().all()):
            raise MERError("the checkpoint holds other than GEAR's seed and counts; use one that mer-zoo fit wrote")
        numbers = [int(number) for number in state[:3].tolist()]
        self.seed, self.seen, self.split_size = numbers
        self.weights.copy_(state[3:] if len(state) > 3 else torch.zeros(2))


def _check_numbers(widths: Mapping[str, int], swap_epochs: int, q: float) -> None:
    check_sizes("GEAR", widths)
    if swap_epochs < 0:
        raise MERError(f"swap_epochs of GEAR is {swap_epochs}; give at least 0")
    if not math.isfinite(q) or q <= 0:
        raise MERError(f"q of GEAR is {q}; give a finite number above 0")
