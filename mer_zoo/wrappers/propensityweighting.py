r"""PropensityWeighting: training as if biased words had been dealt out at random, around any network.

Idea: what stands behind both the words and the label (a topic, say) is not seen, but the frequent words that go with a
class are its trace. A small model :math:`p_b(y \mid x)` of these words alone says how far the label could be guessed
from them. Samples whose label is as the words suggest weigh little, the others much: under these weights label and
words are independent, as in a randomised trial. Or the network is trained as an expert beside the words' expert, and
learns what these do not say already. Or the trial is made of the training text: samples get each other's biased words.

Input and shapes (B batch, S the task's shape):
    training split: token ids or transcripts, labels, ids (clips of one recording share a fold), indices;
    each step's task_weight, times (P(y_i) / p_b(y_i))^(a s), clipped, with mean 1 over the training split; (B,), or (B,
    E) for E emotions; each step's logits, plus (1 - a) s (log p_b - log P(y)) of shape (B, S); nothing is added in
    forward or predict. a is 1 for ``mode="weight"``, 0 for ``mode="product"``, and ``balance`` for ``mode="both"``; s
    is ``strength``;
    ``mode="exchange"``: text.x (B, T) or (B, T, d), and token ids (B, T), of each training batch, in which the places
    of biased words hold those of another sample, drawn anew for each step; s is the share of samples so changed.

Where things are in the code:
    biased words, ``words="frequent"``         functional/word_choice.py, score_test, benjamini_hochberg, word_shares
    biased words, ``words="maci"``             functional/language_bias.py, bias_words
    biased words that a file names             confounding/word_rule.py
    p_b out of sample, choice of its l2        functional/propensity.py
    class shares of groups                     functional/logistic.py, shrunken_shares; confounding/groups.py
    whose words a sample gets                  functional/word_exchange.py, deal_out
    weights, error of the gain                 functional/deconfounding.py, deconfounding_weights, gain_error
    fit on the training split, the gate        confounding/propensity.py

Assumption: frequency tells bias from content. Words of a topic are few and each is frequent, words of a sentiment are
many and each is rare, so the frequent words that go along with the class are taken for the topic's. Nothing in the data
says so, and where it is wrong ("good", "just", "not" are frequent, too), the signal of these words is removed: look at
the word list and the curve over ``strength``, and name such words in ``keep_words``. On SyntheticMER the rule finds the
topic words and hardly any other where there is confounding, and none where there is none; of MACI's words (counts
uneven over the outer classes) most are there by chance or for the sentiment, so that weighting by them costs signal.

Gate: where p_b gains no more over the class shares out of sample than chance would (1.645 standard errors), weights are
exactly 1 and offsets exactly 0: training is that of the network alone. A gate cannot tell a gain of topic words from
one of sentiment words.

The exchange keeps every sample at full weight, which weights do not, and no prediction needs the words. It takes more
for granted: that a word means the same in another sentence, as a token does, while features of an encoder hold their
old sentence; and that text without its own words of the topic is still text.

Nests: ``weight`` changes nothing but the task's own loss, and ``exchange`` nothing but the batch, so they may stand
anywhere; losses that networks and wrappers add themselves (of branches, of restoration) are as they were unless these
go by task_weight, as CausalMER's and CLUE's do. ``product`` and ``both`` have to meet the final scores: wrappers that
compute their own from features or from the inner scores refuse them inside. In experiments ``both`` did as well as
either at two to three times the effective sample size of ``weight``. RWG, GroupDRO and JTT weigh or draw the samples
themselves and are refused, but with ``exchange``, which has no weights: a sample's group is that of its own words,
whichever it gets, for what else goes along with these (voice, face, the words that stay) stays with it, and the words
that it gets tell nothing of the label under any weights. JTT stands inside, since its first training is to err by the
words. Nothing of it is needed to predict. The propensities of the training samples are fitted anew when training is
resumed. On several processes, words are exchanged among the samples of each.

References:
    Rosenbaum and Rubin, "The Central Role of the Propensity Score in Observational Studies for Causal Effects",
    Biometrika 70(1), 1983; Clark, Yatskar and Zettlemoyer, "Don't Take the Easy Way Out", EMNLP 2019 (the product of
    experts). No paper of this field has the wrapper; it is this library's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal, get_args

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Step
from mer_zoo.confounding.propensity import WEIGHT_LIMIT, Propensity
from mer_zoo.confounding.reader import BiasSource, GroupOption
from mer_zoo.confounding.report import no_confounding
from mer_zoo.confounding.strength import LEAST_SAMPLES
from mer_zoo.confounding.word_rule import RULES, word_rule
from mer_zoo.data.corpus.conversation import NAMED
from mer_zoo.errors import MERError
from mer_zoo.functional.propensity import exceeds_chance
from mer_zoo.functional.word_exchange import deal_out
from mer_zoo.model import Model, Wrapper
from mer_zoo.options import check_choice
from mer_zoo.wrappers.group_notes import check_weighs_alone
from mer_zoo.wrappers.propensity_options import DEFAULTS, check_options, check_use

__all__ = ["PropensityWeighting"]

Mode = Literal["weight", "product", "both", "exchange"]


class PropensityWeighting(Wrapper):
    """Debiasing by propensities of biased words; see the module's text for the idea.

    Args:
        backbone: The model to train.
        mode: ``weight`` weighs the samples, ``product`` adds the words' log-probabilities to the training logits,
            ``both`` does either by a part; ``exchange`` gives samples each other's biased words.
        strength: The exponent of the weights, the factor of the log-probabilities, or the share of samples whose words
            are exchanged; 0 is plain training.
        balance: The part a of ``both`` that is weighted.
        words: Which words count as biased: ``frequent`` ones whose presence is associated with the class, ``maci``'s,
            or those that a file of ``mer-zoo words`` does not keep.
        max_words: Most words; with ``frequent`` the most frequent ones, of which those that pass the test are biased.
        min_share: Of ``frequent`` words, the least share of the samples that they occur in.
        min_cv: Of ``maci``'s words, the least coefficient of variation of their counts over the classes.
        folds: Folds in which the propensities are fitted out of sample.
        max_weight: Largest weight before normalisation.
        gate: Whether to leave training as it is where no confounding is seen.
        source: Where the bias is looked for: in the ``words``, in the mean of the frames of ``audio`` or ``vision``, in
            the ``recording`` that a sample's id tells, or in ``groups`` such as speakers or films.
        groups: For ``source="groups"``, the group of each training sample: its ``speaker`` or ``dialogue``, where the
            data tell it, a CSV file with the columns id and group, or a mapping.
        keep_words: Words that carry the label rightly, such as "good", and are never taken for biased; #N is the token
            of number N.

    Raises:
        MERError: If samples are weighted by another wrapper inside, but in mode ``exchange``; for an option out of
            range or out of use, a source that is not in use, or a ``product`` without classes; in ``prepare`` if the
            training split has no words, or not one that is to be kept; when trained before ``prepare``.

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
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"groups": NAMED, "words": RULES}

    def __init__(
        self,
        backbone: Model,
        mode: Mode = "weight",
        strength: float = 1.0,
        balance: float = DEFAULTS["balance"],
        words: str | None = "frequent",
        max_words: int = 100,
        min_share: float = DEFAULTS["min_share"],
        min_cv: float = DEFAULTS["min_cv"],
        folds: int = 5,
        max_weight: float = WEIGHT_LIMIT,
        gate: bool = True,
        source: BiasSource = "words",
        groups: GroupOption = None,
        keep_words: Sequence[str] = (),
    ) -> None:
        super().__init__(backbone)
        check_choice("PropensityWeighting", "mode", mode, get_args(Mode))
        weights = {"strength": strength, "balance": balance, "min_share": min_share, "min_cv": min_cv}
        check_options(weights, max_words, folds, max_weight, keep_words)
        rule = word_rule("PropensityWeighting", words, max_words, keep_words, min_share=min_share, min_cv=min_cv)
        check_use(weights, mode, rule, source, groups)
        if mode in ("product", "both"):
            self._meet_the_scores(mode)
        if mode != "weight":
            self.mark = f"[{mode}]"
        self.balance = {"weight": 1.0, "product": 0.0, "both": balance, "exchange": 0.0}[mode]
        self.strength, self.exchanges = strength, mode == "exchange"
        exponent = self.balance * strength
        self.reweighs = exponent > 0
        if strength > 0:
            check_weighs_alone(self, backbone)
        self.trace = Propensity(self.spec, self.task, rule, folds, source, exponent, max_weight, gate, groups)
        # Not saved: what belongs to the samples of a training split is fitted anew for the split at hand.
        self.register_buffer("prepared", torch.tensor(False), persistent=False)
        self._weights, self._offsets, self._is_open = torch.zeros(0), torch.zeros(0), False

    def _meet_the_scores(self, mode: Mode) -> None:
        if not self.task.is_classification:
            raise MERError(
                f"mode {mode} of PropensityWeighting needs classes, but {type(self.task).__name__} has a single output"
                f" without class"
                " probabilities; set mode: weight, or choose a task with classes"
            )
        self.replaces_logits = self.trains_other_logits = True

    @override
    def offers(self) -> Sequence[object]:
        return (self.trace,)

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        self.trace.fit(train)
        self._weights = self.trace.train_weights().float()
        self._offsets = ((1 - self.balance) * self.strength * self.trace.train_offsets()).float()
        self._is_open = bool(self.trace.is_open.any())
        if self.exchanges and not self.trace.by_token:
            raise MERError(
                "mode exchange of PropensityWeighting needs token ids, which say where in a text a word stands; give a"
                " file that has them, or set mode: weight"
            )
        self.prepared.fill_(True)
        for warning in self._warnings():
            rank_zero_warn(warning)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        if self.exchanges:
            yield from self.backbone.steps(self._exchange(batch))
            return
        for step in self.backbone.steps(batch):
            yield self._debias(step)

    def _exchange(self, batch: Batch) -> Batch:
        """The batch, the places of whose biased words hold those of others."""
        self._check(batch.index)
        if not (self._is_open and self.strength):
            return batch
        words, ids = self.trace.words.view(-1, self.trace.width)[self.trace.is_open.view(-1)], batch.text.ids
        assert ids is not None  # as prepare has seen to
        places = deal_out(torch.isin(ids, words[words >= 0]) & batch.text.mask, self.strength)
        found = {"x": batch.text.x[places], "token_ids": None if batch.text.token_ids is None else ids[places]}
        return batch.replace(text=batch.text.replace(**found))

    def _debias(self, step: Step) -> Step:
        """w_i times the task's loss, and its logits plus (1 - a) s (log p_b - log P(y))."""
        weights = self.weights(step.batch.index)
        if not self._is_open:
            return step  # a mean under weights of 1 may round otherwise than a plain one
        if self.balance > 0:
            step = step.reweigh(weights)
        if self.balance < 1:
            self._offsets = self._offsets.to(step.batch.index.device)
            logits = step.output.logits
            logits = logits + self._offsets[step.batch.index].to(logits.dtype)
            step = replace(step, output=step.output.replace(logits=logits))
        return step

    def weights(self, index: Tensor) -> Tensor:
        """Weights of training samples.

        Args:
            index: (B,) their places in the training split.

        Returns:
            (B,), or (B, E) for E emotions, with mean 1 over the split; 1 behind a closed gate.

        Raises:
            MERError: Before ``prepare``, or for samples of another split.
        """
        self._check(index)
        self._weights = self._weights.to(index.device)
        return self._weights[index]

    def _check(self, index: Tensor) -> None:
        if not len(self._weights):
            raise MERError(f"{self.name} has no propensities of a training split yet; fit it, or call prepare")
        if index.device.type == "cpu" and int(index.max()) >= len(self._weights):  # a GPU would have to wait for it
            raise MERError(
                f"sample {int(index.max())} is trained on, but the training split that {self.name} was prepared with"
                f" has"
                f" {len(self._weights)}; train on that split"
            )

    def _warnings(self) -> list[str]:
        trace, found = self.trace, []
        tensors = (trace.prior_loss - trace.loss, trace.error, trace.is_open, trace.ess)
        numbers = zip(*(x.flatten().tolist() for x in tensors), strict=True)
        for problem, (gain, error, is_open, size) in zip(self.task.problems, numbers, strict=True):
            where = f" for {problem}" if problem else ""
            if not (is_open and exceeds_chance(gain, error)):
                so = "weighting only adds noise" if is_open else "training is plain"
                found.append(f"PropensityWeighting sees {no_confounding(problem, trace.source, gain, error)}; {so}")
            if self.balance > 0 and size < LEAST_SAMPLES:
                found.append(
                    f"PropensityWeighting leaves an effective sample size of {size:.1f}{where}, below {LEAST_SAMPLES};"
                    f" lower strength or"
                    " max_weight"
                )
        return found

    @override
    def diagnostics(self) -> dict[str, float]:
        return {**super().diagnostics(), **self.trace.diagnostics()}

    @override
    def notes(self) -> list[str]:
        return [*(self._warnings() if self.trace.fitted else []), *super().notes()]
