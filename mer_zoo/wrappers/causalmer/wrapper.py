"""CausalMER: counterfactual debiasing of any backbone.

Idea: each modality acts on the prediction directly, which is the modality bias, and through the fused multimodal
knowledge. One small branch per modality estimates its direct path, the backbone the fused one, and a fusion function h
joins the logits. What the prediction would be had only one modality been seen, and only directly, is that modality's
natural direct effect; at test time these effects are taken off the total effect, and the total indirect effect (TIE)
remains.

Input and shapes (B batch, S the task's shape, m each modality in use):
    inner model: logits (B, S), and inputs[m] (B, T_m, d_m), which the branches read with batch.m.mask;
    forward: logits (B, S) = h(y_m's, y_m); predict: logits (B, S) = TIE.

Where the paper is in the code (by equation):
    branches (Eq. 12)                 wrappers/causalmer/branches.py
    no-treatment constants (Eq. 13)   CausalMER.constants, functional/counterfactual.py, effects
    fusion h (Eqs. 14-17)             functional/counterfactual.py, fuse
    TE, NDE, TIE (Eqs. 6-11, 22)      functional/counterfactual.py, effects and total_indirect_effect
    losses (Eqs. 18-21)               CausalMER._debias, functional/counterfactual.py, direct_divergence and
                                      balance_divergence

What trains what: the cross-entropies do not contain the constants, so they train branches and backbone; the divergences
see the logits detached, so they train the constants. With ``tanh`` fusion a constant only shifts all scores of a sample
alike, so no
loss can train it: the constants then are not trainable at all (see ``untrained_parameters``).

Two fusions that undo the method. Under ``tanh`` (the paper's SUM-tanh) TIE = y_m - m* exactly, and m* is the same for
all classes: branches and constants do not matter at test time, and what the branches have learnt to answer is missing.
Under ``harmonic`` (HM) the product of sigmoids saturates: no fused score exceeds log 1/2, and near it y_m hardly
matters. In docs/debiasing_studies.md they have 30.6 and 15.9 % in the randomised trial without confounding, where
plain MulT has 73.8.

Differences between the paper and the authors' code; ``variant="released"`` brings the code's behaviour:
    * the constants of the code stand in other places of NDE and of the reference, see functional/counterfactual.py;
    * its divergences are cross-entropies, of one softmax over all outputs of a sample, and those between modalities
      count 1/3;
    * the weights of its NDEs are never read; here ``nde_weights`` act in both variants.
Differences of ours: any subset of modalities; ``light`` branches, the default because ALBERT base and two ResNets are
out of reach of a CPU (``branches="paper"`` is what the paper ran); any inner model, also another wrapper.

Reproduction: fusion, effects, losses and gradients of the released code to 1e-5, ResNet branches to 1e-4; no figure of
the paper yet.

References:
    Kim, Hong and Choi, "Causal Inference for Modality Debiasing in Multimodal Emotion Recognition", Applied Sciences
    14(23):11397, 2024. Released code: sejong-rcv/CausalMER; nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, Output, Step
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.counterfactual import (
    Fusion,
    balance_divergence,
    direct_divergence,
    effects,
    fuse,
    total_indirect_effect,
)
from mer_zoo.functional.precision import widen
from mer_zoo.functional.variants import Variant
from mer_zoo.layers.encoder_config import check_encoder_config, encoder_sizes
from mer_zoo.model import Model, Shown, Wrapper, check_final_logits
from mer_zoo.options import check_choice, check_weights
from mer_zoo.scores import Scores, keep_inner
from mer_zoo.wrappers.causalmer.branches import AlbertBranch, BranchKind, build_branches, reads_mask
from mer_zoo.wrappers.inner_checks import check_classes
from mer_zoo.wrappers.subtraction import check_subtracts_once

__all__ = ["CausalMER"]


class CausalMER(Wrapper):
    """Counterfactual debiasing; see the module's text for the idea.

    ``predict`` adds to ``Output.effects`` the branch logits ``y_text``, ``y_audio``, ``y_vision`` and ``y_m``, the
    effects ``factual`` (what ``forward`` gives), ``te``, ``nde_text``, ``nde_audio``, ``nde_vision`` and ``tie``, each
    (B, *task shape); the inner model's own extras stand there as ``inner/...``.

    Args:
        backbone: The model to debias.
        fusion: The fusion function h; ``mask`` gave the paper's main results. What ``tanh`` and ``harmonic`` come to
            is in the module's text.
        variant: ``paper``, or ``released`` for the formulas of the authors' code.
        alpha: The paper's alpha, weight of all cross-entropies, the main one too.
        beta: The paper's beta, weight of the divergences.
        branches: ``light`` (a GRU for each modality), ``paper`` (ALBERT for text, ResNet-18 for audio and vision), or
            one of these words or a module of your own for each modality, see
            :func:`~mer_zoo.wrappers.causalmer.branches.build_branches`.
        nde_weights: Weights of the direct effects of text, audio and vision; 0 switches one off.
        init_constant: First value of the constants that stand for a modality not seen.
        branch_dim: Width of the light branches' GRUs.
        albert: Folder of pretrained ALBERT files or options of a random one, for the paper's text branch.
        balance_weight: Weight of the balance term beside beta; 0 is the paper's ablation without it (Table 6).

    Raises:
        MERError: If the task is a single-output regression, or an option is out of range.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> model = CausalMER(LFLSTM(spec, task), fusion="sum")
        >>> output = model.predict(Batch.random(spec, task, size=2))
        >>> output.logits.shape, torch.equal(output.logits, output.effects["tie"])
        (torch.Size([2, 3]), True)
    """

    shown_effects: ClassVar[Mapping[str, Shown]] = {
        "factual": Shown("what was seen (factual)", "difference"),
        "te": Shown("total effect (TE)", "difference"),
        **{f"nde_{name}": Shown(f"direct effect of {name} (NDE)", "difference") for name in MODALITIES},
        "tie": Shown("total indirect effect (TIE)", "difference"),
    }

    def __init__(
        self,
        backbone: Model,
        fusion: Fusion = "mask",
        variant: Variant = "paper",
        alpha: float = 0.1,
        beta: float = 1.0,
        branches: BranchKind | Mapping[str, nn.Module | str] = "light",
        nde_weights: tuple[float, float, float] = (1.0, 1.0, 1.0),
        init_constant: float = 0.0,
        branch_dim: int = 64,
        albert: str | dict[str, Any] | None = None,
        balance_weight: float = 1.0,
    ) -> None:
        super().__init__(backbone)
        check_classes("CausalMER", backbone)
        check_final_logits("CausalMER", backbone)
        check_subtracts_once(self, backbone)
        check_choice("CausalMER", "fusion", fusion, get_args(Fusion))
        check_choice("CausalMER", "variant", variant, get_args(Variant))
        if len(nde_weights) != len(MODALITIES):
            raise MERError(f"nde_weights is {list(nde_weights)}; give three weights, for text, audio and vision")
        check_weights("CausalMER", {"alpha": alpha, "beta": beta, "balance_weight": balance_weight})
        for weight in nde_weights:
            check_weights("CausalMER", {"nde_weights": weight})
        self.fusion, self.variant, self.alpha, self.beta = fusion, variant, alpha, beta
        self.balance_weight = balance_weight
        self.weights = dict(zip(MODALITIES, nde_weights, strict=True))
        self.branches = build_branches(branches, self.spec, self.input_dims, self.task.num_outputs, branch_dim, albert)
        trainable = fusion != "tanh"
        self.constants = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(float(init_constant)), trainable) for name in self.spec.modalities}
        )
        self.replaces_logits = True
        self._reads_mask = {name: reads_mask(branch) for name, branch in self.branches.items()}
        # A branch that does not read the mask sees padding as data.
        self.fixed_length |= not all(self._reads_mask.values())

    @override
    def arguments(self) -> dict[str, Any]:
        alberts = [branch.albert for branch in self.branches.values() if isinstance(branch, AlbertBranch)]
        sizes = [encoder_sizes(albert.config) for albert in alberts]
        return {**super().arguments(), "albert": next(iter(sizes), None)}

    @classmethod
    @override
    def check_arguments(cls, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        albert = arguments.get("albert")
        if albert is not None:
            if not isinstance(albert, dict) or albert.get("model_type") != "albert":
                raise MERError("albert of CausalMER is not given by its sizes alone")
            check_encoder_config(albert)
        return super().check_arguments(arguments)

    def untrained_parameters(self) -> list[str]:
        """Names of the parameters that no loss can train: the constants under ``tanh`` fusion."""
        return [f"constants.{name}" for name in self.spec.modalities if not self.constants[name].requires_grad]

    @override
    def forward(self, batch: Batch) -> Output:
        output: Output = self.backbone(batch)
        return output.replace(logits=self._fuse(self._unimodal(output, batch), widen(output.logits)))

    @override
    def predict(self, batch: Batch) -> Output:
        output = self.backbone.predict(batch)
        y, y_m = self._unimodal(output, batch), widen(output.logits)
        found = effects(y, y_m, self._fixed_constants(y_m), self.fusion, self.variant)
        tie = total_indirect_effect(found.te, found.nde, self.weights)
        inner = output.effects
        # Training-time scores are h of the inner model's training-time logits, which may differ from its test-time
        # ones.
        factual = self._fuse(y, widen(inner["factual"])) if "factual" in inner else found.factual
        named = {"factual": factual, "te": found.te, **_prefixed("nde_", found.nde), "tie": tie}
        named |= {**_prefixed("y_", y), "y_m": y_m, **keep_inner(inner)}
        return output.replace(logits=tie, effects=named)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            yield self._debias(step)

    def _debias(self, step: Step) -> Step:
        """L = alpha L_cls + beta (L_kl + w L_bal), the main cross-entropy left to the step's task loss (Eq. 21)."""
        y, y_m = self._unimodal(step.output, step.batch), widen(step.output.logits)
        fixed = {name: logits.detach() for name, logits in y.items()}
        found = effects(fixed, y_m.detach(), dict(self.constants.items()), self.fusion, self.variant)
        l_kl = direct_divergence(found.te, found.nde, self.weights, self.variant)
        l_bal = balance_divergence(found.te, found.nde, self.weights, self.variant)
        weight = self.alpha * step.task_weight
        losses = {
            f"causalmer/ce_{name}": distributed_mean(self.task.weighted(logits, step.batch.target, weight))
            for name, logits in y.items()
        }
        losses["causalmer/kl"] = self.beta * distributed_mean(l_kl)
        losses["causalmer/balance"] = self.beta * self.balance_weight * distributed_mean(l_bal)
        output = step.output.replace(logits=self._fuse(y, y_m))
        return replace(step, output=output, losses={**step.losses, **losses}, task_weight=weight)

    @property
    @override
    def calibrates(self) -> bool:
        return self.backbone.calibrates  # it chooses nothing itself, it only hands inner scores inwards

    @override
    def calibrate(self, valid: Scores) -> None:
        self.backbone.calibrate(valid.inner("y_m"))

    @override
    def rescore(self, valid: Scores) -> Tensor:
        return self._tie(valid, self.backbone.rescore(valid.inner("y_m")))

    @override
    def oracle(self, test: Scores) -> list[Tensor]:
        return [self._tie(test, y_m) for y_m in self.backbone.oracle(test.inner("y_m"))]

    def _tie(self, scores: Scores, y_m: Tensor) -> Tensor:
        """TIE of kept branch scores and other scores of the inner model."""
        y = {name: scores.effects[f"y_{name}"] for name in self.spec.modalities}
        found = effects(y, y_m, self._fixed_constants(y_m), self.fusion, self.variant)
        return total_indirect_effect(found.te, found.nde, self.weights)

    def _unimodal(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Logits of each modality's branch (Eq. 12)."""
        y = {}
        for name, branch in self.branches.items():
            x, mask = output.inputs[name], batch.modality(name).mask
            logits = branch(x, mask=mask) if self._reads_mask[name] else branch(x)
            wanted = (len(x), self.task.num_outputs)
            if logits.flatten(1).shape != wanted:
                raise MERError(f"the {name} branch returned shape {tuple(logits.shape)}; it must return {wanted}")
            y[name] = widen(self.task.reshape(logits.flatten(1)))
        return y

    def _fuse(self, y: Mapping[str, Tensor], y_m: Tensor) -> Tensor:
        return fuse(list(y.values()), y_m, self.fusion)

    def _fixed_constants(self, like: Tensor) -> dict[str, Tensor]:
        return {name: constant.detach().to(like) for name, constant in self.constants.items()}


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
