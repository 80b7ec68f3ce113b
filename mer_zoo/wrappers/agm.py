r"""AGM (adaptive gradient modulation): a modality that gets ahead of itself learns less, around any network.

Idea: a network leans on the modality that is learnt fastest, and the others stay weak. Here the logits are shared out
among the modalities by their Shapley values; how good a modality's share alone is, beside the others and beside what it
used to be, decides how much of the gradient goes back through it.

Input and shapes (B batch, M modalities in use):
    each step of the inner model, and its logits f(S) (B, *task shape) for every other set S of the modalities, by
    forward passes in evaluation mode, with gradient, in which the others are taken away as an availability set does;
    the step's logits are those of the full pass, with the gradient :math:`\sum_m k_m \partial \phi_m`. Forward and
    predict are the inner model's.

Where the paper is in the code (equations in functional/gradient_modulation.py):
    shares :math:`\phi_m` of the logits        shapley_values in functional/shapley.py
    ratios :math:`\rho_m`, coefficients k_m    share_ratios, agm_coefficients
    their running means                        running_mean

Differences from the released code, which has two modalities:
    * three: the Shapley value of the game S -> f(S) with f({}) = 0, so that the shares sum to the logits, and the ratio
      of a share to all others; with two both are the paper's;
    * a real-valued score's share is scored by its absolute error, that of several emotions by the mean of their losses;
    * after ``end`` all coefficients are 1, where the released code keeps the last ones;
    * nothing is clipped here (there the gradient is clipped by a condition with a slip), and the loss is the task's
      mean, where it is a sum.

Nests: next to the network, where logits are the network's own: CausalMER, CLUE, PropensityWeighting, RWG, GroupDRO and
JTT outside. MACI, GEAR and CUMDF compute other scores from the features, and would lose it; MSSD and CUMDF train on
incomplete views, in which the game would be another one. A step is 2^M - 1 forward and backward passes.

References:
    Li et al., "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", ICCV 2023, arXiv:2308.07686.
    Released code: lihong2303/AGM_ICCV2023 (MIT); nothing copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Step
from mer_zoo.data.missing.drop import blanked
from mer_zoo.data.missing.views import view_maker
from mer_zoo.distributed import global_count, global_sum
from mer_zoo.errors import MERError
from mer_zoo.functional.gradient_modulation import agm_coefficients, modulated, running_mean
from mer_zoo.functional.shapley import shapley_values
from mer_zoo.model import Model, Wrapper, check_final_logits
from mer_zoo.options import check_weights
from mer_zoo.training.modes import evaluating
from mer_zoo.wrappers.passes import Passes

__all__ = ["AGM"]

_WORST = -math.log(1e-8)  # loss of a class whose probability is as small as the released code lets it be


class AGM(Wrapper):
    """Adaptive gradient modulation; see the module's text for the idea.

    Args:
        backbone: The model to train.
        alpha: The paper's alpha, how strongly gradients are modulated; with 0 they are those of the plain model.
        start: The first pass through the training split that is modulated, counted from 0.
        end: The first that is no longer; None for none.
        cap: The largest difference of a ratio to its running value.

    Raises:
        MERError: For data of one modality, an inner model whose logits are not the network's own or which trains on
            incomplete views, or an option out of range.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> model = AGM(LFLSTM(spec, task))
        >>> model.prepare([])
        >>> (step,) = model.steps(Batch.random(spec, task, size=4))
        >>> step.output.logits.shape, sorted(model.diagnostics())
        (torch.Size([4, 3]), ['agm/k_audio', 'agm/k_text', 'agm/k_vision', 'agm/loss_audio', 'agm/loss_text', ...])
    """

    running: Tensor
    coefficients: Tensor
    count: Tensor

    def __init__(
        self, backbone: Model, alpha: float = 1.0, start: int = 0, end: int | None = None, cap: float = 10.0
    ) -> None:
        super().__init__(backbone)
        _check_inner(backbone)
        check_weights("AGM", {"alpha": alpha, "cap": cap})
        self.alpha, self.cap = alpha, cap
        self.passes = Passes("AGM", start, end)
        self.replaces_logits = self.blanks_modalities = True
        size = len(self.spec.modalities)
        self.register_buffer("running", torch.zeros(size))
        self.register_buffer("coefficients", torch.ones(size))
        self.register_buffer("count", torch.tensor(0))

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        self.passes.measure(train)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        acts = self.passes.acts_on(batch, counts=self.training)
        for step in self.backbone.steps(batch):
            yield self._modulate(step) if acts else step

    def _modulate(self, step: Step) -> Step:
        shares = self.shares(step)
        scores = self._scores(shares, step.batch.target)
        k = agm_coefficients(scores, self.running, self.alpha, self.cap)
        if self.training:
            finite = (scores.isfinite() & k.isfinite()).all()  # losses that are not are for those who watch them
            self.running = torch.where(finite, running_mean(self.running, self.count, scores), self.running)
            self.coefficients = torch.where(finite, running_mean(self.coefficients, self.count, k), self.coefficients)
            self.count = self.count + finite
        logits = modulated(step.output.logits, list(shares.values()), k)
        return replace(step, output=step.output.replace(logits=logits))

    def shares(self, step: Step) -> dict[str, Tensor]:
        """Share of each modality in the logits of a step.

        Args:
            step: The step, with the logits of the full pass.

        Returns:
            (B, *task shape) by modality; their sum is the logits.
        """
        used = self.spec.modalities
        answers = {(): torch.zeros_like(step.output.logits), used: step.output.logits}
        with evaluating(self.backbone, differentiable=True):
            for size in range(1, len(used)):
                for there in combinations(used, size):
                    answers[there] = self.backbone(blanked(step.batch, there, self.spec)).logits
        return shapley_values(answers, used)

    @torch.no_grad()
    def _scores(self, shares: dict[str, Tensor], target: Tensor) -> Tensor:
        """(M,) mean losses of the shares over the whole batch."""
        each = [self.task.losses(share.float(), target).view(len(target), -1).mean(1) for share in shares.values()]
        losses = torch.stack(each)
        if self.task.is_classification:
            losses = losses.clamp(max=_WORST)
        return global_sum(losses.sum(1)) / global_count(len(target), target.device)

    @override
    def diagnostics(self) -> dict[str, float]:
        means = {"k": self.coefficients.tolist(), "loss": self.running.tolist()}
        found = {
            f"agm/{kind}_{name}": value
            for kind, values in means.items()
            for name, value in zip(self.spec.modalities, values, strict=True)
        }
        return {**super().diagnostics(), **found}


def _check_inner(inner: Model) -> None:
    if len(inner.spec.modalities) < 2:
        raise MERError(f"AGM weighs modalities against each other, and {inner.name} has one alone; leave AGM out")
    check_final_logits("AGM", inner)
    if inner.replaces_logits:
        raise MERError(
            f"AGM shares out the logits of a network, which those of {inner.name} are no longer; put AGM inside, next"
            " to the network, or leave one of them out"
        )
    maker = view_maker(inner)
    if inner.num_steps > 1 or isinstance(maker, Wrapper):
        raise MERError(
            f"AGM asks what the network says of complete samples without each modality, but {inner.name} trains on"
            " incomplete views or in several steps; leave one of them out"
        )
