r"""MulDeF: front-door adjustment in training and counterfactual subtraction at test time, around any network.

Idea: a network goes by whatever goes along with the label in training. In training the label is predicted from what the
joint representation says (the mediator), with what was seen replaced by its expectation, beside a branch for each
modality that takes up what the modality gives away by itself. At test time what the branches say with nothing mediated
is the counterfactual; alpha times it is taken off the prediction.

Input and shapes (B batch, S the task's shape, x_m the mean over time of what the network reads of modality m):
    inner model: features (B, D), which the mediator reads, and inputs[m] (B, T, d), which branches read with the mask;
    forward: logits (B, S) = h(m, t, a, v); predict: logits (B, S) = h(m, t, a, v) - alpha * h(c, t, a, v).
The inner model's classifier is dropped.

Where the paper is in the code:
    front-door adjustment              functional/frontdoor.py, wrappers/muldef/mediator.py
    branches                           wrappers/muldef/branch.py
    biased words, the masked text      wrappers/kept_words.py
    fusions, losses                    functional/counterfactual.py, MulDeF._fuse for ``fc``, MulDeF._debias
    choice of alpha (not the paper's)  confounding/strength.py, functional/deconfounding.py

What trains what: the cross-entropies of h(m, t, a, v) and of the branches train network, head and branches, though
branches do not train what they read. The scalar c alone is trained by KL(softmax(h(m, t, a, v)) | softmax(h(c, t, a,
v))), and under ``fc`` by nothing.

How alpha is chosen (``alpha_selection``), always from 0, 0.25, ..., 3: as CLUE's, see wrappers/clue/wrapper.py; the
bias of ``deconfounded`` is what the text branch says. The released code takes the best alpha on the evaluated
split itself, which is ``oracle``, and chooses epoch and weights of losses by test splits, too, which nothing here does.

Differences between the released code and ours:
    * there the text branch has a BERT of its own, which is trained; ours reads what the network's encoder makes of the
      masked text, without gradient to it. Of text features with token ids, masked words are zero vectors; without token
      ids nothing can be masked, and the notes say so;
    * there means and branches run over padding (``variant="released"``); here over real steps;
    * there the expectation of what is seen is a file's, with an entry for each split, test splits too; here it is that
      of the training split alone, by the encoder as training finds it;
    * ``words="maci"`` for biased words is MACI's rule; ``muldef`` is the released one: at least ``min_count``
      occurrences (73 on MOSI, 825 on MOSEI), with counts that vary at all over the classes, of three the outer two;
    * log(p + 1e-12) in place of log p; any subset of modalities; several emotions, for which one text is masked, with
      the words left that are biased for any.

Reproduction: logits, fusions, counterfactual, loss, gradients and a step of the released code to 1e-5; no training run.

References:
    Huan, Zhong, Chen and Liang, "MulDeF: A Model-Agnostic Debiasing Framework for Robust Multimodal Sentiment
    Analysis", IEEE Transactions on Multimedia, 2024. Released code: gw-zhong/MulDeF (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Output, Step
from mer_zoo.confounding.strength import PlainStrength, Selection, check_strength
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.backdoor import class_prior
from mer_zoo.functional.counterfactual import divergence, fuse
from mer_zoo.functional.deconfounding import ALPHAS
from mer_zoo.functional.language_bias import debias
from mer_zoo.functional.precision import widen
from mer_zoo.functional.variants import Variant
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.model import Backbone, Model, Shown, Wrapper
from mer_zoo.scores import Scores
from mer_zoo.training.modes import evaluating
from mer_zoo.wrappers.inner_checks import check_classes, check_keeps_logits
from mer_zoo.wrappers.kept_words import BiasRule, KeptWords, TrainTokens, biased_words
from mer_zoo.wrappers.muldef.branch import LastStateBranch
from mer_zoo.wrappers.muldef.mediator import FrontDoorHead
from mer_zoo.wrappers.muldef.options import FIXED, MOST_WORDS, SHOWN, WHOLE_TEXTS, Fusion, check_options

__all__ = ["MulDeF"]


class MulDeF(Wrapper):
    """Front-door adjustment and counterfactual debiasing; see the module's text for the idea.

    ``predict`` gives the effects ``factual`` and ``plain`` (h(m, t, a, v)), ``counterfactual`` (h(c, t, a, v)),
    ``mediated`` (m) and the branches' ``text``, ``audio``, ``vision``, each (B, *task shape).

    Args:
        backbone: The model to debias.
        fusion: The fusion function h: ``sum``, ``harmonic``, ``rubi``, or ``fc``, which is learnt.
        heads: Rows K of the mediator; its map has K times the square of the features' width in weights.
        dim: Width of its keys and of the branches' linear layers.
        gru_dim: Width of the branches' GRUs.
        base_weight: Weight of the inner model's own losses.
        branch_weight: Weight of all cross-entropies, the main one too.
        divergence_weight: Weight of the term that trains c.
        init_constant: First value of c.
        words: Which words the text branch reads, ``maci`` or ``muldef``; see the module's text.
        num_words: Of ``maci``, the most words.
        threshold: Of ``maci``, the least coefficient of variation of a word's counts over the classes.
        min_count: Of ``muldef``, the fewest occurrences of a word.
        variant: ``paper``, or ``released``, which reads padding as steps.
        alpha_selection: How the strength is chosen; see the module's text.
        alpha: The strength, alpha in the module's formula, if it is ``fixed``.

    Raises:
        MERError: If the task has no classes, the inner model has replaced its logits, or an option is out of range;
            when called before ``prepare``.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(tokens=True, vocab_size=200), SentimentClassification(3)
        >>> batch = Batch.random(spec, task, size=8)
        >>> model = MulDeF(LFLSTM(spec, task), alpha_selection="fixed", alpha=0.5).eval()
        >>> model.prepare([batch])
        >>> output = model.predict(batch)
        >>> torch.equal(output.logits, output.effects["plain"] - 0.5 * output.effects["counterfactual"])
        True
    """

    shown_effects: ClassVar[Mapping[str, Shown]] = SHOWN
    prepared: Tensor

    def __init__(
        self,
        backbone: Model,
        fusion: Fusion = "harmonic",
        heads: int = 8,
        dim: int = 128,
        gru_dim: int = 32,
        base_weight: float = 1.0,
        branch_weight: float = 1.0,
        divergence_weight: float = 1.0,
        init_constant: float = 1.0,
        words: BiasRule = "maci",
        num_words: int = 100,
        threshold: float = 0.1,
        min_count: int = 73,
        variant: Variant = "paper",
        alpha_selection: Selection = "deconfounded",
        alpha: float = 0.0,
    ) -> None:
        super().__init__(backbone)
        check_classes("MulDeF", backbone)
        check_keeps_logits("MulDeF", backbone)
        sizes = {"heads": heads, "dim": dim, "gru_dim": gru_dim, "num_words": num_words, "min_count": min_count}
        weights = {"base_weight": base_weight, "branch_weight": branch_weight, "divergence_weight": divergence_weight}
        check_options(fusion, words, variant, sizes, {**weights, "threshold": threshold})
        check_strength("MulDeF", "alpha", alpha_selection, alpha)
        self.fusion, self.variant, self.rule = fusion, variant, words
        self.num_words, self.threshold, self.min_count = num_words, threshold, min_count
        self.base_weight, self.branch_weight, self.divergence_weight = base_weight, branch_weight, divergence_weight
        outputs, dims, problems = self.task.num_outputs, self.input_dims, len(self.task.problems)
        self.mediator = FrontDoorHead(self.feature_dim, dims, outputs, heads, dim)
        self.branches = nn.ModuleDict({name: LastStateBranch(dims[name], outputs, gru_dim, dim) for name in dims})
        self.join = nn.Linear((1 + len(dims)) * outputs, outputs) if fusion == "fc" else None
        self.constant = nn.Parameter(torch.tensor(float(init_constant)), requires_grad=fusion != "fc")
        self.kept_words = KeptWords("MulDeF", self.spec, problems * (num_words if words == "maci" else MOST_WORDS))
        self.strength = PlainStrength("MulDeF", "alpha", self.task.shape[:-1], alpha_selection, alpha, ALPHAS)
        self.mark, self.weighs_validation = self.strength.mark, alpha_selection == "propensity"
        self.register_buffer("prepared", torch.tensor(False))
        self._is_prepared = self._masks_text = False
        backbone.drop_head()
        self.replaces_logits = True
        self.fixed_length |= variant == "released"

    def untrained_parameters(self) -> list[str]:
        """Names of the parameters that no loss can train: the constant under ``fc``."""
        return [] if self.constant.requires_grad else ["constant"]

    @override
    def forward(self, batch: Batch) -> Output:
        output: Output = self.backbone(batch)
        return output.replace(logits=self._fuse(self._mediated(output, batch), self._branch_logits(output, batch)))

    @override
    def predict(self, batch: Batch) -> Output:
        output = self.backbone.predict(batch)
        m, branches = self._mediated(output, batch), self._branch_logits(output, batch)
        plain, counterfactual = self._fuse(m, branches), self._fuse(self.constant.expand_as(m), branches)
        named = {"factual": plain, "plain": plain, "counterfactual": counterfactual, "mediated": m, **branches}
        logits = debias(plain, counterfactual, self.strength.tau_in_use)
        return output.replace(logits=logits, effects={**output.effects, **named})

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            yield self._debias(step)

    def _debias(self, step: Step) -> Step:
        """L = w_b L_base + w_c (CE(h) + CE(t) + CE(a) + CE(v)) + w_k KL; the task loss is CE(h)."""
        m, branches = self._mediated(step.output, step.batch), self._branch_logits(step.output, step.batch)
        fused, fixed = self._fuse(m, branches), {name: logits.detach() for name, logits in branches.items()}
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.fusion != "fc"):
            counterfactual = self._fuse(self.constant.expand_as(m), fixed)
        weight, target = self.branch_weight * step.task_weight, step.batch.target
        losses = {name: self.base_weight * loss for name, loss in step.losses.items()}
        for name, logits in branches.items():
            losses[f"muldef/{name}"] = distributed_mean(self.task.weighted(logits, target, weight))
        terms = divergence(fused.detach(), counterfactual)
        losses["muldef/divergence"] = self.divergence_weight * distributed_mean(terms)
        return replace(step, output=step.output.replace(logits=fused), losses=losses, task_weight=weight)

    def _mediated(self, output: Output, batch: Batch) -> Tensor:
        """m, of the shape of the task."""
        self._check_prepared()
        return widen(self.task.reshape(self.mediator(output.features, self._means(output, batch))))

    def _means(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {name: masked_mean(x, self._mask(batch, name)) for name, x in output.inputs.items()}

    def _branch_logits(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """t, a and v, each of the shape of the task."""
        logits = {}
        for name, branch in self.branches.items():
            # Branches are to find what a modality gives away, not to make the network's words give it away.
            x = self._biased_text(batch) if name == "text" and self._masks_text else output.inputs[name]
            logits[name] = widen(self.task.reshape(branch(x.detach(), self._mask(batch, name))))
        return logits

    @torch.no_grad()
    def _biased_text(self, batch: Batch) -> Tensor:
        network = self.nest[-1]
        text = self.kept_words.view(batch).text
        return network.encode_text(text).x if isinstance(network, Backbone) else text.x

    def _mask(self, batch: Batch, name: str) -> Tensor:
        mask = batch.modality(name).mask
        return torch.ones_like(mask) if self.variant == "released" else mask

    def _fuse(self, m: Tensor, branches: Mapping[str, Tensor]) -> Tensor:
        if self.join is None:
            return fuse(list(branches.values()), m, FIXED[self.fusion])
        return widen(self.task.reshape(self.join(torch.cat([x.flatten(1) for x in (m, *branches.values())], 1))))

    def _check_prepared(self) -> None:
        if self._is_prepared:
            return  # asking buffers at every step would make a GPU wait
        if not self.prepared:
            raise MERError(
                f"{self.name} has no expectation of a training split yet; fit it, call prepare, or load a checkpoint"
            )
        self._is_prepared, self._masks_text = True, bool(self.kept_words.on)

    @override
    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._is_prepared = False

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        with torch.no_grad(), evaluating(self.backbone):
            self.mediator.fit(self._vectors(train))
        tokens = TrainTokens.read(train, self.task, self.spec)
        if tokens is not None:
            options = (self.num_words, self.threshold, self.min_count)
            self.kept_words.fit(biased_words(tokens, self.task.graded_shape[-1], self.rule, *options))
        self.prepared.fill_(True)

    def _vectors(self, train: BatchSource) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """Means of each batch, and which samples have anything of a modality."""
        for batch in train:
            known = {name: batch.modality(name).mask.any(1) for name in self.input_dims}
            yield self._means(self.backbone(batch), batch), known

    @override
    def calibrate(self, valid: Scores) -> None:
        super().calibrate(valid)
        if not self.strength.chooses:
            return
        shape = (len(valid), len(self.task.problems), self.task.shape[-1])
        bias_name = "text" if "text" in self.branches else "counterfactual"
        y, y_cf, bias = (valid.effects[name].view(shape) for name in ("plain", "counterfactual", bias_name))
        target = self.task.encode(valid.target).view(shape[:2])
        prior = class_prior(nn.functional.one_hot(target, shape[2]).sum(0))
        self.strength.choose(y, y_cf, target, bias, prior, valid.weights)
        self.strength.warn()

    @override
    def rescore(self, valid: Scores) -> Tensor:
        return debias(valid.effects["plain"], valid.effects["counterfactual"], self.strength.tau_in_use.cpu())

    @override
    def oracle(self, test: Scores) -> list[Tensor]:
        if self.strength.selection != "oracle":
            return []
        return [debias(test.effects["plain"], test.effects["counterfactual"], a) for a in self.strength.candidates]

    @override
    def diagnostics(self) -> dict[str, float]:
        found = {**super().diagnostics(), **self.strength.diagnostics(self.task.problems)}
        return {**found, "muldef/constant": self.constant.item()}

    @override
    def notes(self) -> list[str]:
        reads_all = self.prepared and "text" in self.branches and not self.kept_words.on
        return [*self.strength.notes(), *([WHOLE_TEXTS] if reads_all else []), *super().notes()]
