"""CLUE: counterfactual reasoning about text, around any backbone.

Idea: text misleads where its words go along with a class in training and not elsewhere. A branch that reads the text
alone estimates this direct effect, the network inside the effect of everything, and a fusion function h joins their
logits. What would be predicted had only the text been seen, and only directly, is the counterfactual; at test time
alpha times it is taken off the prediction.

Input and shapes (B batch, S the task's shape):
    inner model: logits m (B, S), and inputs["text"] (B, T, d), which the text branch reads with batch.text.mask;
    forward: logits (B, S) = h(m, t); predict: logits (B, S) = h(m, t) - alpha * h(c, t).

Where the paper is in the code:
    text branch                        wrappers/clue/text_branch.py
    fusions, counterfactual            functional/clue.py
    losses                             CLUE._debias
    subtraction                        functional/language_bias.py, debias
    choice of alpha (not the paper's)  confounding/strength.py, functional/deconfounding.py

What trains what: the cross-entropies of m, t and h(m, t) train network and branch. The scalar c stands for what is not
seen; it alone is trained by the third term, the cross-entropy from softmax(h(m, t)), which is detached, to softmax(h(c,
t)), where t is detached.

How alpha is chosen (``alpha_selection``), always from 0, 0.25, ..., 3:
    * ``deconfounded``: by the accuracy on the validation split under weights that make the label independent of what
      the text branch says, since on an ordinary validation split text misleads as little as in training (MACI's rule,
      with the branch for the bias);
    * ``validation``: by the plain accuracy on the validation split;
    * ``fixed``: it is the argument ``alpha``;
    * ``oracle``: the best alpha for each metric on the evaluated split itself. Tables mark it; ``predict`` itself then
      uses alpha 0.

Differences between the paper and ours:
    * the paper's branch reads 300 GloVe dimensions of a filtered sentence, with LSTMs of that width; ours reads what
      the network reads, without gradient to it, since the direct path must not shape the network's words; ``lstm_dim``
      is 64;
    * any inner model, also another wrapper; any subset of modalities with text; several emotions, each with an alpha of
      its own;
    * ``main_weight`` also scales the inner model's own losses, which belong to the paper's base loss.

Reproduction: fusions, counterfactual, debiased scores and loss terms of the released code to 1e-5; no training run.

References:
    Sun, Wang, Jing, Cui, Song and Nie, "Counterfactual Reasoning for Out-of-distribution Multimodal Sentiment
    Analysis", ACM Multimedia 2022. Released code: Teng-Sun/CLUE_model (no licence stated); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, Output, Step
from mer_zoo.confounding.strength import PlainStrength, Selection, check_strength
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.backdoor import class_prior
from mer_zoo.functional.clue import TextFusion, fuse_counterfactual, fuse_text
from mer_zoo.functional.counterfactual import soft_cross_entropy
from mer_zoo.functional.deconfounding import ALPHAS
from mer_zoo.functional.language_bias import debias
from mer_zoo.functional.precision import widen
from mer_zoo.model import Model, Shown, Wrapper, check_final_logits
from mer_zoo.options import check_choice, check_sizes, check_weights
from mer_zoo.scores import Scores, keep_inner
from mer_zoo.wrappers.clue.text_branch import TextBranch
from mer_zoo.wrappers.inner_checks import check_classes
from mer_zoo.wrappers.subtraction import check_subtracts_once

__all__ = ["CLUE"]


class CLUE(Wrapper):
    """Counterfactual debiasing of text; see the module's text for the idea.

    ``predict`` gives the effects ``factual`` (what ``forward`` gives), ``plain`` (h(m, t)), ``counterfactual`` (h(c,
    t)), ``base`` (m) and ``text`` (t), each (B, *task shape); the inner model's own extras stand there as
    ``inner/...``.

    Args:
        backbone: The model to debias.
        fusion: The fusion function h, ``sum``, ``hm`` or ``rubi``.
        main_weight: Weight of the inner model's loss and of the cross-entropy of h(m, t).
        text_weight: Weight of the text branch's cross-entropy.
        divergence_weight: Weight of the term that trains c.
        init_constant: First value of c.
        lstm_dim: Width of each direction of the text branch's LSTMs.
        dim: Width of its linear layers.
        alpha_selection: How the strength is chosen; see the module's text.
        alpha: The strength, alpha in the module's formula, if it is ``fixed``.

    Raises:
        MERError: If the task is a single-output regression, text is not in use, or an option is out of range.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> model = CLUE(LFLSTM(spec, task), alpha_selection="fixed", alpha=0.5).eval()
        >>> output = model.predict(Batch.random(spec, task, size=2))
        >>> torch.equal(output.logits, output.effects["plain"] - 0.5 * output.effects["counterfactual"])
        True
    """

    shown_effects: ClassVar[Mapping[str, Shown]] = {
        "plain": Shown("network and text (plain)", "difference"),
        "counterfactual": Shown("text alone (counterfactual)", "difference"),
        "base": Shown("the network"),
        "text": Shown("the text branch"),
    }

    def __init__(
        self,
        backbone: Model,
        fusion: TextFusion = "sum",
        main_weight: float = 1.0,
        text_weight: float = 1.0,
        divergence_weight: float = 1.0,
        init_constant: float = 1.0,
        lstm_dim: int = 64,
        dim: int = 128,
        alpha_selection: Selection = "deconfounded",
        alpha: float = 0.0,
    ) -> None:
        super().__init__(backbone)
        _check_inner(backbone)
        check_subtracts_once(self, backbone)
        check_choice("CLUE", "fusion", fusion, get_args(TextFusion))
        weights = {"main_weight": main_weight, "text_weight": text_weight, "divergence_weight": divergence_weight}
        check_weights("CLUE", weights)
        check_strength("CLUE", "alpha", alpha_selection, alpha)
        check_sizes("CLUE", {"lstm_dim": lstm_dim, "dim": dim})
        self.fusion: TextFusion = fusion
        self.main_weight, self.text_weight, self.divergence_weight = main_weight, text_weight, divergence_weight
        self.text_branch = TextBranch(self.input_dims["text"], self.task.num_outputs, lstm_dim, dim)
        self.constant = nn.Parameter(torch.tensor(float(init_constant)))
        self.strength = PlainStrength("CLUE", "alpha", self.task.shape[:-1], alpha_selection, alpha, ALPHAS)
        self.mark = self.strength.mark
        self.weighs_validation = alpha_selection == "propensity"
        self.replaces_logits = True

    @override
    def forward(self, batch: Batch) -> Output:
        output: Output = self.backbone(batch)
        return output.replace(logits=self._fuse(output.logits, self._read_text(output, batch)))

    @override
    def predict(self, batch: Batch) -> Output:
        output = self.backbone.predict(batch)
        inner, t = output.effects, self._read_text(output, batch)
        plain, counterfactual = self._fuse(output.logits, t), fuse_counterfactual(self.constant, t, self.fusion)
        # Training-time scores are h of the inner model's training-time logits, which may differ from its test-time
        # ones.
        factual = self._fuse(inner["factual"], t) if "factual" in inner else plain
        named = {"factual": factual, "plain": plain, "counterfactual": counterfactual, "base": output.logits, "text": t}
        logits = debias(plain, counterfactual, self.strength.tau_in_use)
        return output.replace(logits=logits, effects={**named, **keep_inner(inner)})

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            yield self._debias(step)

    def _debias(self, step: Step) -> Step:
        """L = w_1 (L_base + CE(h(m, t))) + w_2 CE(t) + w_3 CE(h(m, t) -> h(c, t)); the task loss is the second."""
        m, t = widen(step.output.logits), self._read_text(step.output, step.batch)
        fused = self._fuse(m, t)
        counterfactual = fuse_counterfactual(self.constant, t.detach(), self.fusion)
        weight, target = self.main_weight * step.task_weight, step.batch.target
        losses = {name: self.main_weight * loss for name, loss in step.losses.items()}
        losses["clue/base"] = distributed_mean(self.task.weighted(m, target, weight))
        losses["clue/text"] = self.text_weight * distributed_mean(self.task.weighted(t, target, step.task_weight))
        divergence = soft_cross_entropy(fused.detach(), counterfactual)
        losses["clue/divergence"] = self.divergence_weight * distributed_mean(divergence)
        return replace(step, output=step.output.replace(logits=fused), losses=losses, task_weight=weight)

    def _read_text(self, output: Output, batch: Batch) -> Tensor:
        """t, of the shape of the task."""
        # The branch is to find what text gives away, not to make the network's words give it away.
        logits: Tensor = self.text_branch(output.inputs["text"].detach(), batch.text.mask)
        return widen(self.task.reshape(logits))

    def _fuse(self, m: Tensor, t: Tensor) -> Tensor:
        return fuse_text(widen(m), t, self.fusion)

    @override
    def calibrate(self, valid: Scores) -> None:
        inner = valid.inner("base")
        self.backbone.calibrate(inner)
        if not self.strength.chooses:
            return
        shape = (len(valid), len(self.task.problems), self.task.shape[-1])
        t = valid.effects["text"]
        y, y_cf = self._fuse(self.backbone.rescore(inner), t).view(shape), valid.effects["counterfactual"].view(shape)
        target = self.task.encode(valid.target).view(shape[:2])
        counts = torch.nn.functional.one_hot(target, shape[2]).sum(0)
        self.strength.choose(y, y_cf, target, t.view(shape), class_prior(counts), valid.weights)
        self.strength.warn()

    @override
    def rescore(self, valid: Scores) -> Tensor:
        plain = self._fuse(self.backbone.rescore(valid.inner("base")), valid.effects["text"])
        return debias(plain, valid.effects["counterfactual"], self.strength.tau_in_use.cpu())

    @override
    def oracle(self, test: Scores) -> list[Tensor]:
        inner = test.inner("base")
        found = self.backbone.oracle(inner)
        if not found and self.strength.selection != "oracle":
            return []
        plain = [self._fuse(m, test.effects["text"]) for m in found or [inner.logits]]
        y_cf = test.effects["counterfactual"]
        return [debias(y, y_cf, alpha) for y in plain for alpha in self.strength.candidates]

    @override
    def diagnostics(self) -> dict[str, float]:
        mine = {**self.strength.diagnostics(self.task.problems), "clue/constant": self.constant.item()}
        return {**super().diagnostics(), **mine}

    @override
    def notes(self) -> list[str]:
        return [*self.strength.notes(), *super().notes()]


def _check_inner(backbone: Model) -> None:
    check_classes("CLUE", backbone)
    check_final_logits("CLUE", backbone)
    if "text" not in backbone.spec.modalities:
        raise MERError(
            f"CLUE takes the direct effect of text off, but {backbone.name} reads {', '.join(backbone.spec.modalities)}"
            f" only; add text"
            " to data.modalities, or leave CLUE out"
        )
