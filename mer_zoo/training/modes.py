"""Training and evaluation mode of a network, and whether it gives what only its choices need, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from mer_zoo.model import Model

__all__ = ["calibrating", "evaluating"]


@contextmanager
def evaluating(module: nn.Module, differentiable: bool = False) -> Iterator[None]:
    """Put a module into evaluation mode for a while, then each submodule back into its own.

    Args:
        module: The module; its parts may be in different modes.
        differentiable: Whether what comes out is to have a gradient, which cuDNN's recurrent layers have in training
            mode alone; they stay in it, without dropout.

    Example:
        >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with evaluating(net):
        ...     net[0].training
        False
        >>> [part.training for part in net]
        [True, False]
    """
    modes = {part: part.training for part in module.modules()}
    recurrent = [part for part in modes if differentiable and isinstance(part, nn.RNNBase)]
    dropouts = [layer.dropout for layer in recurrent]
    module.eval()
    for layer in recurrent:
        layer.training, layer.dropout = True, 0.0
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
        for layer, dropout in zip(recurrent, dropouts, strict=True):
            layer.dropout = dropout


@contextmanager
def calibrating(model: Model, wanted: bool) -> Iterator[None]:
    """Say for a while whether the models of a nest are to give what only :meth:`Model.calibrate` needs.

    Args:
        model: The outermost.
        wanted: Whether they are.

    Example:
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentRegression
        >>> model = LFLSTM(DataSpec(), SentimentRegression())
        >>> with calibrating(model, False):
        ...     model.calibrating
        False
        >>> model.calibrating
        True
    """
    before = {each: each.calibrating for each in model.nest}
    for each in before:
        each.calibrating = wanted
    try:
        yield
    finally:
        for each, was in before.items():
            each.calibrating = was
