"""How likely each class is by a trace of the bias alone: fitted on the training split, out of sample for its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, DataSpec
from mer_zoo.confounding.reader import BiasSource, GroupOption, TraceReader
from mer_zoo.confounding.report import by_problem, curve_point, sample_rows, word_rows
from mer_zoo.confounding.spelling import name_number
from mer_zoo.confounding.trace import LISTED, PooledTrace, TrainingSplit, WordRule, Words, WordTrace, group_numbers
from mer_zoo.errors import MERError
from mer_zoo.functional.deconfounding import deconfounding_weights, effective_sample_size
from mer_zoo.functional.logistic import shrunken_shares
from mer_zoo.functional.propensity import CrossFit, assign_folds, cross_fit
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["WEIGHT_LIMIT", "Propensity"]

WEIGHT_LIMIT = 10.0
DEFAULT_RULE = WordRule()
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
TRACES = [*product(get_args(BiasSource), get_args(Words)), ("words", LISTED)]  # in the order of saved states


class Propensity(nn.Module):
    """p_b(y | trace) for each problem of a task; the trace is biased words, or the mean of a modality's frames.

    The words are token ids where there are any, else those of the transcripts. Of a group the trace is its class
    shares. Behind a gate, a problem whose trace gains no more out of sample than chance would is left alone: all its
    weights are 1, its offsets 0.

    Args:
        spec: Shapes of the data and ids of special tokens.
        task: Whose classes; a single real-valued output is rounded to seven.
        rule: Which words count as biased.
        folds: Folds of the cross-fit; whole recordings where the ids tell them.
        source: Where the trace is: ``words``, ``audio``, ``vision``, the ``recording`` that a sample is from, or
            ``groups`` given.
        strength: Exponent of the training samples' weights.
        largest: Largest weight before normalisation.
        gate: Whether to leave problems alone where nothing is seen.
        groups: ``speaker``, ``dialogue``, a CSV file or a mapping, see :class:`~mer_zoo.confounding.groups.Groups`.

    Attributes:
        words: (*problems, max_words) the biased words, or numbers of the largest groups; -1 where there are fewer.
        prior: (*problems, C) shares of the classes in the training split.
        loss: (*problems,) log-loss out of sample, in nats.
        prior_loss: (*problems,) the same of the class shares.
        error: (*problems,) standard error of their difference, the gain.
        is_open: (*problems,) whether the weights and offsets are in use.
        ess: (*problems,) effective number of training samples under the weights.
        fitted: Whether :meth:`fit` has run, here or before the state was saved.
        report: What the fit found, in plain values; empty before it.
        out_of_fold: (N, *problems, C) log-probabilities of the training samples by their index; not saved.

    Raises:
        MERError: If the source or rule is none, the modality is not in use, or a file of groups cannot be read.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(tokens=True, vocab_size=200), SentimentClassification(3)
        >>> propensity, batch = Propensity(spec, task), Batch.random(spec, task, size=30)
        >>> propensity.fit([batch])
        >>> propensity.log_p(batch).shape, propensity.out_of_fold.shape, propensity.train_weights().shape
        (torch.Size([30, 3]), torch.Size([30, 3]), torch.Size([30]))
    """

    words: Tensor
    coefficients: Tensor
    intercept: Tensor
    prior: Tensor
    loss: Tensor
    prior_loss: Tensor
    error: Tensor
    is_open: Tensor
    ess: Tensor
    by_token: Tensor
    fitted: Tensor
    trace: Tensor

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        rule: WordRule = DEFAULT_RULE,
        folds: int = 5,
        source: BiasSource = "words",
        strength: float = 1.0,
        largest: float = WEIGHT_LIMIT,
        gate: bool = True,
        groups: GroupOption = None,
    ) -> None:
        super().__init__()
        check_choice("Propensity", "words", rule.words, (*get_args(Words), LISTED))
        self.reader = TraceReader(spec, source, groups)
        self.task, self.rule, self.folds, self.gate = task, rule, folds, gate
        self.source, self.strength, self.largest = source, strength, largest
        self.shape = task.graded_shape
        *problems, num_classes = self.shape
        self.width = self.reader.dim or rule.max_words
        self.register_buffer("words", torch.full((*problems, rule.max_words), -1))
        self.register_buffer("coefficients", torch.zeros(*problems, self.width, num_classes))
        for name in ("intercept", "prior"):
            self.register_buffer(name, torch.zeros(*problems, num_classes))
        for name in ("loss", "prior_loss", "error", "ess"):
            self.register_buffer(name, torch.zeros(tuple(problems)))
        self.register_buffer("is_open", torch.ones(tuple(problems), dtype=torch.bool))
        self.register_buffer("by_token", torch.tensor(True))
        self.register_buffer("fitted", torch.tensor(False))
        others = name_number(repr((rule.min_share, rule.min_cv, sorted(rule.keep_words))))
        self.register_buffer("trace", torch.tensor([TRACES.index((source, rule.words)), others]))
        # No buffers: their size is not known at construction, DDP would send them around, and no prediction needs them.
        self.out_of_fold = torch.zeros(0, *self.shape)
        self.target = torch.zeros(0, *problems, dtype=torch.long)
        self.ids: list[str] = []
        self.report: dict[str, Any] = {}

    @override
    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Of equal shapes, so that torch would take the coefficients of one trace for those of another.
        saved = state_dict.get(f"{prefix}trace")
        if saved is not None and not torch.equal(saved.cpu(), self.trace.cpu()):
            names = ["source {}, words {}".format(*TRACES[int(x.view(-1)[0])]) for x in (saved, self.trace)]
            said = " and ".join(names) if names[0] != names[1] else "min_share, min_cv or keep_words differ"
            raise MERError(
                f"propensities that were saved go by another trace than this model's: {said}; set them alike"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def classes(self, target: Tensor) -> Tensor:
        """Classes (B, *problems) of labels as they stand in a Batch."""
        return self.task.grades(target)

    def fit(self, train: BatchSource) -> None:
        """Fit on the training split.

        Raises:
            MERError: If the trace is that of words, and there are neither token ids nor transcripts, or no word to
                keep.
        """
        self.fit_split(self.read(train))

    def read(self, train: BatchSource) -> TrainingSplit:
        """What the fit looks at."""
        return self.reader.read(train, lambda batch: self.classes(batch.target))

    @torch.no_grad()
    def fit_split(self, split: TrainingSplit) -> None:
        """Fit on what was read of a training split; see :meth:`fit`."""
        self.by_token.fill_(split.by_token)
        by_id = self.reader.groups is None
        groups = group_numbers(split.ids) if by_id else torch.unique(torch.cat(split.words), return_inverse=True)[1]
        self.ids, self.target = split.ids, split.classes.view(-1, *self.shape[:-1])
        counted = self.reader.counted(self.rule, split)
        fits = [self._fit_problem(g, counted, groups) for g in range(split.classes.shape[1])]
        self.out_of_fold = torch.stack([fit.log_p for fit in fits], 1).view(-1, *self.shape)
        self.ess.copy_(torch.tensor(self.effective_sizes(self.strength)).view_as(self.ess))
        self.report = self._describe(split, fits)
        self.fitted.fill_(True)

    def _fit_problem(self, g: int, split: TrainingSplit, groups: Tensor) -> CrossFit:
        num_classes, y = self.shape[-1], split.classes[:, g]
        if split.pooled is not None:
            fit, weight, bias = self._fit_pooled(split.pooled, y, groups)
        else:
            by = self._fit_words if self.reader.groups is None else self._fit_groups
            fit, found, weight = by(WordTrace(split.words, y, num_classes, self.rule), groups)
            absent = self.rule.max_words - len(found)
            self.words.view(-1, self.rule.max_words)[g] = F.pad(found, (0, absent), value=-1).to(self.words)
            weight, bias = F.pad(weight, (0, 0, 0, absent)), fit.full.bias
        seen = fit.tells and (split.pooled is not None or len(found) > 0)
        numbers = {"coefficients": weight, "intercept": bias, "prior": F.one_hot(y, num_classes).double().mean(0)}
        numbers |= {name: torch.tensor(getattr(fit, name)) for name in ("loss", "prior_loss", "error")}
        numbers["is_open"] = torch.tensor(seen or not self.gate)
        for name, value in numbers.items():
            buffer = self.get_buffer(name)
            buffer.view(-1, *value.shape)[g] = value.to(buffer)
        return fit

    def _fit_words(self, trace: WordTrace, groups: Tensor) -> tuple[CrossFit, Tensor, Tensor]:
        fold = assign_folds(groups, self.folds)
        fit = cross_fit(trace, trace.y, trace.num_classes, fold, groups=groups)
        return fit, trace.words(torch.arange(len(groups))), fit.full.weight

    def _fit_groups(self, trace: WordTrace, groups: Tensor) -> tuple[CrossFit, Tensor, Tensor]:
        """Folds of samples: without all samples of its group nothing is known of one."""
        fold, x = assign_folds(torch.arange(len(groups)), self.folds), trace.count(trace.vocabulary)
        options: dict[str, Any] = {"groups": groups, "fit": shrunken_shares}
        fit = cross_fit(lambda rows: x, trace.y, trace.num_classes, fold, **options)  # noqa: ARG005
        known = x.sum(0).argsort(descending=True, stable=True)[: self.rule.max_words]
        return fit, trace.vocabulary[known], fit.full.weight[known]

    def _fit_pooled(self, x: Tensor, y: Tensor, groups: Tensor) -> tuple[CrossFit, Tensor, Tensor]:
        pooled = PooledTrace(x)
        fit = cross_fit(pooled, y, self.shape[-1], assign_folds(groups, self.folds), groups=groups)
        mean, deviation = pooled.scale(torch.arange(len(y)))
        weight = fit.full.weight / deviation[:, None]
        return fit, weight, fit.full.bias - mean @ weight

    def log_p(self, batch: Batch) -> Tensor:
        """(B, *problems, C) log-probabilities of samples that are not of the training split.

        Raises:
            MERError: If the batch lacks the words that the fit goes by.
        """
        coefficients = self.coefficients.view(-1, self.width, self.shape[-1])
        if self.reader.pools:
            x = self.reader.pool(batch)[:, None].expand(-1, len(coefficients), -1)
        else:
            numbers = self.reader.numbers(batch, bool(self.by_token))
            x = (numbers[:, :, None, None] == self.words.view(-1, self.width)).sum(1)
            x = self.rule.read(x) if self.reader.groups is None else x
        scores = torch.einsum("bgv,gvc->bgc", x.to(coefficients), coefficients)
        return (scores.view(-1, *self.shape) + self.intercept).log_softmax(-1)

    def weights(self, log_p: Tensor, target: Tensor) -> Tensor:
        """Weights of samples outside the training split, at full strength and not normalised; 1 behind a closed gate.

        Args:
            log_p: (N, *problems, C).
            target: Labels as they stand in a Batch.

        Returns:
            (N, *problems) float64.
        """
        prior = self.prior.to(log_p.device)
        weights = deconfounding_weights(log_p, self.classes(target), prior, largest=self.largest)
        return weights.where(self.is_open.to(log_p.device), 1.0)

    def train_weights(self, strength: float | None = None) -> Tensor:
        """(N, *problems) float64 weights of the training samples by index, with mean 1; all 1 behind a closed gate."""
        strength = self.strength if strength is None else strength
        weights = deconfounding_weights(
            self.out_of_fold, self.target, self._shares(), strength=strength, largest=self.largest
        )
        weights = weights / weights.mean(0).clamp(min=torch.finfo(weights.dtype).tiny)
        return weights.where(self.is_open.cpu(), 1.0)

    def train_offsets(self) -> Tensor:
        """(N, *problems, C) log p_b - log P(y) of the training samples by their index; all 0 behind a closed gate."""
        least = -80.0  # of a class that the training split lacks: exp(-80) is nothing, and no infinity
        offsets = self.out_of_fold.clamp(min=least) - self._shares().log().clamp(min=least)
        return offsets.where(self.is_open.cpu()[..., None], 0.0)

    def _shares(self) -> Tensor:
        """P(y) in float64, which the buffer may not be."""
        return F.one_hot(self.target, self.shape[-1]).double().mean(0)

    def effective_sizes(self, strength: float) -> list[float]:
        """Effective number of training samples of each problem."""
        return [effective_sample_size(column) for column in self.train_weights(strength).view(len(self.target), -1).T]

    def diagnostics(self) -> dict[str, float]:
        """Number of words, gain out of sample, whether the gate is open and effective sample size, by problem."""
        numbers = {} if self.reader.pools else {self._kind: (self.words >= 0).sum(-1)}
        numbers |= {"gain": self.prior_loss - self.loss, "open": self.is_open, "ess": self.ess}
        return by_problem("propensity", numbers, self.task.problems)

    @property
    def _kind(self) -> str:
        return "words" if self.reader.groups is None else "groups"

    def sample_rows(self) -> list[dict[str, Any]]:
        """A row a training sample: its class, weight and propensities out of sample."""
        size = len(self.target)
        weights, log_p = self.train_weights().view(size, -1), self.out_of_fold.view(size, -1, self.shape[-1])
        return sample_rows(self.ids, self.task.problems, self.target.view(size, -1), weights, log_p)

    def _describe(self, split: TrainingSplit, fits: Sequence[CrossFit]) -> dict[str, Any]:
        """Plain values: for each problem the fit, the curve over strength, and the words."""
        curve = {s: self.train_weights(s).view(len(self.target), -1) for s in STRENGTHS}
        own = self.train_weights().view(len(self.target), -1)
        problems = []
        for g, (name, fit) in enumerate(zip(self.task.problems, fits, strict=True)):
            y, num_classes, x = split.classes[:, g], self.shape[-1], None
            found: dict[str, Any] = {"name": name, **fit.numbers(), "open": bool(self.is_open.view(-1)[g])}
            found["prior"] = self.prior.view(-1, num_classes)[g].tolist()
            if not self.reader.pools:
                words = self.words.view(-1, self.width)[g].cpu()
                x = WordTrace(split.words, y, num_classes, self.rule).count(words)
                names = self.reader.spellings(words, split)
                found[self._kind] = word_rows(
                    words, names, x, y, num_classes, own[:, g], lambda number: self.reader.holders(number, split)
                )
            found["curve"] = [curve_point(x, y, num_classes, s, weights[:, g]) for s, weights in curve.items()]
            problems.append(found)
        options = {"source": self.source, "folds": self.folds, "strength": self.strength, "max_weight": self.largest}
        options |= {"gate": self.gate, **(self.rule.told() if self.source == "words" else {})}
        return {**options, "samples": len(self.target), "problems": problems}
