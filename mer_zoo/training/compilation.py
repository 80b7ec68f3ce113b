"""torch.compile for the networks of a nest."""

from __future__ import annotations

from typing import Any

from mer_zoo.errors import MERError
from mer_zoo.model import Backbone, Model

__all__ = ["compile_networks"]


def compile_networks(model: Model, backend: str | bool = True) -> None:
    """Compile each network of a nest in place, when it is first called; its state keeps its names.

    Wrappers are left as they are: their steps stop and go on between optimiser steps, and they call the network as
    often as they like. A network may be called with several shapes, with and without gradient, on one view or on two;
    each is compiled when it comes.

    Args:
        model: The outermost model.
        backend: Name of a backend of ``torch.compile``; true is its default.

    Raises:
        MERError: For an unknown backend.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import Batch, DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> net, names = LFLSTM(DataSpec(), SentimentRegression()), []
        >>> names = list(net.state_dict())
        >>> compile_networks(net, "eager")
        >>> names == list(net.state_dict())
        True
    """
    options: dict[str, Any] = {} if backend is True else {"backend": backend}
    for part in model.modules():
        if isinstance(part, Backbone):
            try:
                part.compile(**options)
            except RuntimeError as error:  # torch has no public name for what it raises
                raise MERError(f"compile is {backend!r}, which torch.compile does not know; set it to true") from error
