"""Networks and wrappers built at the shapes of CMU-MOSI: how large they are, what they compute, what they refuse."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.model import Backbone, Model
from mer_zoo.task import SentimentClassification, SentimentRegression, Task

__all__ = ["MOSI", "TASKS", "Size", "build", "count_flops", "measure"]

# MMSA's unaligned file.
MOSI = DataSpec(text_dim=768, audio_dim=5, vision_dim=20, text_len=50, audio_len=375, vision_len=500)
TASKS: dict[str, Task] = {"regression": SentimentRegression(), "seven classes": SentimentClassification(7)}


@dataclass(frozen=True)
class Size:
    """A network, or a wrapper around one, with its default options at the shapes of CMU-MOSI.

    Args:
        model: The model.
        task: What it was built for, by its name in ``TASKS``.
        parameters: How many numbers it has; of a wrapper, beyond those of the network.
        flops: Of a prediction for one sample of full length; of a wrapper, with the network.
        refusals: Sentences with which other tasks and networks were refused.
    """

    model: Model
    task: str
    parameters: int
    flops: int
    refusals: tuple[str, ...] = ()


def build(name: str, task: str, inside: str | None = None) -> Model:
    """Build a network, or a wrapper around one, at the shapes of CMU-MOSI.

    Args:
        name: Its name.
        task: A name of ``TASKS``.
        inside: The network inside, where a wrapper is meant.

    Raises:
        MERError: If it is not made for that.

    Example:
        >>> build("CLUE", "seven classes", "LFLSTM").name
        'CLUE(LFLSTM)'
    """
    network: Model = vars(mer_zoo.backbones)[inside or name](MOSI, TASKS[task])
    model: Model = network if inside is None else vars(mer_zoo.wrappers)[name](network)
    return model


def measure(name: str) -> Size:
    """Build and measure a network or wrapper: around MulT where that is what it takes, for regression where it can.

    Args:
        name: Its name.

    Raises:
        MERError: If it refuses everything, which no network or wrapper of the zoo does.

    Example:
        >>> size = measure("LFLSTM")
        >>> size.task, size.parameters
        ('regression', 266113)
    """
    refusals: list[str] = []
    for task, inside in _choices(name):
        try:
            model = build(name, task, inside).eval()
        except MERError as refusal:
            refusals.append(str(refusal))
            continue
        inner = next((part for part in model.nest if isinstance(part, Backbone) and part is not model), None)
        parameters = sum(p.numel() for p in model.parameters())
        if inner is not None:  # built anew, for a wrapper with a head of its own has dropped the network's
            parameters -= sum(p.numel() for p in build(inner.name, task).parameters())
        return Size(model, task, parameters, count_flops(model), tuple(dict.fromkeys(refusals)))
    raise MERError(f"{name} can't be built at the shapes of CMU-MOSI: {'; '.join(refusals)}")


def count_flops(model: Model) -> int:
    """Floating-point operations of a prediction for one sample of full length; multiplying and adding are two.

    Counted are matrix products, convolutions and attention, as PyTorch's own counter does.

    Args:
        model: The model, in evaluation mode.

    Example:
        >>> count_flops(build("LFDNN", "regression").eval())
        45991360
    """
    batch = Batch.random(model.spec, model.task, size=1)
    try:
        model.predict(batch)
    except MERError:  # what predicts by statistics of the training split takes any
        for part in reversed(model.nest):
            part.prepare([Batch.random(model.spec, model.task, size=32)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on settings of oneDNN that are only read
        # The counter does not know recurrent networks of oneDNN and the fast path of evaluation without gradients.
        with (
            torch.backends.mkldnn.flags(enabled=False),
            torch.enable_grad(),
            FlopCounterMode(display=False) as counter,
        ):
            model.predict(batch)
    return int(counter.get_total_flops())


def _choices(name: str) -> Iterator[tuple[str, str | None]]:
    if name in mer_zoo.backbones.__all__:
        yield from ((task, None) for task in TASKS)
        return
    for inside in ("MulT", *mer_zoo.backbones.__all__):
        yield from ((task, inside) for task in TASKS)
