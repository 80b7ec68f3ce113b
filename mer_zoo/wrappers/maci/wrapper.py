"""MACI: model-agnostic causal inference against label bias and language bias, around any backbone.

Idea: two shortcuts run from the training split into a network. Labels are a confounder: some classes are frequent and
have typical features. The head therefore averages, over the classes' prior, one classifier for each class, each told
the typical features of its class (backdoor adjustment); at test time all classes count alike. Words are the other: a
few frequent words go with a class whatever is meant. The text of these words alone is the counterfactual, and tau times
its prediction is taken off the prediction at test time.

Input and shapes (B batch, S the task's shape, m each modality in use):
    inner model: features (B, feature_dim), and in ``prepare`` inputs[m] (B, T_m, d_m) with batch.m.mask;
    forward: logits (B, S), log-probabilities with the training split's prior and class means;
    predict: logits (B, S) = plain - tau * counterfactual, both with uniform prior and the average of the class means;
        as printed, these two and so the logits are made of probabilities.

Where the paper is in the code (by equation):
    class means and prior (Eqs. 20-24)         MACI.prepare, functional/backdoor.py
    backdoor adjustment (Eqs. 20-24)           wrappers/maci/backdoor.py, functional/backdoor.py, backdoor_adjustment
    subtraction (Eq. 25)                       functional/language_bias.py, intervened, debias
    bias words, counterfactual (Eqs. 26-27)    wrappers/maci/language_bias.py, functional/language_bias.py
    choice of tau (not the paper's)            functional/deconfounding.py

How tau is chosen (``tau_selection``), always from 0.0, 0.1, ..., 3.0:
    * ``deconfounded``: by the accuracy on the validation split under weights that make label and bias words
      independent. An ordinary validation split has the training split's bias, there the bias helps, and tau would come
      out near 0;
    * ``propensity``: the same under weights from a small model of the words alone, see confounding/propensity.py;
    * ``validation``: by the plain accuracy on the validation split;
    * ``fixed``: it is the argument ``tau``;
    * ``oracle``: the released code's protocol, which takes the best tau for each metric on the evaluated split itself.
      Tables mark it; ``predict`` itself then uses tau 0.
P(y) of the deconfounding weights is the training split's prior, the distribution that a randomised trial would keep.

Differences between the paper and the authors' code; the code is followed, ``variant="paper"`` brings what is printed:
    * backdoor adjustment (24): the paper averages the classifiers' outputs over the prior, the code their
      probabilities, which is Eq. 20;
    * subtraction (25): the paper subtracts probabilities, the code log-probabilities. Scores as printed may be
      negative: their order tells the class, and metrics that read them as a distribution, such as MAE, mean little;
    * bias words (26-27): the paper takes the most frequent words and of these the ones that vary over all classes; the
      code the most frequent of those that vary between the two outer classes, where a word that occurs in neutral
      samples only inherits the variation of the word before it.
``labels=False`` is the paper's ablation without MCM (Table V), a linear classifier in its place.
Differences of ours: ``counterfactual="text_alone"`` subtracts what the bias words say with nothing heard or seen; the
paper's counterfactual keeps audio and vision, so that their evidence is subtracted with the words'; statistics come
from the training split alone (the released files seem to hold those of validation and test split, too); any subset of
modalities; text features with token ids beside them, whose masked positions become zero; without token ids only the
labels are debiased; several emotions, each with head, statistics, bias words and tau of its own; a class that the
training split lacks has prior 0 and the mean of the others' means; samples with nothing in a modality do not count in
its means.

More than 300 lines, because a third of them says where the paper and the code go apart.

Reproduction: outputs, losses, bias words and the choice of tau of the released code to 1e-5; on SyntheticMER see
docs/results.md, no figure of the paper yet.

References:
    Zhong, Huan, Wu, Liang and Chen, "Towards Robust Multimodal Emotion Recognition under Missing Modalities and
    Distribution Shifts", arXiv:2506.10452, 2025. Released code: gw-zhong/CIDer; nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Output, Step
from mer_zoo.confounding.strength import Selection
from mer_zoo.data.missing.drop import blanked
from mer_zoo.errors import MERError
from mer_zoo.functional.backdoor import class_means, class_prior, class_sums
from mer_zoo.functional.language_bias import debias, intervened
from mer_zoo.functional.variants import Variant
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.model import Model, Shown, Wrapper
from mer_zoo.scores import Scores
from mer_zoo.training.modes import evaluating
from mer_zoo.wrappers.inner_checks import check_classes, check_keeps_logits
from mer_zoo.wrappers.maci.backdoor import BackdoorHeads, PlainHead
from mer_zoo.wrappers.maci.language_bias import LanguageBias, listed_ids, words_of
from mer_zoo.wrappers.maci.options import NO_LABELS, NOTHING, SHOWN, Counterfactual, check_options

__all__ = ["MACI"]


class MACI(Wrapper):
    """Debiasing by backdoor adjustment and counterfactual text; see the module's text for the idea.

    ``predict`` gives the effects ``factual`` (what ``forward`` gives), ``plain``, and where the language is debiased
    ``counterfactual`` and, while tau is still to be chosen, ``bias`` (of the counterfactual text with nothing heard or
    seen), all (B, *task shape). A pass of the network whose result nobody would use is left out; predictions of a
    Trainer have ``counterfactual`` whatever tau is.

    Args:
        backbone: The model to debias.
        dim: Width of the encoded class means; 32 when left out.
        language: Whether to debias the language; by default where the data has token ids.
        layer_norm: Normalise in the encoders of audio and vision, for tests on another corpus.
        num_words: Most bias words.
        threshold: Least coefficient of variation of a bias word's counts over the classes.
        variant: ``released``, or ``paper`` for the printed Equations 24 to 27.
        counterfactual: What the counterfactual changes: ``text`` keeps audio and vision as they are (the paper),
            ``text_alone`` takes them away, so that what they say is not subtracted.
        tau_selection: How the strength is chosen; see the module's text.
        tau: The strength, the paper's tau, if it is ``fixed``.
        labels: Whether to debias the labels; False is the paper's ablation without MCM.
        words: A file of ``mer-zoo words``, whose words without ``keep`` are the bias words in place of the paper's.

    Raises:
        MERError: If the task is a single-output regression, the inner model has replaced its logits, or an option is
            out of range; in ``prepare`` if ``language`` is true without token ids; when called before ``prepare``.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(tokens=True, vocab_size=200), SentimentClassification(3)
        >>> batch = Batch.random(spec, task, size=8)
        >>> model = MACI(LFLSTM(spec, task), tau_selection="fixed", tau=0.5).eval()
        >>> model.prepare([batch])
        >>> output = model.predict(batch)
        >>> torch.equal(output.logits, output.effects["plain"] - 0.5 * output.effects["counterfactual"])
        True
    """

    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"words": ()}
    shown_effects: ClassVar[Mapping[str, Shown]] = SHOWN
    prepared: Tensor

    def __init__(
        self,
        backbone: Model,
        dim: int | None = None,
        language: bool | None = None,
        layer_norm: bool = False,
        num_words: int = 100,
        threshold: float = 0.1,
        variant: Variant = "released",
        counterfactual: Counterfactual = "text",
        tau_selection: Selection = "deconfounded",
        tau: float = 0.0,
        labels: bool = True,
        words: str | None = None,
    ) -> None:
        super().__init__(backbone)
        check_classes("MACI", backbone)
        check_keeps_logits("MACI", backbone, "put MACI inside, as in CausalMER(MACI(...)), or ")
        dim = 32 if dim is None else dim
        check_options(num_words, threshold, variant, tau_selection, tau, counterfactual, dim)
        if not labels and language is False:
            raise MERError("MACI debiases neither labels nor language; set one of them to true, or leave MACI out")
        self.listed = words_of(words, num_words, language)
        self.labels, self.language, self.threshold = labels, language, threshold
        self.variant: Variant = variant
        self.counterfactual: Counterfactual = counterfactual
        self.head = (
            BackdoorHeads(self.feature_dim, self.input_dims, self.task.shape, dim, layer_norm, variant)
            if labels
            else PlainHead(self.feature_dim, self.task.shape)
        )
        self.language_bias = LanguageBias(self.spec, self.task.shape[:-1], num_words, tau_selection, tau)
        self.mark = self.language_bias.mark
        self.weighs_validation = tau_selection == "propensity"
        self.register_buffer("prepared", torch.tensor(False))
        backbone.drop_head()
        self.replaces_logits = True
        self._is_prepared = False

    @override
    def forward(self, batch: Batch) -> Output:
        self._check_prepared()
        output: Output = self.backbone(batch)
        return output.replace(logits=self.head(output.features))

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        self._check_prepared()
        for step in self.backbone.steps(batch):
            yield replace(step, output=step.output.replace(logits=self.head(step.output.features)))

    @override
    def predict(self, batch: Batch) -> Output:
        self._check_prepared()
        output = self.backbone.predict(batch)
        plain = intervened(self.head.test_scores([output.features] * len(self.head)), self.variant)
        named = {"factual": self.head(output.features), "plain": plain}
        if self._needs_counterfactual():
            named |= self._counterfactual_scores(batch)
        logits = plain
        if "counterfactual" in named:
            logits = debias(plain, named["counterfactual"], self.language_bias.tau_in_use)
        return output.replace(logits=logits, effects={**output.effects, **named})

    def _needs_counterfactual(self) -> bool:
        if not self.language_bias.on:
            return False
        used = bool(self.language_bias.tau_in_use.any()) or self.language_bias.selection == "oracle"
        return used or self.explaining or (self.calibrating and self.language_bias.chooses)

    def _counterfactual_scores(self, batch: Batch) -> dict[str, Tensor]:
        """y(x_cf), and, while tau is to be chosen by it, the prediction from the counterfactual text alone."""
        views, which = self.language_bias.views(batch)
        weighted = self.calibrating and self.language_bias.selection == "deconfounded"
        named = {"counterfactual": views} if self.counterfactual == "text" else {}
        if weighted or self.counterfactual == "text_alone":
            named["bias"] = [blanked(view, ("text",), self.spec) for view in views]
        scores = {}
        for name, versions in named.items():
            features = [self.backbone.predict(version).features for version in versions]
            scores[name] = self.head.test_scores([features[place] for place in which])
        y_cf = scores.get("counterfactual", scores.get("bias"))
        assert y_cf is not None
        return scores | {"counterfactual": intervened(y_cf, self.variant)}

    def _check_prepared(self) -> None:
        if self._is_prepared:
            return  # asking the buffer at every step would make a GPU wait
        if not self.prepared:
            raise MERError(
                f"{self.name} has no statistics of a training split yet; fit it, call prepare, or load a checkpoint"
            )
        self._is_prepared = True

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        with torch.no_grad(), evaluating(self.backbone):
            self._fit(train)
        self.prepared.fill_(True)

    def _fit(self, train: BatchSource) -> None:
        """Class prior and class means (Eqs. 20-24), and the bias words (Eqs. 25-27)."""
        num_classes = self.task.shape[-1]
        counts = torch.zeros(len(self.head), num_classes, dtype=torch.float64)
        parts: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in self.input_dims}
        ids: list[Tensor | None] = []
        classes: list[Tensor] = []
        for batch in train:
            y = self.task.encode(batch.target).view(len(batch), -1).cpu()
            counts += F.one_hot(y, num_classes).sum(0)
            for name, x in self.backbone(batch).inputs.items() if self.labels else ():
                mask = batch.modality(name).mask
                parts[name].append(class_sums(masked_mean(x.float(), mask).cpu(), y, num_classes, mask.any(1).cpu()))
            found = batch.text.ids
            ids.append(None if found is None else found[batch.text.mask].cpu())
            classes.append(y.repeat_interleave(batch.text.lengths.cpu(), 0))
        words = self._words_to_count(ids)
        sums = {name: [torch.stack(terms).sum(0) for terms in zip(*p, strict=True)] for name, p in parts.items() if p}
        self.head.set_statistics(class_prior(counts), {name: class_means(*pair) for name, pair in sums.items()})
        if words is not None and self.listed is None:
            self.language_bias.fit(words, torch.cat(classes), num_classes, self.threshold, self.variant)
        elif self.listed is not None:
            self.language_bias.set_words(listed_ids(self.spec, train, self.listed))

    def _words_to_count(self, ids: Sequence[Tensor | None]) -> Tensor | None:
        """All token ids of the training split, or None where the language is not to be debiased."""
        known = [found for found in ids if found is not None]
        complete = "text" in self.spec.modalities and len(known) == len(ids)
        if self.language and not complete:
            raise MERError(
                "MACI's language is true, but the training split has no token ids; give a file with token ids, or leave"
                " it out"
            )
        return torch.cat(known) if complete and self.language is not False else None

    @override
    def calibrate(self, valid: Scores) -> None:
        super().calibrate(valid)
        if not (self.language_bias.on and self.language_bias.chooses):
            return
        shape = (len(valid), len(self.head), self.task.shape[-1])
        y, y_cf = (valid.effects[name].view(shape) for name in ("plain", "counterfactual"))
        bias = valid.effects["bias"].view(shape) if self.language_bias.selection == "deconfounded" else None
        target = self.task.encode(valid.target).view(shape[:2])
        self.language_bias.choose(y, y_cf, target, bias, self.head.prior.view(shape[1:]).cpu(), valid.weights)
        self.language_bias.warn()

    @override
    def rescore(self, valid: Scores) -> Tensor:
        return self._rescored(valid, self.language_bias.tau_in_use.cpu())

    @override
    def oracle(self, test: Scores) -> list[Tensor]:
        if self.language_bias.selection != "oracle" or "counterfactual" not in test.effects:
            return []
        return [self._rescored(test, tau) for tau in self.language_bias.candidates]

    def _rescored(self, scores: Scores, tau: Tensor | float) -> Tensor:
        y, y_cf = scores.effects["plain"], scores.effects.get("counterfactual")
        return y if y_cf is None else debias(y, y_cf, tau)

    @override
    def diagnostics(self) -> dict[str, float]:
        return {**super().diagnostics(), **self.language_bias.diagnostics(self.task.problems)}

    @override
    def notes(self) -> list[str]:
        mine = self.language_bias.notes() if self.prepared else []
        if not self.labels:
            mine = [NOTHING] if self.prepared and not self.language_bias.on else [NO_LABELS, *mine]
        return [*mine, *super().notes()]
