"""What an object was built with, kept so that it can be described in plain values and built again from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from typing_extensions import Self

from mer_zoo.errors import MERError
from mer_zoo.renames import former_option

__all__ = ["LARGEST", "Recorded", "fit_arguments", "plain"]

LARGEST = 2**31  # of a number that is no seed: no size comes near it
_Hint = Any


class Recorded:
    """Remembers the arguments of its constructor, defaults included.

    Attributes:
        given: Arguments by name.

    Raises:
        MERError: For an option that is called otherwise today, see :mod:`mer_zoo.renames`.

    Example:
        >>> class Scale(Recorded):
        ...     def __init__(self, factor: float, bias: bool = True) -> None: ...
        >>> Scale(2.0).given
        {'factor': 2.0, 'bias': True}
    """

    given: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: D102
        made = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        for name in kwargs.keys() - signature.parameters.keys():
            told = former_option(cls, name)
            if told is not None:
                raise MERError(told)
        # Copying and unpickling pass nothing and restore the rest themselves; a wrong call is told by __init__.
        with suppress(TypeError):
            bound = signature.bind(made, *args, **kwargs)
            bound.apply_defaults()
            _, *rest = bound.arguments.items()
            # past nn.Module's __setattr__, which is not ready yet and would register inner models twice
            vars(made)["given"] = _flat(dict(rest), signature)
        return made


def _flat(given: dict[str, Any], signature: inspect.Signature) -> dict[str, Any]:
    """The arguments of ``**options`` among the others."""
    kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
    flat: dict[str, Any] = {}
    for name, value in given.items():
        flat.update(value if kinds[name] is inspect.Parameter.VAR_KEYWORD else {name: value})
    return flat


def plain(value: Any, what: str) -> Any:
    """A value as JSON has it: tuples become lists.

    Args:
        value: The value.
        what: What it is, for the message.

    Raises:
        MERError: If JSON cannot hold it.

    Example:
        >>> plain({"kernels": (1, 3)}, "MulT")
        {'kernels': [1, 3]}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item, what) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(item, what) for key, item in value.items()}
    raise MERError(
        f"{what} holds a {type(value).__name__}, which no JSON file can; build it in a subclass of mer_zoo.Backbone or "
        "mer_zoo.Wrapper that takes plain values"
    )


def fit_arguments(
    cls: Callable[..., Any], given: Mapping[str, Any], places: int, largest: int = LARGEST
) -> dict[str, Any]:
    """Check a file's arguments against a constructor's or function's annotations, lists becoming tuples as those say.

    Args:
        cls: The class or function.
        given: Arguments by name.
        places: How many of the first arguments the caller passes himself.
        largest: Bound of whole numbers that are no seed and do not stand by name in a larger option.

    Raises:
        MERError: For an argument that does not exist or has another type.

    Example:
        >>> from mer_zoo.backbones import MulT
        >>> fit_arguments(MulT, {"kernels": [1, 1, 1]}, places=2)
        {'kernels': (1, 1, 1)}
        >>> fit_arguments(MulT, {"depth": "4"}, places=2)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: depth of MulT is '4', which is no int
    """
    constructor: Any = cls.__init__ if isinstance(cls, type) else cls  # type: ignore[misc]  # only read
    called = getattr(cls, "__name__", type(cls).__name__)
    known = list(inspect.signature(constructor).parameters.values())[places + isinstance(cls, type) :]
    by_name = {parameter.name for parameter in known if parameter.kind is not inspect.Parameter.VAR_KEYWORD}
    hints: dict[str, _Hint] = {}
    with suppress(
        NameError, TypeError
    ):  # of callable objects, and of classes whose annotations are there for type checkers alone
        hints = get_type_hints(constructor)
    found = {}
    for name, value in given.items():
        if name not in by_name and len(by_name) == len(known):
            raise MERError(f"{called} has no option {name!r}")
        _check_size(value, f"{name} of {called}", largest if name != "seed" else 2**64)
        try:
            found[name] = _fitted(value, hints.get(name, Any) if name in by_name else Any)
        except TypeError:
            hint = hints[name]
            wanted = hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
            raise MERError(f"{name} of {called} is {str(value)[:50]!r}, which is no {wanted}") from None
    return found


def _check_size(value: Any, what: str, largest: int) -> None:
    if isinstance(value, dict):
        largest = max(largest, LARGEST)
    for item in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        _check_size(item, what, largest)
    if isinstance(value, (int, float)) and not abs(value) < (largest if isinstance(value, int) else LARGEST):
        raise MERError(f"{what} is beyond any sensible size")


def _fitted(value: Any, hint: _Hint) -> Any:
    """The value as an annotation wants it; TypeError where it does not fit."""
    origin: Any = get_origin(hint)
    inside = get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        for option in inside:
            with suppress(TypeError):
                return _fitted(value, option)
    elif origin is Literal:
        if any(type(value) is type(option) and value == option for option in inside):
            return value
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif hint in (bool, int, str, NoneType) and type(value) is hint:
        return value
    elif origin is tuple and isinstance(value, list):
        hints = inside[:1] * len(value) if inside[1:] == (...,) else inside
        if len(hints) == len(value):
            return tuple(_fitted(item, each) for item, each in zip(value, hints, strict=True))
    elif origin in (list, Sequence) and isinstance(value, list):
        items = [_fitted(item, inside[0]) for item in value]
        return items if origin is list else tuple(items)
    elif origin in (dict, Mapping) and isinstance(value, dict):
        return {_fitted(key, inside[0]): _fitted(item, inside[1]) for key, item in value.items()}
    raise TypeError
