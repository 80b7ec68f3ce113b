"""The options of a model, for those who read and not for those who build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.sharing.recipe import describe

__all__ = ["named_options"]


def named_options(model: Model) -> list[dict[str, Any]] | None:
    """Class and options of each model of a nest, the outermost first; None where they are no plain values.

    Options that are parts of their own, such as a text encoder, are left out.

    Args:
        model: The nest.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> from mer_zoo.wrappers import CLUE
        >>> outer, inner = named_options(CLUE(LFLSTM(DataSpec(), SentimentClassification(3), dim=4)))
        >>> outer["class"], outer["options"]["fusion"], inner["options"]["dim"]
        ('CLUE', 'sum', 4)
    """
    try:
        recipe = describe(model)
    except MERError:  # results are written all the same
        return None
    return [
        {"class": part.name, "options": {k: v for k, v in part.arguments.items() if not isinstance(v, Mapping)}}
        for part in (*reversed(recipe.wrappers), recipe.backbone)
    ]
