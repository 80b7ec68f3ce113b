"""Which wrapper takes which network for which task: both are built, without memory, and a refusal is written down."""

from __future__ import annotations

from functools import cache

import torch

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.cli.sizes import MOSI
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

__all__ = ["TASKS", "parameters", "refusals"]

TASKS: dict[str, Task] = {
    "regression": SentimentRegression(),
    "classes": SentimentClassification(7),
    "emotions": EmotionDetection(),
}


def _network(backbone: str, task: str) -> Model:
    with torch.device("meta"):
        model: Model = getattr(mer_zoo.backbones, backbone)(MOSI, TASKS[task])
    return model


_shared = cache(_network)  # wrappers are built around one after the other, and none is trained


def parameters(backbone: str) -> int:
    """How many numbers a network of default size learns for the regression of CMU-MOSI, text encoder left out."""
    return sum(p.numel() for p in _network(backbone, "regression").parameters() if p.requires_grad)


@cache
def refusals(backbone: str, wrapper: str) -> dict[str, str]:
    """The sentence of refusal for each kind of task that a nest with default options is not built for."""
    found: dict[str, str] = {}
    for task in TASKS:
        try:
            with torch.device("meta"):
                getattr(mer_zoo.wrappers, wrapper)(_shared(backbone, task))
        except MERError as refusal:
            found[task] = str(refusal)
    return found
