"""What an input of a part of a network does for the answer: it is swapped between the samples of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from mer_zoo.batch import MODALITIES, Batch, Modality
from mer_zoo.model import Model

__all__ = ["Place", "change", "inputs_of", "swapped"]

ITSELF = "itself"  # what is no part of the network, but the network
T = TypeVar("T")


class Place(NamedTuple):
    """An input of a part.

    Args:
        part: Name of the part in the network.
        path: Where the input stands among the part's arguments: position or name, then keys or fields within it.
    """

    part: str
    path: tuple[Hashable, ...]

    @property
    def name(self) -> str:
        """Readable form, such as ``fusion[x.audio]``."""
        return f"{self.part or ITSELF}[{'.'.join(map(str, self.path))}]"


class Inputs(NamedTuple):
    """What :func:`inputs_of` finds.

    Args:
        places: The inputs.
        parts: Names of all parts that have run and have parameters.
    """

    places: list[Place]
    parts: set[str]


def inputs_of(net: nn.Module, size: int, run: Callable[[], object]) -> Inputs:
    """The inputs of parts of a network that tell its samples apart in a run.

    An input is a :class:`Modality`, or a tensor of finite floating-point numbers with an entry a sample, also within
    tuples and mappings; of a batch that a model is given, the modalities. Parts without parameters are left out, and so
    are inputs that go on unchanged into another part, or from whose part one tensor goes on: what is said of the next
    part is said of them.

    Args:
        net: The network.
        size: Samples of the batch; best a number that no other dimension has.
        run: Runs the network on the batch.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
        >>> [place.name for place in inputs_of(net, 5, lambda: net(torch.randn(5, 2))).places]
        ['1[0]']
    """
    given: dict[Place, Tensor] = {}
    made: dict[str, object] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], answer: object) -> None:
            for path, x in _inputs({**dict(enumerate(args)), **kwargs}, size, isinstance(part, Model)):
                given.setdefault(Place(name, path), x)
            made.setdefault(name, answer)

        return hook

    parts = [(name, part) for name, part in net.named_modules() if any(True for _ in part.parameters())]
    handles = [part.register_forward_hook(note(name), with_kwargs=True) for name, part in parts]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    inputs = Counter(place.part for place in given)
    taken = {id(x) for x in given.values()}
    models = {name for name, part in parts if isinstance(part, Model)}
    places = [
        place
        for place, x in given.items()
        if place.part in models
        or not (_goes_on(place, x, given) or (inputs[place.part] == 1 and id(made[place.part]) in taken))
    ]
    return Inputs(places, set(made))


def swapped(net: nn.Module, place: Place, size: int, run: Callable[[], T], by: int = 1) -> T:
    """The answer of a network in which one input of one part is that of another sample; the others stay.

    A part that is called several times gets it from another sample each time: it may compare what it is given.

    Args:
        net: The network.
        place: The input.
        size: Samples of the batch.
        run: Runs the network on the batch.
        by: How many places further a sample's input goes, in the first call.

    Example:
        >>> net, x = nn.Sequential(nn.Identity()), torch.arange(3.0)[:, None]
        >>> swapped(net, Place("0", (0,)), 3, lambda: net(x)).flatten().tolist()
        [2.0, 0.0, 1.0]
    """
    calls = 0

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        nonlocal calls
        given = _with_swap({**dict(enumerate(args)), **kwargs}, place.path, size, 1 + (by - 1 + calls) % (size - 1))
        calls += 1
        return tuple(given[i] for i in range(len(args))), {name: given[name] for name in kwargs}

    handle = net.get_submodule(place.part).register_forward_pre_hook(hook, with_kwargs=True)
    try:
        return run()
    finally:
        handle.remove()


def change(before: Tensor, after: Tensor) -> float:
    r"""Relative change of an answer, by what tells its samples apart.

    That is :math:`\|y' - y\| / \|y - \bar y\|`: a whole answer that is dealt out at random gives about 1.4.

    Args:
        before: (B, ...) answer y.
        after: (B, ...) answer y'.

    Returns:
        A number; 0 where the answer is the same for all samples and has not changed.

    Example:
        >>> change(torch.tensor([[1.0], [3.0]]), torch.tensor([[3.0], [1.0]]))
        2.0
    """
    before, after = before.double(), after.double()
    moved, spread = (after - before).norm(), (before - before.mean(0)).norm()
    return 0.0 if moved == 0 else float(moved / spread)


def _goes_on(place: Place, x: Tensor, given: Mapping[Place, Tensor]) -> bool:
    """Whether a part within this one is given the same tensor."""
    inner = f"{place.part}." if place.part else ""
    return any(y is x and other.part != place.part and other.part.startswith(inner) for other, y in given.items())


def _inputs(value: Any, size: int, is_model: bool) -> Iterator[tuple[tuple[Hashable, ...], Tensor]]:
    if isinstance(value, Modality) or (isinstance(value, Tensor) and value.is_floating_point()):
        x = value.x if isinstance(value, Modality) else value
        if _dimension(x, size) is not None and x.isfinite().all() and not torch.equal(x, _rolled(x, size)):
            yield (), x
    elif not isinstance(value, Batch) or is_model:
        for key, inner in _entries(value).items():
            for path, x in _inputs(inner, size, is_model):
                yield (key, *path), x


def _with_swap(value: Any, path: tuple[Hashable, ...], size: int, by: int) -> Any:
    if path:
        key, *rest = path
        entries = _entries(value)
        if key not in entries:  # another call may have other arguments
            return value
        inner = _with_swap(entries[key], tuple(rest), size, by)
        if isinstance(value, Batch):
            return value.replace(**{str(key): inner})
        if isinstance(value, Mapping):
            return {**value, key: inner}
        items = [inner if i == key else item for i, item in enumerate(value)]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, Modality):
        ids = None if value.token_ids is None else _rolled(value.token_ids, size, by)
        x, mask, observed = (_rolled(x, size, by) for x in (value.x, value.mask, value.observed))
        return Modality(x, mask, observed, ids)
    return _rolled(value, size, by) if isinstance(value, Tensor) else value


def _entries(value: Any) -> Mapping[Hashable, Any]:
    """What a value holds by key, where it is a container whose contents may be swapped."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Batch):
        return {name: value.modality(name) for name in MODALITIES}
    if isinstance(value, (tuple, list)) and not isinstance(value, nn.utils.rnn.PackedSequence):
        return dict(enumerate(value))
    return {}


def _dimension(x: Tensor, size: int) -> int | None:
    """The dimension of the samples; the first also where it has several rows a sample, one after the other."""
    exact = [i for i, length in enumerate(x.shape) if length == size]
    if exact:
        return exact[0]
    return 0 if x.numel() and x.dim() and x.shape[0] % size == 0 else None


def _rolled(x: Tensor, size: int, by: int = 1) -> Tensor:
    dim = _dimension(x, size)
    if dim is None:
        return x
    return x.reshape(*x.shape[:dim], size, -1, *x.shape[dim + 1 :]).roll(by, dim).reshape(x.shape)
