"""Whether every part of a network still acts: its attention, its share of the gradient, what its inputs change."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.life.attention import attention_departures
from mer_zoo.life.swap import ITSELF, change, inputs_of, swapped
from mer_zoo.model import Model

__all__ = ["Dead", "Life", "Sign", "dead_parts", "first_samples", "measure_life"]

Sign = Literal["attention", "gradient", "swap", "training swap"]
THRESHOLD = 0.01
NOTHING = 1e-6  # what rounding leaves
SWAPS = (1, 3, 6)


@dataclass(frozen=True)
class Life:
    """Signs of life of a model, by the names of its parts.

    Args:
        attention: How far attention is from uniform, in [0, 1]; see :func:`~mer_zoo.life.departure`.
        gradient: Share of the norm of a training step's gradient, of parts that have parameters of their own.
        swap: Relative change of the test-time scores where one input of a part is swapped between samples, see
            :func:`~mer_zoo.life.change`; by names such as ``fusion[0]``.
        training: Largest relative change of a loss, of inputs on which no test-time score hangs.
    """

    attention: dict[str, float]
    gradient: dict[str, float]
    swap: dict[str, float]
    training: dict[str, float]

    def signs(self) -> Mapping[Sign, dict[str, float]]:
        """All of them, by what they are signs of."""
        return {
            "attention": self.attention,
            "gradient": self.gradient,
            "swap": self.swap,
            "training swap": self.training,
        }


class Dead(NamedTuple):
    """A part that acts no longer, or never did.

    Args:
        sign: By which sign.
        part: Its name, and that of the input.
        before: The sign before training.
        after: And after it.

    Example:
        >>> str(Dead("attention", "fusion", 0.2, 1e-6))
        'attention of fusion, from 0.2 to 1e-06'
    """

    sign: Sign
    part: str
    before: float
    after: float

    @override
    def __str__(self) -> str:
        return f"{self.sign} of {self.part}, from {self.before:.2g} to {self.after:.2g}"


def measure_life(model: Model, batch: Batch, seed: int = 0) -> Life:
    """Look for signs of life in every part of a model.

    The model stays as it is: a copy of it is measured.

    Args:
        model: The model, prepared where it has to be.
        batch: A batch of some ten samples of the data, on the model's device. A prime number of them is best: an input
            is known by having an entry a sample.
        seed: Of dropout.

    Returns:
        The signs.

    Example:
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentClassification
        >>> model = LFLSTM(DataSpec(), SentimentClassification(3))
        >>> life = measure_life(model, Batch.random(model.spec, model.task, size=13))
        >>> sorted(life.gradient), life.swap["head[0]"] > 1
        (['head', 'linear', 'lstms.audio', 'lstms.text', 'lstms.vision'], True)
    """
    return _Patient(model, batch, seed).life()


def first_samples(batch: Batch, size: int) -> Batch:
    """The first samples of a batch.

    Example:
        >>> from mer_zoo import DataSpec, SentimentRegression
        >>> len(first_samples(Batch.random(DataSpec(), SentimentRegression(), size=5), 3))
        3
    """
    return batch.take(range(min(size, len(batch))))


def dead_parts(before: Life, after: Life, threshold: float = THRESHOLD) -> list[Dead]:
    """Parts of which a sign of life has fallen below a share of what it was, or never was there.

    Args:
        before: Signs at initialisation.
        after: Signs after training.
        threshold: The share.

    Example:
        >>> before = Life({"fusion": 0.2}, {"fusion": 0.5, "head": 0.5}, {}, {})
        >>> dead_parts(before, Life({"fusion": 1e-6}, {"fusion": 0.4, "head": 0.6}, {}, {}))
        [Dead(sign='attention', part='fusion', before=0.2, after=1e-06)]
    """
    found = []
    alive = {name for name, value in after.swap.items() if value > NOTHING}
    for sign, first in before.signs().items():
        last = after.signs()[sign]
        for part, value in first.items():
            if sign == "swap" and value <= NOTHING:
                continue  # its training sign is looked at
            if sign == "training swap" and part in alive:
                continue
            now = last.get(part, 0.0)
            if now < threshold * value or now <= (0.0 if sign == "attention" else NOTHING):
                found.append(Dead(sign, part, value, now))
    return found


class _Patient:
    """A copy of a model under examination."""

    def __init__(self, model: Model, batch: Batch, seed: int) -> None:
        self.model, self.batch, self.seed = deepcopy(model), batch, seed
        self.state: dict[str, Any] = deepcopy(self.model.state_dict())

    def life(self) -> Life:
        with torch.random.fork_rng():
            attention, gradient = self._attention(), self._gradient()
            with torch.no_grad():
                swap, training = self._swaps()
        return Life(attention, gradient, swap, training)

    def _attention(self) -> dict[str, float]:
        # With gradients: without, torch has ways of its own through a transformer, which nobody sees.
        only_trained = attention_departures(self.model, self._losses)
        return {**only_trained, **attention_departures(self.model, self._scores)}

    def _gradient(self) -> dict[str, float]:
        self.model.zero_grad()
        torch.autograd.backward(torch.stack([loss.mean() for loss in self._losses().values()]).sum())
        squares: dict[str, float] = {}
        for name, part in self.model.named_modules():
            own = [p for p in part.parameters(recurse=False) if p.requires_grad]
            if own:
                found = (p.grad.double().square().sum() for p in own if p.grad is not None)
                squares[name or ITSELF] = float(sum(found, torch.zeros(())))
        self.model.zero_grad()
        total = sum(squares.values())
        return {name: (value / total) ** 0.5 if total else 0.0 for name, value in squares.items()}

    def _swaps(self) -> tuple[dict[str, float], dict[str, float]]:
        """What inputs do for the scores, and what those of parts that do nothing for them do for the losses."""
        size = len(self.batch)
        places, ran = inputs_of(self.model, size, self._scores)
        scores = self._scores()
        swap = {p: change(scores, swapped(self.model, p, size, self._scores)) for p in places}
        acting = ran - {place.part for place, value in swap.items() if value <= NOTHING}
        losses, training = self._losses(), {}
        for place in inputs_of(self.model, size, self._losses).places:
            if place.part not in acting and swap.get(place, 0.0) <= NOTHING:
                # A mean loss may stay almost what it was by chance, but not by all of several swaps.
                others = [swapped(self.model, place, size, self._losses, by) for by in SWAPS]
                training[place.name] = max(_largest_change(losses, other) for other in others)
        return {place.name: value for place, value in swap.items()}, training

    def _scores(self) -> Tensor:
        self.model.eval()
        return self.model.predict(self.batch).logits

    def _losses(self) -> dict[str, Tensor]:
        """Every loss of the steps of a batch, that of the task a sample; draws and counts are the same at each call."""
        self.model.load_state_dict(self.state)
        for part in self.model.modules():
            if isinstance(part, IncompleteViews):
                part.count = 0  # the views that another measurement had: what they leave out would seem dead
        torch.manual_seed(self.seed)
        losses: dict[str, Tensor] = {}
        for number, step in enumerate(self.model.train().steps(self.batch)):
            task = self.model.task.weighted(step.output.logits, step.batch.target, step.task_weight)
            losses |= {f"{number}/{name}": loss.double() for name, loss in {"task": task, **step.losses}.items()}
        return losses


def _largest_change(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Of any loss, relative."""
    changes = [(after[name] - loss).norm() / loss.norm().clamp_min(NOTHING) for name, loss in before.items()]
    return float(torch.stack(changes).max())
