"""A model as plain values and back: names of the zoo's classes with their arguments, and nothing to be imported."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as registration

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.arguments import LARGEST, fit_arguments, plain
from mer_zoo.batch import DataSpec
from mer_zoo.errors import MERError
from mer_zoo.model import AdaptedBackbone, Backbone, Model, Wrapper
from mer_zoo.model.factories import is_declared, make
from mer_zoo.renames import added_options, current_options, current_values, rename_options
from mer_zoo.sharing.parts import Part, Recipe
from mer_zoo.task import EmotionDetection, NominalClassification, SentimentClassification, SentimentRegression, Task

__all__ = [
    "Modules",
    "build",
    "describe",
    "foreign_modules",
    "outline",
    "under_current_names",
    "without_teachers",
]

Modules = Sequence[str | ModuleType]

_LARGEST_OPTION = 2**16  # some networks make lists as long as a number of layers before the first layer
_TASKS = (EmotionDetection, NominalClassification, SentimentClassification, SentimentRegression)
ZOO: dict[str, type] = {cls.__name__: cls for cls in _TASKS}
ZOO |= {name: vars(mer_zoo.backbones)[name] for name in mer_zoo.backbones.__all__}
ZOO |= {name: vars(mer_zoo.wrappers)[name] for name in mer_zoo.wrappers.__all__}


def describe(model: Model) -> Recipe:
    """Say in plain values how to build a model again.

    Args:
        model: The model.

    Returns:
        What :func:`build` takes.

    Raises:
        MERError: If an argument of one of its classes is no plain value.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.wrappers import CLUE
        >>> recipe = describe(CLUE(LFLSTM(DataSpec(), SentimentClassification(3), dim=4)))
        >>> [wrapper.name for wrapper in recipe.wrappers], recipe.backbone.arguments["dim"]
        (['CLUE'], 4)
    """
    *wrappers, backbone = model.nest
    return Recipe(
        plain(dict(model.spec), "DataSpec"),
        _part(model.task, model.task.given),
        _made_part(backbone) or _part(backbone, backbone.arguments()),
        tuple(_part(wrapper, wrapper.arguments()) for wrapper in reversed(wrappers)),
    )


def _part(made: object, arguments: Mapping[str, Any]) -> Part:
    cls = type(made)
    path = f"{cls.__module__}.{cls.__qualname__}"
    if ZOO.get(cls.__name__) is not cls and cls.__qualname__ != cls.__name__:
        raise MERError(f"{path} is defined inside something else, where it can't be found again; define it in a module")
    name = cls.__name__ if ZOO.get(cls.__name__) is cls else path
    return Part(name, {key: plain(value, f"{key} of {name}") for key, value in arguments.items()})


def _made_part(backbone: Model) -> Part | None:
    """An adapted network by the name of its factory; None where it has none."""
    if not isinstance(backbone, AdaptedBackbone) or backbone.factory is None:
        return None
    name, options = backbone.factory
    module, _, last = name.partition(":")
    if not is_declared(getattr(_import(module), last, None)):
        raise MERError(
            f"{name} does not say that it returns a Backbone; write -> mer_zoo.Backbone behind its arguments"
        )
    return Part(name, plain(options, f"options of {name}"))


def foreign_modules(recipe: Recipe) -> list[str]:
    """Names of the modules, outside the zoo, of the classes that a description of :func:`describe` names."""
    names = (part.name for part in recipe.parts)
    return sorted({name.partition(":")[0] if ":" in name else name.rpartition(".")[0] for name in names} - {""})


def under_current_names(recipe: Recipe) -> Recipe:
    """A description whose options of the zoo's classes are called as they are today, whenever it was written."""

    def current(part: Part) -> Part:
        return replace(part, arguments=_current(ZOO.get(part.name, object), part.arguments))

    return replace(recipe, backbone=current(recipe.backbone), wrappers=tuple(map(current, recipe.wrappers)))


def _current(cls: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that any version wrote, with the names and values of today."""
    words = {key: value if isinstance(value, str) else "" for key, value in arguments.items()}
    ours = cls.__name__ if cls in ZOO.values() else ""
    values = {**current_values(ours, words), **added_options(ours, arguments)}
    return rename_options({**arguments, **values}, current_options(cls))


def build(recipe: Recipe, modules: Modules = ()) -> Model:
    """Build a model from its description; only classes of the zoo, and of the modules named, are ever called.

    Args:
        recipe: What :func:`describe` returned, or what was read from a file.
        modules: Further modules, imported, whose models, wrappers and tasks may be named.

    Raises:
        MERError: If it describes no model.

    Example:
        >>> build(Recipe({}, Part("os.system", {}), Part("LFLSTM", {})))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: 'os.system' is no Task of mer_zoo; if you trust the module it stands in, name it in
        modules ...
    """
    known = _imported(modules)
    try:
        spec = DataSpec(**fit_arguments(DataSpec, recipe.spec, places=0))
        task: Task = _make(Task, recipe.task, known)
        model: Model = _make(Backbone, recipe.backbone, known, spec, task)
        for wrapper in recipe.wrappers:
            model = _make(Wrapper, wrapper, known, model)
    except MERError:
        raise
    except Exception as error:  # sizes that do not go together: each layer complains in its own way
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise MERError(f"the description of a model has sizes that don't go together ({reason})") from error
    return model


def _imported(modules: Modules) -> dict[str, ModuleType]:
    given = [modules] if isinstance(modules, (str, ModuleType)) else modules
    found = [_import(module) if isinstance(module, str) else module for module in given]
    return {module.__name__: module for module in found}


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MERError(
            f"the module {name} can't be imported ({error}); start where it lies, or add its folder to PYTHONPATH"
        ) from error


def _make(kind: type[Any], part: Part, modules: Mapping[str, ModuleType], *places: Any) -> Any:
    factory = _find_factory(part.name, modules) if kind is Backbone else None
    if factory is not None:
        spec, task = places
        return make(factory, spec, task, part.name, fit_arguments(factory, part.arguments, len(places)))
    cls = _find(kind, part.name, modules)
    arguments: Mapping[str, Any] = _current(cls, part.arguments)
    if issubclass(cls, Model):
        arguments = cls.check_arguments(arguments)
    largest = _LARGEST_OPTION if cls in ZOO.values() else LARGEST
    return cls(*places, **fit_arguments(cls, arguments, len(places), largest))


def _find_factory(name: str, modules: Mapping[str, ModuleType]) -> Any:
    """A factory of a module that was named, which says itself that it is one; None where no factory is meant."""
    module, colon, last = name.partition(":")
    found = vars(modules[module]).get(last) if colon and module in modules else None
    return found if is_declared(found) else None


def _find(kind: type[Any], name: str, modules: Mapping[str, ModuleType]) -> type[Any]:
    path, _, last = name.rpartition(".")
    # What a script defined is found in the script's own module, or where it was moved to.
    places = modules.values() if path == "__main__" else [modules[path]] if path in modules else []
    options = [vars(place).get(last) for place in places] if path else [ZOO.get(name)]
    for found in options:
        if isinstance(found, type) and issubclass(found, kind):
            return found
    raise MERError(
        f"{name[:100]!r} is no {kind.__name__} of mer_zoo; if you trust the module it stands in, name it in"
        f" modules"
        " (mer-zoo export --module)"
    )


def without_teachers(recipe: Recipe, modules: Modules = ()) -> Recipe | None:
    """The description of a model without the parts of its wrappers that only training needs.

    Args:
        recipe: See :func:`build`.
        modules: See :func:`build`.

    Returns:
        The description; None where no wrapper says that it has such parts.

    Raises:
        MERError: If it names a wrapper that there is not.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.wrappers import CUMDF
        >>> whole = describe(CUMDF(LFLSTM(DataSpec(), SentimentClassification(3))))
        >>> alone = without_teachers(whole)
        >>> [recipe.wrappers[0].arguments["teacher"] for recipe in (whole, alone)]
        ['joint', None]
        >>> print(without_teachers(replace(alone, wrappers=())))
        None
    """
    known = _imported(modules)
    classes: list[type[Wrapper]] = [_find(Wrapper, part.name, known) for part in recipe.wrappers]
    if not any(cls.for_prediction for cls in classes):
        return None
    alone = (
        replace(part, arguments={**part.arguments, **cls.for_prediction})
        for cls, part in zip(classes, recipe.wrappers, strict=True)
    )
    return replace(recipe, wrappers=tuple(alone))


def outline(recipe: Recipe, modules: Modules = (), tensors: int = 1000) -> Model:
    """Build a model whose tensors have shapes but take no memory, in a time that its sizes do not change.

    With classes of ``modules``, which the caller trusts, it is a complete model.

    Args:
        recipe: See :func:`build`.
        modules: See :func:`build`.
        tensors: How many tensors the model may be expected to have; far more of them are refused.

    Raises:
        MERError: If it describes no model.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> plan = describe(LFLSTM(DataSpec(), SentimentRegression()))
        >>> huge = replace(plan, backbone=Part("LFLSTM", {**plan.backbone.arguments, "dim": 60_000}))
        >>> outline(huge).feature_dim, next(outline(huge).parameters()).device
        (60000, device(type='meta'))
    """
    if modules:
        return build(recipe, modules)
    with torch.device("meta"), _limited(1000 + 20 * tensors):
        return build(recipe)


@contextmanager
def _limited(parts: int) -> Iterator[None]:
    """Stop the building of modules with more layers and parameters than that."""
    count = 0

    def register(owner: nn.Module, name: str, part: object) -> None:  # noqa: ARG001  # the hook's signature
        nonlocal count
        count += 1
        if count > parts:
            raise MERError("the description of a model has more layers than its file of weights")

    hooks = [
        registration.register_module_module_registration_hook(register),
        registration.register_module_parameter_registration_hook(register),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
