"""The explanation of a sample: what was predicted, without each modality, by each effect, and of which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mer_zoo.batch import Batch
from mer_zoo.explain.ablation import left_out
from mer_zoo.explain.gradients import STEPS, word_gradients
from mer_zoo.explain.words import kept_words, words_of
from mer_zoo.functional.attribution import class_probability
from mer_zoo.model import Effect, Model, effects_of
from mer_zoo.task import Task

__all__ = ["Block", "Explanation", "Row", "explain"]

WITHOUT = "Without a modality"


@dataclass(frozen=True)
class Row:
    """A line of a block.

    Attributes:
        name: What it is.
        answers: A number for each class, emotion or score by its name; none for one number a sample.
        bar: What is drawn of it; None for nothing.
        says: What is predicted there; empty where nothing is.
    """

    name: str
    answers: Mapping[str, float] = field(default_factory=dict)
    bar: float | None = None
    says: str = ""


@dataclass(frozen=True)
class Block:
    """Numbers of one kind.

    Attributes:
        title: What they are.
        bar: What their bars mean.
        rows: The numbers.
        note: A sentence on them.
    """

    title: str
    bar: str
    rows: Sequence[Row]
    note: str = ""


@dataclass(frozen=True)
class Explanation:
    """What the answer to a sample comes of.

    Attributes:
        id: The sample.
        condition: What is missing in it, by the name of the test condition.
        text: Its transcript.
        words: What stands at each step of its text, [UNK] for what is missing.
        label: Its label in words; empty where it has none.
        predicted: What is predicted, in words.
        answers: The probability of each class or emotion, or the score.
        blocks: The numbers.
        kept: The counterfactual text of a wrapper that debiases the language, with the words that it keeps.
    """

    id: str
    condition: str
    text: str
    words: Sequence[str]
    label: str
    predicted: str
    answers: Mapping[str, float]
    blocks: Sequence[Block]
    kept: str | None = None


def explain(
    model: Model,
    batch: Batch,
    condition: str = "",
    spellings: Mapping[int, str] | None = None,
    words: bool = False,
    steps: int = STEPS,
) -> list[Explanation]:
    """Explain the answers to some samples.

    Args:
        model: The model; it is left in evaluation mode.
        batch: The samples, on the model's device; what is missing in them stays so.
        condition: Name of what is missing.
        spellings: See :func:`mer_zoo.explain.words.token_names`.
        words: Whether integrated gradients of the words are wanted, by captum.
        steps: Points of their integral.

    Raises:
        MERError: If words are wanted, and captum is not installed or no gradient reaches them.

    Example:
        >>> from mer_zoo import CausalMER, LFLSTM, DataSpec, SentimentClassification
        >>> model = CausalMER(LFLSTM(DataSpec(), SentimentClassification(3)))
        >>> first, _ = explain(model, Batch.random(model.spec, model.task, size=2))
        >>> [block.title for block in first.blocks], len(first.blocks[0].rows)
        (['Without a modality', 'CausalMER'], 4)
    """
    model.eval()
    for part in model.nest:
        part.explaining = True
    try:
        return [
            _explain_one(model, _sample(batch, place), condition, spellings, words, steps)
            for place in range(len(batch))
        ]
    finally:
        for part in model.nest:
            part.explaining = False


def _explain_one(
    model: Model, batch: Batch, condition: str, spellings: Mapping[int, str] | None, words: bool, steps: int
) -> Explanation:
    task = model.task
    with torch.no_grad():
        output = model.predict(batch)
        logits = output.logits
        blocks = [*_without(model, batch, logits), *_effect_blocks(task, effects_of(model, output.effects), logits)]
    stand = words_of(batch, model.spec, spellings) if "text" in model.spec.modalities else []
    if words:
        blocks.append(_word_block(model, batch, logits.argmax(-1), stand, steps))
    return Explanation(
        id=batch.ids[0],
        condition=condition,
        text=batch.raw_text[0],
        words=stand,
        label=_label(task, batch.target),
        predicted=task.name_predictions(logits)[0],
        answers=_numbers(task.answers(logits)),
        blocks=blocks,
        kept=kept_words(model, batch, stand),
    )


def _sample(batch: Batch, place: int) -> Batch:
    """One sample of a batch, without padding."""
    return batch.take([place])


def _label(task: Task, target: Tensor) -> str:
    name = task.name_targets(target)[0]
    is_score = name and not task.is_classification
    return f"{name} ({float(target[0]):+.2f})" if is_score else name


def _numbers(answers: Mapping[str, Tensor]) -> dict[str, float]:
    return {name: float(value[0]) for name, value in answers.items()}


def _without(model: Model, batch: Batch, logits: Tensor) -> list[Block]:
    """Leave-one-modality-out; a bar is what the answer loses with the modality."""
    task, classes = model.task, logits.argmax(-1)
    found = left_out(model, batch)
    if not found:
        return []
    whole = class_probability(logits, classes)
    rows = [Row("all that is there", _numbers(task.answers(logits)), says=task.name_predictions(logits)[0])]
    for name, without in found.items():
        lost = float(whole - class_probability(without, classes))
        rows.append(Row(f"without {name}", _numbers(task.answers(without)), lost, task.name_predictions(without)[0]))
    what = "the probability of what is predicted" if task.is_classification else "the score"
    note = f"Lost: how much {what} falls without the modality; below 0 it rises, so the modality spoke against it."
    return [Block(WITHOUT, "lost", rows, note)]


def _effect_blocks(task: Task, effects: Sequence[Effect], logits: Tensor) -> list[Block]:
    """A block for each model of the nest that has effects, and for each kind of them."""
    blocks = []
    for owner, kind in dict.fromkeys((effect.owner, effect.shown.kind) for effect in effects):
        mine = [effect for effect in effects if (effect.owner, effect.shown.kind) == (owner, kind)]
        rows = [_effect_row(task, effect, logits.argmax(-1)) for effect in mine]
        blocks.append(Block(owner, *_MEANING[kind][:1], rows, _MEANING[kind][1]))
    return blocks


_MEANING = {
    "prediction": ("probability of what is predicted", ""),
    "difference": (
        "score of what is predicted",
        "Scores; the last column is how far the class predicted stands above the mean of all classes.",
    ),
    "number": ("value", ""),
}


def _effect_row(task: Task, effect: Effect, classes: Tensor) -> Row:
    bar, values = float(effect.of(classes)), effect.values
    if effect.shown.kind == "number":
        return Row(effect.shown.what, bar=bar)
    if effect.shown.kind == "prediction":
        return Row(effect.shown.what, _numbers(task.answers(values)), bar, task.name_predictions(values)[0])
    parts = values.unbind(-1) if task.is_single_label else (values[..., -1] - values[..., 0]).unbind(-1)
    return Row(effect.shown.what, _numbers(dict(zip(task.answers(values), parts, strict=True))), bar)


def _word_block(model: Model, batch: Batch, classes: Tensor, words: Sequence[str], steps: int) -> Block:
    found = word_gradients(model, batch, classes, steps)[batch.text.mask[0]]
    rows = [Row(word, bar=value) for word, value in zip(words, found.tolist(), strict=True)]
    note = (
        f"Integrated gradients (captum, {steps} points) from the text with all its words missing; they add up to"
        f" {float(found.sum()):+.3f}, what is lost without text."
    )
    return Block("Words", "share of what is lost without text", rows, note)
