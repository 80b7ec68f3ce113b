"""What a model says about its answer beside the answer: effects that have words, and their value for what is predicted.

A model of the nest names its effects in ``shown_effects``; whoever explains or tests a model reads them here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from torch import Tensor

from mer_zoo.functional.attribution import class_probability
from mer_zoo.scores import INNER

if TYPE_CHECKING:
    from mer_zoo.model.model import Model

__all__ = ["Effect", "Shown", "effects_of"]


class Shown(NamedTuple):
    """How an effect is shown.

    Args:
        what: What it is, in words.
        kind: ``prediction`` are logits (B, *task shape) that could be an answer, ``difference`` logits that are a
            difference of such, ``number`` one number a sample.
    """

    what: str
    kind: Literal["prediction", "difference", "number"] = "prediction"


class Effect(NamedTuple):
    """An effect of a batch.

    Args:
        owner: Name of the wrapper or network that it is of.
        shown: How it is shown.
        values: (B, ...).

    Example:
        >>> import torch
        >>> effect = Effect("CausalMER", Shown("TE", "difference"), torch.tensor([[3.0, 0.0, 0.0]]))
        >>> effect.title, effect.of(torch.tensor([0])).item()
        ('CausalMER: TE', 2.0)
    """

    owner: str
    shown: Shown
    values: Tensor

    @property
    def title(self) -> str:
        """Owner and words."""
        return f"{self.owner}: {self.shown.what}"

    def of(self, classes: Tensor) -> Tensor:
        """The effect on given classes.

        Args:
            classes: (B,) or (B, E), such as those predicted; not read where there are none.

        Returns:
            (B,): the probability of the class, how far its score stands above the mean of all classes, or the number
            itself; of several emotions the mean; of a regression the score.
        """
        if self.shown.kind == "number":
            return self.values.flatten()
        if self.shown.kind == "prediction" or self.values.shape[-1] == 1:
            return class_probability(self.values, classes)
        above = self.values - self.values.mean(-1, keepdim=True)
        return above.gather(-1, classes[..., None]).view(len(above), -1).mean(1)


def effects_of(model: Model, effects: Mapping[str, Tensor]) -> list[Effect]:
    """The effects of a prediction that have words, from the outermost model inwards.

    Args:
        model: The model that predicted.
        effects: Those of its output.

    Example:
        >>> from mer_zoo import CausalMER, LFLSTM, Batch, DataSpec, SentimentClassification
        >>> model = CausalMER(LFLSTM(DataSpec(), SentimentClassification(3))).eval()
        >>> output = model.predict(Batch.random(model.spec, model.task))
        >>> [effect.shown.what for effect in effects_of(model, output.effects)][-2:]
        ['direct effect of vision (NDE)', 'total indirect effect (TIE)']
    """
    found: list[Effect] = []
    prefix = ""
    for part in model.nest:
        # a wrapper that works on the inner scores keeps the inner effects under names of their own
        places = [prefix + INNER, prefix] if found else [prefix]
        prefix = next(
            (place for place in places if any(place + name in effects for name in part.shown_effects)), prefix
        )
        named = ((shown, effects.get(prefix + name)) for name, shown in part.shown_effects.items())
        found += [Effect(type(part).__name__, shown, values) for shown, values in named if values is not None]
    return found
