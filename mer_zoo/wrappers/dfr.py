r"""DFR ("deep feature reweighting"): the last layer is fitted again on validation data whose groups are of equal size.

Idea: a network that goes by an easy attribute (biased words, a speaker) has often learnt what matters beside it, and
only its last layer weighs the one more than the other. The network is trained plainly; then a new last layer is fitted
to its joint representation on a set in which every group of label and attribute has as many samples. If that helps, the
features hold the answer; if not, no last layer will find it there.

Input and shapes (B batch, N validation split, D features, K classes, P problems):
    inner model: joint representation r (B, D); training is the inner model's, and so is ``forward``;
    validation split: labels and what tells the groups, see :class:`~mer_zoo.confounding.Partition`;
    predict: logits :math:`(r - \mu) / \sigma\, W + b` (B, *task shape), once the layer is fitted.

Where the paper is in the code:
    subsets of equal groups, mean of the refits     functional/last_layer.py, balanced_subset, averaged
    l1-penalised logistic regression                functional/l1_logistic.py
    choice of its strength by the worst group       functional/last_layer.py, choose_strength, refit_last_layer

How it goes at each validation epoch's end, on the CPU: the split is cut in two halves, by whole recordings where ids
tell them. The strength C is that whose worst group is best in the half that was not fitted, on average over both. The
layer is the mean of ``retrains`` fits to balanced subsets of the whole split. Metrics of this validation epoch are
those of layers that were fitted to the other half: those of the layer itself would be its training accuracy, by which
no epoch can be chosen. C alone was chosen on both halves.

Differences from the released code, with an option or a function of its own where numbers are to be compared:
    * the intercept is not penalised, as it is by liblinear (``l1_logistic(..., penalise_intercept=True)``);
    * features are standardised by the samples that are fitted throughout; there by those in tuning, and by the training
      split in the refits;
    * both halves tune, there the second is fitted and the first judges;
    * more classes are one softmax regression; emotions have a layer each; a single real-valued output has ridge
      regression, and groups are judged by their mean absolute error (ours).
The variant that refits on a balanced part of the training split is in the functions only.

Nests: around a network, or around what trains it otherwise (RWG, GroupDRO, JTT, PropensityWeighting by weights, MSSD);
not around what makes its own scores from features, which would be lost (MACI, CausalMER, CLUE, GEAR, CUMDF), nor inside
of these, of AGM or of MCIS. Nothing of it is trained. ``mer-zoo refit RUN`` does it to a run that is trained already.

References:
    Kirichenko, Izmailov and Wilson, "Last Layer Re-Training is Sufficient for Robustness to Spurious Correlations",
    ICLR 2023, arXiv:2204.02937.
    Released code: PolinaKirichenko/deep_feature_reweighting (BSD-2-Clause); nothing copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Output
from mer_zoo.confounding.partition import NO_FILE, Partition
from mer_zoo.confounding.reader import GroupOption
from mer_zoo.confounding.trace import group_numbers
from mer_zoo.errors import MERError
from mer_zoo.functional.l1_logistic import l1_logistic
from mer_zoo.functional.last_layer import Refitted, refit_last_layer, ridge
from mer_zoo.functional.logistic import Logistic, multinomial_logistic
from mer_zoo.model import Model, Shown, Wrapper
from mer_zoo.options import check_choice
from mer_zoo.scores import Scores, keep_inner
from mer_zoo.wrappers.group_notes import FEW, group_parts
from mer_zoo.wrappers.inner_checks import check_keeps_logits

__all__ = ["DFR", "STRENGTHS"]

Penalty = Literal["l1", "l2"]
STRENGTHS = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
"""The paper's values of C."""
_FEATURES, _GROUP = "dfr/features", "dfr/group"
_SEED = 0  # of the halves and subsets, which are the same after every epoch


class DFR(Wrapper):
    """Refitting of the last layer on groups of equal size; see the module's text for the idea.

    ``predict`` gives the effects ``factual`` (what ``forward`` gives) and ``base`` (the inner model's test-time
    logits), each (B, *task shape), and while the layer is still to be fitted its features and groups.

    Args:
        backbone: The model whose last layer is fitted again.
        groups: What samples are grouped by, beside their label: their biased ``words``, the ``recording`` that an id
            tells, ``speaker`` or ``dialogue`` where the data tell it, a CSV file with the columns id and group, or a
            mapping.
        retrains: Balanced subsets whose fits are averaged.
        strengths: Values of C to choose from, how much samples count beside the penalty; the first of equals wins.
        penalty: ``l1`` or ``l2``; None for l1 where the task has classes, else l2.
        min_group: Fewest training samples of a group; smaller ones of a label are one.

    Raises:
        MERError: If the inner model has replaced its logits, or an option is out of range; in ``prepare`` if there is
            nothing to group by.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(2)
        >>> batch, speakers = Batch.random(spec, task, size=8), {f"random$_${i}": "ab"[i % 2] for i in range(8)}
        >>> batch = batch.replace(target=torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
        >>> model = DFR(LFLSTM(spec, task), groups=speakers, retrains=2, min_group=1).eval()
        >>> model.prepare([batch])
        >>> output = model.predict(batch)
        >>> model.calibrate(Scores(output.logits, output.effects, batch.target, batch.index))
        >>> model.fitted.tolist(), model.weight.shape  # of one problem; features, classes
        ([True], torch.Size([1, 64, 2]))
    """

    prepared: Tensor
    fitted: Tensor
    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor
    strength: Tensor
    worst: Tensor
    smallest: Tensor
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"groups": NO_FILE}
    shown_effects: ClassVar[Mapping[str, Shown]] = {"base": Shown("the network's own last layer")}

    def __init__(
        self,
        backbone: Model,
        groups: GroupOption = "words",
        retrains: int = 20,
        strengths: Sequence[float] = STRENGTHS,
        penalty: Penalty | None = None,
        min_group: int = 10,
    ) -> None:
        super().__init__(backbone)
        self.penalty: Penalty = ("l1" if self.task.is_classification else "l2") if penalty is None else penalty
        _check(self, retrains, strengths)
        self.partition = Partition(self.spec, self.task, groups, min_group)
        self.retrains, self.strengths = retrains, [float(C) for C in strengths]
        self.replaces_logits = self.refits_logits = True
        # Not saved: the groups' names, and those of training samples, are found again in the split at hand.
        self.register_buffer("prepared", torch.tensor(False), persistent=False)
        problems, outputs = len(self.task.problems), self.task.shape[-1]
        self.register_buffer("fitted", torch.zeros(problems, dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(self.feature_dim))
        self.register_buffer("std", torch.ones(self.feature_dim))
        self.register_buffer("weight", torch.zeros(problems, self.feature_dim, outputs))
        self.register_buffer("bias", torch.zeros(problems, outputs))
        self.register_buffer("strength", torch.zeros(problems))
        self.register_buffer("worst", torch.zeros(problems))
        self.register_buffer("smallest", torch.zeros(problems, 3, dtype=torch.long))  # group, its samples, all groups
        self._held_out: tuple[Tensor, Tensor] | None = None

    @override
    def offers(self) -> Sequence[object]:
        return group_parts(self.partition)

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if not self.prepared:
            self.partition.fit(train)
            self.prepared.fill_(True)

    @override
    def predict(self, batch: Batch) -> Output:
        output = self.backbone.predict(batch)
        own, inner = output.logits, output.effects
        effects = {"factual": inner.get("factual", own), "base": own, **keep_inner(inner)}
        if self.calibrating and self.partition.fitted:
            effects |= {_FEATURES: output.features, _GROUP: self.partition.of(batch)}
        return output.replace(logits=self._score(output.features, own), effects=effects)

    def _score(self, features: Tensor, own: Tensor) -> Tensor:
        """Logits of the fitted layer, and the network's own of a problem that has none."""
        x = (features.float() - self.mean.to(features.device)) / self.std.to(features.device)
        # not a matrix product, which autocast would compute in half precision
        logits = (x[:, None, :, None] * self.weight.to(x)).sum(2) + self.bias.to(x)
        fitted = self.fitted.to(x.device)[:, None]
        return torch.where(fitted, logits, own.float().view(logits.shape)).view(own.shape)

    @override
    @torch.no_grad()
    def calibrate(self, valid: Scores) -> None:
        self.backbone.calibrate(valid.inner("base"))
        self._held_out = None
        if _FEATURES not in valid.effects:
            return
        own, size = self.backbone.rescore(valid.inner("base")), len(valid)
        features, group = valid.effects[_FEATURES], valid.effects[_GROUP].long()
        labels, second = self.task.encode(valid.target).view(size, -1), self._halves(valid)
        held_out = own.clone().view(size, labels.shape[1], -1)
        for p in range(labels.shape[1]):
            draws = torch.Generator().manual_seed(_SEED)
            columns = labels[:, p], group[:, p]
            found = refit_last_layer(self._fit, features, *columns, second, self.strengths, self.retrains, draws)
            self._keep(p, found, group[:, p])
            if found is not None:
                held_out[:, p] = found.held_out.to(held_out)
        self._held_out = valid.logits, held_out.view(own.shape)

    def _fit(self, x: Tensor, y: Tensor, C: float, start: Logistic | None) -> Logistic:  # noqa: N803
        outputs = self.task.shape[-1]
        if outputs == 1:
            return ridge(x, y, C)
        if self.penalty == "l2":
            return multinomial_logistic(x, y, outputs, 1 / C, start)
        return l1_logistic(x, y, outputs, C, start=start)

    def _halves(self, valid: Scores) -> Tensor:
        """(N,) whether a sample is of the second half; recordings stay together where ids tell several."""
        unit = torch.arange(len(valid)) if valid.ids is None else group_numbers(valid.ids)
        if len(torch.unique(unit)) < 2:
            unit = torch.arange(len(valid))
        counts = torch.bincount(unit)
        order = torch.randperm(len(counts), generator=torch.Generator().manual_seed(_SEED))
        before = counts[order].cumsum(0) - counts[order]
        return torch.zeros_like(counts).index_copy(0, order, (before >= len(valid) // 2).long()).bool()[unit]

    def _keep(self, p: int, found: Refitted | None, group: Tensor) -> None:
        groups, counts = torch.unique(group[group >= 0], return_counts=True)
        if len(groups):
            self.smallest[p] = torch.stack([groups[counts.argmin()], counts.min(), torch.tensor(len(groups))])
        self.fitted[p] = found is not None
        if found is not None:
            self.mean.copy_(found.mean)
            self.std.copy_(found.std)
            self.weight[p], self.bias[p] = found.layer.weight.to(self.weight), found.layer.bias.to(self.bias)
            self.strength[p], self.worst[p] = found.chosen.strength, found.chosen.worst

    @override
    def rescore(self, valid: Scores) -> Tensor:
        # by what was answered: another split may have as many samples, and so the same places
        if self._held_out is not None and torch.equal(self._held_out[0], valid.logits):
            return self._held_out[1]
        return valid.logits

    @override
    def diagnostics(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for p, problem in enumerate(self.task.problems):
            if self.fitted[p]:
                numbers = {"strength": self.strength[p], "worst": self.worst[p]}
                found |= {f"dfr/{k}{'_' + problem if problem else ''}": float(v) for k, v in numbers.items()}
        return {**super().diagnostics(), **found}

    @override
    def notes(self) -> list[str]:
        return [*self._found(), *super().notes()]

    def _found(self) -> Iterator[str]:
        for p, problem in enumerate(self.task.problems):
            who = f"DFR for {problem}" if problem else "DFR"
            group, samples, groups = self.smallest[p].tolist()
            if not self.fitted[p]:
                yield (
                    f"{who}: the last layer is the network's own, since half of the validation split lacks two groups"
                    if groups
                    else f"{who}: the last layer is the network's own, since it was not fitted on a validation split"
                )
            elif samples < FEW:
                yield (
                    f"{who}: the smallest of {groups} groups of the validation split, {self.partition.name(p, group)},"
                    f" has {samples} samples, so that the last layer was fitted to {groups * samples} at a time; below"
                    f" {FEW} a group this says little"
                )


def _check(model: DFR, retrains: int, strengths: Sequence[float]) -> None:
    check_choice("DFR", "penalty", model.penalty, get_args(Penalty))
    inner, task = model.backbone, model.task
    check_keeps_logits("DFR", inner, "put DFR around the network alone, or ")
    if not task.is_classification and model.penalty == "l1":
        raise MERError(
            f"penalty of DFR is l1, but {type(task).__name__} has a single output, which ridge regression fits; leave"
            " penalty out"
        )
    if retrains < 1:
        raise MERError(f"retrains of DFR is {retrains}; give how many balanced subsets are fitted, at least 1")
    if not strengths or not all(math.isfinite(C) and C > 0 for C in strengths):
        raise MERError(f"strengths of DFR are {list(strengths)}; give finite values of C above 0")
