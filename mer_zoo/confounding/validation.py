"""Validation as if biased words had been dealt out at random: the weights of its samples, and metrics under them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.confounding.propensity import Propensity
from mer_zoo.confounding.report import no_confounding
from mer_zoo.confounding.strength import LEAST_SAMPLES
from mer_zoo.confounding.trace import WordRule
from mer_zoo.confounding.word_rule import word_rule
from mer_zoo.functional.deconfounding import effective_sample_size
from mer_zoo.model import Model
from mer_zoo.monitors import DECONFOUNDED, SIZE
from mer_zoo.scores import Scores, measure

__all__ = ["ValidationWeights"]

_LOG_P = "deconfounded/log_p"


class ValidationWeights:
    """Weighs validation samples by propensities that were fitted on the training split.

    The propensities are those that the model trains by, or its own, which are no part of the model's state.

    Args:
        model: The model that is validated.
        wanted: Whether weights are wanted where the model has no propensities, as they are if a model of the nest
            weighs validation; or by which words, whatever the model goes by.

    Example:
        >>> import torch
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(tokens=True, vocab_size=110, text_len=2), SentimentClassification(2)
        >>> weights, batch = ValidationWeights(LFLSTM(spec, task), wanted=True), Batch.random(spec, task, size=100)
        >>> batch = batch.replace(target=batch.text.x[:, 0] % 2)  # six words, and the first one is told by the class
        >>> weights.fit(lambda: [batch])
        >>> scores = weights.attach(Scores(torch.zeros(100, 2), weights.effects(batch), batch.target, batch.index))
        >>> sorted(weights.measure(scores))
        ['Acc2_deconfounded', 'F1_2_deconfounded', 'F1_2_macro_deconfounded', 'ess_deconfounded', 'loss_deconfounded']
    """

    def __init__(self, model: Model, wanted: bool | str) -> None:
        self.model = model
        wanted = wanted or any(part.weighs_validation for part in model.nest)
        given = model.offered(Propensity)
        kept = () if given is None else given.rule.keep_words
        rule = (
            word_rule("MERModule", wanted, keep_words=kept, option="deconfounded")
            if isinstance(wanted, str)
            else WordRule()
        )
        suits = given is not None and (
            isinstance(wanted, bool)
            or (given.source, given.rule.words, given.rule.listed) == ("words", rule.words, rule.listed)
        )
        self.propensity = given if suits or not wanted else Propensity(model.spec, model.task, rule)
        self._has_warned = False

    @property
    def names(self) -> Iterable[str]:
        """What :meth:`measure` gives."""
        if self.propensity is None:
            return []
        return [f"{name}{DECONFOUNDED}" for name in ("loss", *self.model.task.metrics(), SIZE)]

    def fit(self, train: Callable[[], BatchSource]) -> None:
        """Fit the propensities on the training split that ``train`` gives, unless that has been done."""
        if self.propensity is None or self.propensity.fitted:
            return
        self.propensity.fit(train())
        for warning in self._warnings(self.propensity):
            rank_zero_warn(warning)

    def _warnings(self, fitted: Propensity) -> Iterator[str]:
        numbers = (x.flatten().tolist() for x in (fitted.prior_loss - fitted.loss, fitted.error, fitted.is_open))
        for problem, gain, error, is_open in zip(self.model.task.problems, *numbers, strict=True):
            if not is_open:
                seen = no_confounding(problem, fitted.source, gain, error)
                yield f"deconfounded metrics see {seen}; they are the plain metrics"

    @property
    def report(self) -> dict[str, Any]:
        """The model's propensities, or those of validation alone; both where they differ. Empty without any."""
        trained, used = self.model.offered(Propensity), self.propensity
        if used is None or trained is None or used is trained:
            return {} if used is None else used.report
        return {**trained.report, "validation": used.report}

    def effects(self, batch: Batch) -> dict[str, Tensor]:
        """What has to be kept of a validation batch."""
        if self.propensity is None:
            return {}
        return {_LOG_P: self.propensity.to(batch.index.device).log_p(batch)}

    def attach(self, scores: Scores) -> Scores:
        """Turn what was kept into weights."""
        log_p = scores.effects.pop(_LOG_P, None)
        if self.propensity is not None and log_p is not None:
            scores.weights = self.propensity.weights(log_p, scores.target)
        return scores

    def _knows_no_group(self, weights: Tensor) -> bool:
        fitted = self.propensity
        if fitted is None or fitted.reader.groups is None or not fitted.is_open.any():
            return False
        return bool((weights - 1).abs().max() < 1e-4)

    def measure(self, scores: Scores, quiet: bool = False) -> dict[str, float]:
        """Loss, metrics and the effective sample size under the weights; nothing without weights.

        Args:
            scores: Scores with weights.
            quiet: Whether not to warn of few samples, as where they are only a part of the split.
        """
        if scores.weights is None:
            return {}
        if not (quiet or self._has_warned) and self._knows_no_group(scores.weights):
            self._has_warned = True
            rank_zero_warn(
                "deconfounded metrics are the plain metrics: no group of the validation split is one of the training"
                " split"
            )
        found = measure(self.model.task, scores, weights=scores.weights)
        columns = scores.weights.view(len(scores), -1).T
        found[SIZE] = min(effective_sample_size(column) for column in columns)
        if found["ess"] < LEAST_SAMPLES and not (quiet or self._has_warned):
            self._has_warned = True
            rank_zero_warn(
                f"deconfounded metrics rest on an effective sample size of {found['ess']:.1f}, below {LEAST_SAMPLES}; a"
                f" larger"
                " validation split is needed to select by them"
            )
        return {f"{name}{DECONFOUNDED}": value for name, value in found.items()}
