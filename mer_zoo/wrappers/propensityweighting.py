r"""PropensityWeighting: training as if biased words had been dealt out at random, around any network.

Idea: what stands behind both the words and the label (a topic, say) is not seen, but the frequent words that go with a class are its
trace. A small model :math:`p_b(y \mid x)` of these words alone says how far the label could be guessed from them. Samples whose label is as
the words suggest weigh little, the others much: under these weights label and words are independent, as in a randomised trial. Or the
network is trained as an expert beside the words' expert, and learns what these do not say already.

Input and shapes (B batch, S the task's shape):
    training split: token ids or transcripts, labels, ids (clips of one recording share a fold), indices;
    ``mode="weight"``: each step's task_weight, times (P(y_i) / p_b(y_i))^s, clipped, with mean 1 over the training split; (B,), or (B, E)
    for E emotions;
    ``mode="product"``: each step's logits, plus s (log p_b - log P(y)) of shape (B, S); nothing is added in forward or predict.

Where things are in the code:
    biased words, MACI's rule                  functional/language_bias.py, bias_words
    p_b out of sample, choice of its l2        functional/propensity.py
    weights                                    functional/deconfounding.py, deconfounding_weights
    fit on the training split                  layers/propensity.py

Assumption: the words called biased carry no cause of the label. Where they do ("good", "bad"), their signal is removed too: look at the word
list and the curve over ``strength``.

Nests: it changes nothing but the task's own loss, so it may stand anywhere; losses that networks and wrappers add themselves (of
branches, of restoration) are as they were unless these go by task_weight, as CausalMER's and CLUE's do. ``product`` has to meet
the final scores: wrappers that compute their own from features or from the inner scores refuse it inside.
Nothing of it is needed to predict. The propensities of the training samples are fitted anew when training is resumed.

References:
    Rosenbaum and Rubin, "The Central Role of the Propensity Score in Observational Studies for Causal Effects", Biometrika 70(1), 1983;
    Clark, Yatskar and Zettlemoyer, "Don't Take the Easy Way Out", EMNLP 2019 (the product of experts). No paper of this field has
    the wrapper; it is this library's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, Step
from mer_zoo.errors import MERError
from mer_zoo.layers.propensity import LARGEST_WEIGHT, BiasSource, Propensity
from mer_zoo.layers.strength import LEAST_SAMPLES
from mer_zoo.model import BatchSource, Model, Wrapper
from mer_zoo.options import check_choice, check_weights

__all__ = ["PropensityWeighting"]

Mode = Literal["weight", "product"]


class PropensityWeighting(Wrapper):
    """Debiasing by propensities of biased words; see the module's text for the idea.

    Args:
        backbone: The model to train.
        mode: ``weight`` weighs the samples, ``product`` adds the words' log-probabilities to the training logits.
        strength: The exponent of the weights, or the factor of the log-probabilities; 0 is plain training.
        max_words: Most biased words.
        min_cv: Least coefficient of variation of a biased word's counts over the classes.
        folds: Folds in which the propensities are fitted out of sample.
        max_weight: Largest weight before normalisation.
        source: Where the bias is looked for: in the ``words``, or in the mean of the frames of ``audio`` or ``vision``.

    Raises:
        MERError: For an option out of range, a source that is not in use, or a ``product`` without classes; in ``prepare`` if the training split has no words; when
            trained before ``prepare``.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(tokens=True, vocab_size=110, text_len=2), SentimentClassification(3)
        >>> batch, model = Batch.random(spec, task, size=100), PropensityWeighting(LFLSTM(spec, task))
        >>> batch = batch.replace(target=batch.text.x[:, 0] % 3)  # six words, and the first one is told by the class
        >>> model.prepare([batch])
        >>> (step,) = model.steps(batch)
        >>> step.task_weight.shape, round(step.task_weight.mean().item(), 4)
        (torch.Size([100]), 1.0)
    """

    prepared: Tensor

    def __init__(
        self,
        backbone: Model,
        mode: Mode = "weight",
        strength: float = 1.0,
        max_words: int = 100,
        min_cv: float = 0.1,
        folds: int = 5,
        max_weight: float = LARGEST_WEIGHT,
        source: BiasSource = "words",
    ) -> None:
        super().__init__(backbone)
        check_choice("PropensityWeighting", "mode", mode, get_args(Mode))
        check_weights("PropensityWeighting", {"strength": strength, "min_cv": min_cv})
        _check_numbers(max_words, folds, max_weight)
        if mode == "product" and not self.task.is_classification:
            raise MERError(
                f"a product of PropensityWeighting needs classes, but {type(self.task).__name__} has a single output without class"
                " probabilities; set mode: weight, or choose a task with classes"
            )
        self.mode: Mode = mode
        if mode == "product":
            self.replaces_logits = self.trains_other_logits = True
            self.mark = "[product]"
        self.trace = Propensity(self.spec, self.task, max_words, min_cv, folds, source, strength, max_weight)
        # Not saved: what belongs to the samples of a training split is fitted anew for the split at hand.
        self.register_buffer("prepared", torch.tensor(False), persistent=False)
        self._of_samples = torch.zeros(0)

    @property
    @override
    def propensity(self) -> Propensity:
        return self.trace

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        self.trace.fit(train)
        found = self.trace.train_weights() if self.mode == "weight" else self.trace.train_offsets()
        self._of_samples = found.float()
        self.prepared.fill_(True)
        for warning in self._warnings():
            rank_zero_warn(warning)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            yield self._debias(step)

    def _debias(self, step: Step) -> Step:
        """w_i times the task's loss, or its logits plus s (log p_b - log P(y))."""
        found = self._look_up(step.batch.index)
        if self.mode == "weight":
            return step.reweigh(found)
        logits = step.output.logits
        return replace(step, output=step.output.replace(logits=logits + found.to(logits.dtype)))

    def _look_up(self, index: Tensor) -> Tensor:
        if not len(self._of_samples):
            raise MERError(f"{self.name} has no propensities of a training split yet; fit it, or call prepare")
        if index.device.type == "cpu" and int(index.max()) >= len(self._of_samples):  # a GPU would have to wait for it
            raise MERError(
                f"sample {int(index.max())} is trained on, but the training split that {self.name} was prepared with has"
                f" {len(self._of_samples)}; train on that split"
            )
        self._of_samples = self._of_samples.to(index.device)
        return self._of_samples[index]

    def _warnings(self) -> list[str]:
        what = "biased words" if self.trace.source == "words" else f"features of {self.trace.source}"
        found = []
        numbers = zip(
            *(x.flatten().tolist() for x in (self.trace.loss, self.trace.prior_loss, self.trace.ess)), strict=True
        )
        for problem, (loss, prior_loss, size) in zip(self.task.problems, numbers, strict=True):
            where = f" for {problem}" if problem else ""
            if loss >= prior_loss:
                found.append(
                    f"PropensityWeighting sees no confounding{where}: on samples not seen the {what} have a log-loss of {loss:.4f}, the"
                    f" class shares alone {prior_loss:.4f}; weighting only adds noise"
                )
            if self.mode == "weight" and size < LEAST_SAMPLES:
                found.append(
                    f"PropensityWeighting leaves an effective sample size of {size:.1f}{where}, below {LEAST_SAMPLES}; lower strength or"
                    " max_weight"
                )
        return found

    @override
    def diagnostics(self) -> dict[str, float]:
        return {**super().diagnostics(), **self.trace.diagnostics()}

    @override
    def notes(self) -> list[str]:
        return [*(self._warnings() if self.trace.fitted else []), *super().notes()]


def _check_numbers(max_words: int, folds: int, max_weight: float) -> None:
    if max_words < 1:
        raise MERError(f"max_words of PropensityWeighting is {max_words}; give at least 1")
    if folds < 2:
        raise MERError(f"folds of PropensityWeighting is {folds}; give at least 2")
    if not math.isfinite(max_weight) or max_weight <= 1:
        raise MERError(f"max_weight of PropensityWeighting is {max_weight}; give a finite number above 1")
