"""Backbones that a user's own function makes, or ``mer_zoo.adapt``, under the name ``module:factory``."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, get_type_hints

from torch import nn

from mer_zoo.batch import DataSpec
from mer_zoo.errors import MERError
from mer_zoo.model.adapted import AdaptedBackbone, AdaptedFactory
from mer_zoo.model.backbone import Backbone
from mer_zoo.task import Task

__all__ = ["FACTORY", "is_declared", "made_by", "make"]

FACTORY = re.compile(r"([A-Za-z_][\w.]*):([A-Za-z_]\w*)", re.ASCII)


def made_by(spec: DataSpec, task: Task, factory: str, options: dict[str, Any] | None = None) -> Backbone:
    """Make a backbone by a factory that is named.

    On the command line ``--model.backbone=module:factory`` stands for it. The module is imported here and not before,
    so that the seed of a run decides the weights of a network that the module makes when it is imported. Names of
    factories come from a command line or a configuration, never from a checkpoint.

    Args:
        spec: Shapes of the data.
        task: What the logits mean.
        factory: ``module:factory``: what :func:`mer_zoo.adapt` returned without spec and task, a function of spec and
            task, or a class.
        options: Further arguments of a function or class.

    Returns:
        What the factory made; of a network that it holds a copy.

    Raises:
        MERError: If there is no such factory, or what it makes is no Backbone.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> made_by(DataSpec(), SentimentRegression(), "mer_zoo:LFLSTM", {"dim": 4}).feature_dim
        4
        >>> made_by(DataSpec(), SentimentRegression(), "torch.nn:Linear")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: torch.nn:Linear is no Backbone; make one of it, NAME = mer_zoo.adapt(network, ...
    """
    return make(_find(factory), spec, task, factory, options or {})


def make(found: Any, spec: DataSpec, task: Task, name: str, options: Mapping[str, Any]) -> Backbone:
    """Make a backbone by a factory.

    Args:
        found: The factory; see :func:`made_by`.
        spec: Shapes of the data.
        task: What the logits mean.
        name: Its name.
        options: Its further arguments.

    Raises:
        MERError: If what it makes is no Backbone.
    """
    is_network = isinstance(found, nn.Module) or (isinstance(found, type) and not issubclass(found, Backbone))
    made = None if is_network or not callable(found) else deepcopy(found)(spec, task, **options)
    if not isinstance(made, Backbone):
        raise MERError(
            f"{name} {'is' if made is None else f'makes a {type(made).__name__}, which is'} no Backbone; make one of"
            " it, NAME = mer_zoo.adapt(network, feature_dim=...), and name that"
        )
    if isinstance(made, AdaptedBackbone):
        made.factory = (name, dict(options))
    return made


def is_declared(found: object) -> bool:
    """Whether an object says itself that it makes a Backbone, so that an export may name it.

    Args:
        found: An object of a module.

    Example:
        >>> is_declared(made_by), is_declared(print)
        (True, False)
    """
    if isinstance(found, AdaptedFactory):
        return True
    returned = get_type_hints(found).get("return") if inspect.isfunction(found) else None
    return isinstance(returned, type) and issubclass(returned, Backbone)


def _find(factory: str) -> Any:
    named = FACTORY.fullmatch(factory)
    if named is None:
        raise MERError(f"{factory!r} names no factory; write module:factory, such as my_models:gated")
    module, name = named.groups()
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise MERError(
            f"the module {module} can't be imported ({error}); start where it lies, or add its folder to PYTHONPATH"
        ) from error
    except AttributeError as error:
        raise MERError(f"the module {module} has no {name}; give the name of a factory in it") from error
