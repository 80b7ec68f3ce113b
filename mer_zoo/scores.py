"""Scores of a whole split, gathered from every process and batch: what they are worth, and what no input would be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MetricCollection

from mer_zoo.errors import MERError
from mer_zoo.metrics.confusion import ConfusionMetric
from mer_zoo.metrics.regression import ScoreMetric
from mer_zoo.task import Task

__all__ = ["Scores", "baselines", "first_of_each", "keep_inner", "measure"]

INNER = "inner/"
_CERTAIN = 1000.0  # a logit whose softmax is one-hot to the last bit, so that a neutral prediction scores exactly 0


def first_of_each(index: Tensor) -> Tensor:
    """Where each value of (N,) indices stands first, in the order of the values.

    Example:
        >>> first_of_each(torch.tensor([4, 2, 4, 0])).tolist()
        [3, 1, 0]
    """
    order = index.argsort(stable=True)
    fresh = torch.ones_like(order, dtype=torch.bool)
    fresh[1:] = index[order][1:] != index[order][:-1]
    return order[fresh]


def keep_inner(effects: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Effects of an inner model under names that leave room for its wrapper's; see :meth:`Scores.inner`.

    Example:
        >>> list(keep_inner({"factual": torch.zeros(1)}))
        ['inner/factual']
    """
    return {f"{INNER}{name}": value for name, value in effects.items()}


@dataclass
class Scores:
    """Test-time scores of samples, in the order of the split.

    Args:
        logits: (N, *task shape) test-time logits.
        effects: Named extras of every sample, each (N, ...).
        target: The labels as they stand in a Batch.
        index: (N,) place of each sample in its split.
        weights: (N,) or (N, E) weights under which label and biased words are independent; None where nobody asked for
            them.
        ids: Sample ids; None where nobody asked for them.
        available: (N,) what each sample has, as :meth:`mer_zoo.batch.Batch.available`; None where it is not known.
        facts: Numbers that tell of each sample, (N,) each, NaN where one is not known; such as ``words``.
        additive: (N, *task shape) logits of the model's additive approximation over modalities, NaN for samples that
            it was not made for; None where nobody asked for it.
        features: (N, D) joint representation; None where nobody asked for it.
        names: Names of the samples' speakers and dialogues, N each, as far as the data tell them.

    Example:
        >>> len(Scores(torch.zeros(4, 1), {}, torch.zeros(4), torch.arange(4)))
        4
    """

    logits: Tensor
    effects: dict[str, Tensor]
    target: Tensor
    index: Tensor
    weights: Tensor | None = None
    ids: Sequence[str] | None = None
    available: Tensor | None = None
    facts: dict[str, Tensor] = field(default_factory=dict)
    additive: Tensor | None = None
    features: Tensor | None = None
    names: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def cpu(self) -> Scores:
        """Return the scores in float32 on the CPU."""
        effects = {name: value.float().cpu() for name, value in self.effects.items()}
        available = None if self.available is None else self.available.cpu()
        return Scores(
            self.logits.float().cpu(),
            effects,
            self.target.cpu(),
            self.index.cpu(),
            ids=self.ids,
            available=available,
            facts={name: value.float().cpu() for name, value in self.facts.items()},
            features=None if self.features is None else self.features.float().cpu(),
            names=self.names,
        )

    def inner(self, logits: str) -> Scores:
        """What the inner model alone would have kept, from what its wrapper kept with :func:`keep_inner`.

        Args:
            logits: The wrapper's effect that is the inner model's test-time logits.
        """
        found = {name.removeprefix(INNER): value for name, value in self.effects.items() if name.startswith(INNER)}
        return replace(self, logits=self.effects[logits], effects=found)

    @classmethod
    def concat(cls, parts: Sequence[Scores]) -> Scores:
        """Join parts into one, sorted by index, each sample once.

        A distributed sampler repeats samples to even out the shards; counting them twice would bend the metrics.

        Example:
            >>> part = Scores(torch.tensor([[1.0], [2.0]]), {}, torch.zeros(2), torch.tensor([1, 0]))
            >>> Scores.concat([part, part]).logits.flatten().tolist()
            [2.0, 1.0]
        """
        index = torch.cat([part.index for part in parts])
        order = first_of_each(index)
        names = parts[0].effects
        ids = [name for part in parts for name in part.ids or ()]
        known = [part.available for part in parts if part.available is not None]
        features = [part.features for part in parts if part.features is not None]
        return cls(
            torch.cat([part.logits for part in parts])[order],
            {name: torch.cat([part.effects[name] for part in parts])[order] for name in names},
            torch.cat([part.target for part in parts])[order],
            index[order],
            ids=[ids[place] for place in order.tolist()] if len(ids) == len(index) else None,
            available=torch.cat(known)[order] if len(known) == len(parts) else None,
            facts={name: torch.cat([part.facts[name] for part in parts])[order] for name in parts[0].facts},
            features=torch.cat(features)[order] if len(features) == len(parts) else None,
            names={
                key: [parts_names[place] for place in order.tolist()]
                for key in parts[0].names
                if len(parts_names := [name for part in parts for name in part.names.get(key, ())]) == len(index)
            },
        )

    @classmethod
    def gather(cls, parts: Sequence[Scores]) -> Scores:
        """Join the parts of every process; every process gets the whole."""
        mine = [part.cpu() for part in parts]
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return cls.concat(mine)
        theirs: list[list[Scores]] = [[] for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(theirs, mine)
        return cls.concat([part for parts_of_rank in theirs for part in parts_of_rank])


def measure(
    task: Task, scores: Scores, candidates: Sequence[Tensor] = (), weights: Tensor | None = None
) -> dict[str, float]:
    """Loss of the training-time logits and metrics of the test-time logits.

    Args:
        task: What the logits mean.
        scores: The scores of a whole split; its effect "factual", where it has one, is the training-time logits.
        candidates: Test-time logits (N, *task shape) to choose from for each metric separately, by the labels of this
            very
            split: the protocol of an oracle.
        weights: (N,) weights of the samples, or (N, E) where each of E problems has its own; their scale does not
            matter. None weighs all alike.

    Returns:
        ``loss`` and the metrics of the task.

    Raises:
        MERError: With weights, if the task has a metric that knows none.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> right, wrong = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[1.0, 0.0, 0.0]])
        >>> scores, task = Scores(wrong, {}, torch.tensor([2]), torch.tensor([0])), SentimentClassification(3)
        >>> measure(task, scores)["Acc3"], measure(task, scores, [wrong, right])["Acc3"]
        (0.0, 1.0)
        >>> both = Scores(torch.cat([right, wrong]), {}, torch.tensor([2, 2]), torch.arange(2))
        >>> measure(task, both, weights=torch.tensor([3.0, 1.0]))["Acc3"]
        0.75
    """
    logits = scores.effects.get("factual", scores.logits)
    if weights is None:
        loss = task.criterion(logits, scores.target).mean()
    else:
        least = torch.finfo(weights.dtype).tiny
        loss = task.weighted(logits, scores.target, (weights / weights.mean(0).clamp(min=least)).to(logits)).mean()
    metrics = task.metrics()
    tables = [_metrics(metrics, given, scores.target, weights) for given in candidates or [scores.logits]]
    best = {}
    for name, metric in metrics.items():
        defined = [table[name] for table in tables if not math.isnan(table[name])]
        best[name] = (max if metric.higher_is_better else min)(defined, default=math.nan)
    return {"loss": float(loss), **best}


def _metrics(metrics: MetricCollection, logits: Tensor, target: Tensor, weights: Tensor | None) -> dict[str, float]:
    if weights is None:
        metrics.reset()
        metrics.update(logits, target)
        return {name: float(value) for name, value in metrics.compute().items()}
    values = {}
    for name, metric in metrics.items():
        if not isinstance(metric, (ConfusionMetric, ScoreMetric)):
            raise MERError(
                f"{name} is a {type(metric).__name__}, which knows no weights; leave deconfounded metrics off"
            )
        values[name] = float(metric.resampled(logits, target, weights[None]).float())
    return values


def baselines(task: Task, target: Tensor) -> dict[str, dict[str, float]]:
    """Metrics of the two predictors that ignore the sample, on the given labels themselves.

    Args:
        task: Names the metrics.
        target: Labels of the whole split as they stand in a Batch.

    Returns:
        ``majority``: each metric with the most frequent of the classes that this metric tells apart (for MAE and Corr,
        the most frequent class). ``constant``: all metrics with one prediction, the median score or the most frequent
        class of the task.

    Raises:
        MERError: Without a label.

    Example:
        >>> import torch
        >>> from mer_zoo.task import SentimentRegression
        >>> result = baselines(SentimentRegression(), torch.tensor([-1.0, 1.0, 2.0]))
        >>> round(result["majority"]["Acc2_non0"], 3), result["constant"]["MAE"]
        (0.667, 1.0)
    """
    labelled = ~target.flatten(1).isnan().any(1) if target.dim() > 1 else ~target.isnan()
    target = target[labelled]
    if not len(target):
        raise MERError("the split has no labels, so no baseline can be computed; use predict instead of test")
    constant = _table(task, _constant_logits(task, target), target)
    return {"majority": _table(task, _majority_logits(task, target), target, majority=True), "constant": constant}


def _table(task: Task, logits: Tensor, target: Tensor, majority: bool = False) -> dict[str, float]:
    metrics = task.metrics().to(target.device)
    metrics.update(logits.expand(len(target), *task.shape), target)
    result = {}
    for name, metric in metrics.items():
        value = metric.majority() if majority and isinstance(metric, ConfusionMetric) else metric.compute()
        result[name] = float(value)
    return result


def _constant_logits(task: Task, target: Tensor) -> Tensor:
    if not task.is_classification:
        return target.float().median().view(1, 1)
    return _majority_logits(task, target)


def _majority_logits(task: Task, target: Tensor) -> Tensor:
    if not task.is_classification:
        return target.float().round().mode(0).values.view(1, 1)
    classes = task.encode(target).mode(0).values
    return F.one_hot(classes, task.shape[-1]).float()[None] * _CERTAIN
