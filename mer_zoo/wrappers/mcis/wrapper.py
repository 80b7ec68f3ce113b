"""MCIS in our reading: bias terms of label and context taken off at test time, around any trained network.

Idea: nothing is trained and no parameter is added. At test time two inputs are imagined beside the one that was seen:
one with everything of the utterance taken out, whose answer is what the labels alone taught (label bias), and one whose
content words are masked, whose answer is what the context gives away (context bias). Both are taken off the answer.

Of the paper no code was found and the equations were not read. Its abstract and summaries describe the scheme of
Corsair, carried from text to several modalities, and of TFD, whose codes were; what is here is theirs. Tables say so.

Input and shapes (B batch, S the task's shape):
    inner model: test-time logits or scores f (B, S); training is the inner model's;
    predict: f - x u - y w - z s (B, S), with u the label term, w the context term, s the attribute's term.

u (``label_input``):
    * ``mean`` (Corsair): the answer to the mean of the training inputs, one for all samples, asked for once whenever
      the model goes into evaluation;
    * ``masked`` (TFD): the answer to each sample with every word masked and the mean in place of audio and vision.
There is no mean of token ids, for which a text of [MASK] alone stands. Words of text features are zero vectors.

w (``content``): the text keeps
    * ``not_biased``: the words that MACI calls biased alone, so that the term is MACI's language term;
    * ``rare``: the ``num_words`` most frequent words of the training split;
    * a lexicon's file, a word a line: all but its words, as TFD masks what a sentiment lexicon lists. Corsair masks the
      keywords that an extractor finds.
Words are masked by token ids, beside text features too; without any the label term stands alone, and the notes say so.

s (``attribute``, TFD's third term, whose speaker's name we read as a group): the mean training logits of the sample's
speaker, recording, dialogue or group of a file, gathered in the epoch before.

Where things are in the code:
    subtraction, search               functional/term_search.py
    counterfactual inputs             wrappers/mcis/inputs.py
    attribute                         wrappers/mcis/attribute.py
    choice of x, y and z              wrappers/mcis/strengths.py

How the strengths are chosen (``strengths``), by Corsair's search in steps of .1 for x and y and by TFD's where there is
an attribute, of the F1 that ``measure`` names (Corsair's macro, TFD's weighted), or of the mean absolute error where
there are no classes:
    * ``deconfounded``: on the validation split under weights that make label and biased words independent, see
      confounding/propensity.py. An ordinary validation split has the training split's bias, there the bias helps, and
      strengths come out near 0;
    * ``validation``: on the validation split as it is, which is the authors' way;
    * ``fixed``: they are the arguments ``x``, ``y`` and ``z``;
    * ``oracle``: on the evaluated split itself. Tables mark it; ``predict`` itself then uses 0.

Nests: around anything from whose scores nothing like it is taken off yet: not MACI, CLUE, CausalMER or MulDeF; nor
around DFR, by which the scores of a validation split are of another layer than the answers that are taken off them.
Tests take two passes of the network, with ``masked`` three; a term of strength 0 is left out.

References:
    Yang et al., "Towards Multimodal Sentiment Analysis Debiasing via Bias Purification", ECCV 2024, arXiv:2403.05023.
    Qian, Feng, Wen, Ma and Xie, "Counterfactual Inference for Text Classification Debiasing", ACL 2021. Released code:
    qianc62/Corsair. Tu et al., "A Training-Free Debiasing Framework with Counterfactual Reasoning for Conversational
    Emotion Detection", EMNLP 2023. Released code: HITSZ-HLT/TFD. Neither states a licence; nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from typing_extensions import Self, override

from mer_zoo.batch import Batch, BatchSource, Output, Step
from mer_zoo.confounding.reader import GroupOption
from mer_zoo.errors import MERError
from mer_zoo.functional.precision import widen
from mer_zoo.model import Model, Shown, Wrapper
from mer_zoo.options import check_choice, check_sizes
from mer_zoo.scores import Scores, keep_inner
from mer_zoo.wrappers.mcis.attribute import NO_FILE, GroupAnswers
from mer_zoo.wrappers.mcis.inputs import RULES, ContextWords, MeanInputs
from mer_zoo.wrappers.mcis.strengths import Measure, Selection, TermStrengths
from mer_zoo.wrappers.subtraction import check_answers_alike, check_subtracts_once

__all__ = ["MCIS"]

LabelInput = Literal["mean", "masked"]

TERMS = ("label", "context", "attribute")
NO_WORDS = "MCIS took off no context: there were no token ids by which words could be masked"


class MCIS(Wrapper):
    """Counterfactual debiasing without training; see the module's text for the idea.

    ``predict`` gives the effects ``factual`` (what ``forward`` gives), ``plain`` (f), and where they are taken off or
    asked for ``label`` (u), ``context`` (w) and ``attribute`` (s), each (B, *task shape); the inner model's own extras
    stand there as ``inner/...``.

    Args:
        backbone: The model to debias.
        label_input: What the label term is the answer to, ``mean`` or ``masked``.
        content: Which words are content and masked in the context term: ``not_biased``, ``rare``, or the file of a
            lexicon; None for no context term.
        num_words: Most words that the first two leave.
        attribute: The groups of a third term: ``recording``, ``speaker``, ``dialogue``, a CSV file with the columns id
            and group, or a mapping; None for none.
        strengths: How x, y and z are chosen; see the module's text.
        x: Strength of the label term, if strengths are ``fixed``.
        y: Strength of the context term, likewise.
        z: Strength of the attribute's term, likewise.
        measure: What is searched by where there are classes, ``macro_f1`` or ``weighted_f1``.

    Raises:
        MERError: If a model inside takes the same off or fits its last layer anew, or an option is out of range; in
            ``prepare`` if a lexicon has no word of the training split; when predicting before it.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(tokens=True, vocab_size=200), SentimentRegression()
        >>> batch = Batch.random(spec, task, size=8)
        >>> model = MCIS(LFLSTM(spec, task), strengths="fixed", x=0.5, y=1.0).eval()
        >>> model.prepare([batch])
        >>> output, found = model.predict(batch), model.predict(batch).effects
        >>> torch.allclose(output.logits, found["plain"] - 0.5 * found["label"] - found["context"])
        True
    """

    shown_effects: ClassVar[Mapping[str, Shown]] = {
        "plain": Shown("as predicted (factual)"),
        "label": Shown("of nothing that was said (label)"),
        "context": Shown("of the context words alone (context)"),
        "attribute": Shown("of the group on average (attribute)"),
    }
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"content": RULES, "attribute": NO_FILE}
    prepared: Tensor

    def __init__(
        self,
        backbone: Model,
        label_input: LabelInput = "mean",
        content: str | None = "not_biased",
        num_words: int = 100,
        attribute: GroupOption = None,
        strengths: Selection = "deconfounded",
        x: float = 0.0,
        y: float = 0.0,
        z: float = 0.0,
        measure: Measure = "macro_f1",
    ) -> None:
        super().__init__(backbone)
        check_subtracts_once(self, backbone)
        check_answers_alike(self, backbone)
        check_choice("MCIS", "label_input", label_input, get_args(LabelInput))
        check_sizes("MCIS", {"num_words": num_words})
        self.label_input: LabelInput = label_input
        self.means = MeanInputs(self.spec)
        self.context = ContextWords(self.spec, content, num_words, len(self.task.problems))
        self.groups = GroupAnswers(self.spec, self.task, attribute)
        terms = 2 if attribute is None else 3
        self.strengths = TermStrengths(self.task, strengths, (x, y, z), terms, measure)
        self.mark = "[our reading, oracle strengths]" if strengths == "oracle" else "[our reading]"
        self.weighs_validation = strengths == "deconfounded"
        self.register_buffer("prepared", torch.tensor(False))
        self.replaces_logits = True
        self._label: Tensor | None = None

    @override
    def train(self, mode: bool = True) -> Self:
        self._label = None  # weights may have changed since it was asked for
        return super().train(mode)

    @override
    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._label = None

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for number, step in enumerate(self.backbone.steps(batch)):
            if number == 0 and self.groups.reader is not None:
                self.groups.add(step.batch, step.output.logits)
            yield step

    @override
    def predict(self, batch: Batch) -> Output:
        if not self.prepared:
            raise MERError(
                f"{self.name} has no means of a training split yet; fit it, call prepare, or load a checkpoint"
            )
        output = self.backbone.predict(batch)
        f, inner = widen(output.logits), output.effects
        terms = {name: self._term(name, batch).expand_as(f) for name in TERMS if self._needs(name)}
        logits = self._debiased(f, terms, self.strengths.in_use)
        named = {"factual": inner.get("factual", f), "plain": f, **terms, **keep_inner(inner)}
        return output.replace(logits=logits, effects=named)

    def _needs(self, name: str) -> bool:
        if name == "context" and not self.context.on:
            return False
        if name == "attribute" and self.groups.reader is None and not self.groups.count.any():
            return False
        used = bool(self.strengths.in_use[:, TERMS.index(name)].any()) or self.strengths.selection == "oracle"
        return used or self.explaining or (self.calibrating and self.strengths.chooses)

    @torch.no_grad()
    def _term(self, name: str, batch: Batch) -> Tensor:
        """(B, *task shape), or (1, *task shape) where it is the same for all."""
        if name == "attribute":
            return self.groups.of(batch)
        if name == "context":
            return widen(self.backbone.predict(self.context.view(batch)).logits)
        if self.label_input == "masked":
            return widen(self.backbone.predict(self.means.without_words(batch)).logits)
        if self._label is None:
            self._label = widen(self.backbone.predict(self.means.batch(batch)).logits)
        return self._label

    def _debiased(self, factual: Tensor, terms: Mapping[str, Tensor], strengths: Tensor) -> Tensor:
        return self.strengths.debias(factual, self._stacked(factual, terms), strengths.to(factual))

    def _stacked(self, factual: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
        """(3, B, *task shape), zeros where a term was left out."""
        return torch.stack([terms.get(name, torch.zeros_like(factual)) for name in TERMS])

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        if self.strengths.fixed[2] != 0 and self.groups.reader is None:  # a loaded model may lack the groups' file
            raise MERError(f"z of MCIS is {self.strengths.fixed[2]}, but there is no attribute to take off; give one")
        self.means.fit(train)
        self.context.read(train, self.task)
        self.groups.fit(train)
        self._label = None
        self.prepared.fill_(True)

    @override
    def calibrate(self, valid: Scores) -> None:
        inner = valid.inner("plain")
        self.backbone.calibrate(inner)
        if not self.strengths.chooses:
            return
        f = self.backbone.rescore(inner)
        self.strengths.choose(f, self._stacked(f, valid.effects), valid.target, valid.weights)
        self.strengths.warn()

    @override
    def rescore(self, valid: Scores) -> Tensor:
        f = self.backbone.rescore(valid.inner("plain"))
        return self._debiased(f, valid.effects, self.strengths.in_use.cpu())

    @override
    def oracle(self, test: Scores) -> list[Tensor]:
        inner = test.inner("plain")
        found = self.backbone.oracle(inner)
        if self.strengths.selection != "oracle":
            return [self._debiased(f, test.effects, self.strengths.in_use.cpu()) for f in found]
        candidates = []
        for f in found or [inner.logits]:
            best = self.strengths.search(f, self._stacked(f, test.effects), test.target)
            candidates += [f, self._debiased(f, test.effects, best)]
        return candidates

    @override
    def diagnostics(self) -> dict[str, float]:
        return {**super().diagnostics(), **self.strengths.diagnostics()}

    @override
    def notes(self) -> list[str]:
        lacking = self.prepared and self.context.content is not None and not self.context.on
        return [*self.strengths.notes(), *([NO_WORDS] if lacking else []), *super().notes()]
