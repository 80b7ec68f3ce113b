"""How far the attention of a network is from looking at everything alike."""

from __future__ import annotations

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle
from typing_extensions import override

from mer_zoo.layers.attention import untiled

__all__ = ["attention_departures", "departure"]

_HIDDEN = -1e8  # masks are -inf, the least number of a type, or -1e9
_SOFTMAX = ("_softmax", "_safe_softmax")
_FUSED = "_scaled_dot_product"
_GIVES_SCORES = "return_scores"


def departure(scores: Tensor, dim: int = -1) -> float | None:
    r"""How far softmax weights are from the uniform ones over the keys that are not hidden.

    That is :math:`1 - H / \log n`, for the entropy H of the weights of a query and its n keys, in the mean over all
    queries with at least two: 0 where all keys weigh the same, 1 where one key has all of the weight.

    Args:
        scores: (..., n, ...) before the softmax, with -1e8 or less where a key is hidden.
        dim: The dimension of the keys.

    Returns:
        The mean; None where no query has two keys.

    Example:
        >>> hidden = torch.tensor([[0.0, 0.0, -torch.inf], [9.0, -torch.inf, -torch.inf]])
        >>> departure(hidden), departure(torch.tensor([[0.0, 100.0]])), departure(hidden[1:])
        (0.0, 1.0, None)
    """
    scores = scores.detach().double().movedim(dim, -1)
    seen = scores > _HIDDEN
    scores, seen = scores[seen.sum(-1) > 1], seen[seen.sum(-1) > 1]
    if not len(scores):
        return None
    log_p = scores.masked_fill(~seen, -torch.inf).log_softmax(-1)
    n = seen.sum(-1, keepdim=True).double()
    # As the divergence from uniform weights: a difference of two entropies would lose the last digits.
    terms = torch.where(seen, log_p.exp() * (log_p + n.log()), 0.0)
    return float((terms.sum(-1) / n.squeeze(-1).log()).clamp(0, 1).mean())


def attention_departures(net: nn.Module, run: Callable[[], object]) -> dict[str, float]:
    """Departures from uniform attention of every part of a network that takes a softmax while it runs.

    Seen are torch's softmax and its fused attention, whoever calls them, and parts that take ``return_scores`` and then
    return their scores as second of two.

    Args:
        net: The network, in evaluation mode.
        run: Runs it.

    Returns:
        Name of the part to the mean :func:`departure` of its softmaxes.

    Example:
        >>> net = nn.MultiheadAttention(4, 2, batch_first=True).eval()
        >>> x = torch.zeros(1, 3, 4)
        >>> attention_departures(nn.Sequential(net), lambda: net(x, x, x))
        {'0': 0.0}
    """
    found: dict[str, list[float]] = defaultdict(list)
    with untiled(), _running_part(net) as running, _Softmaxes(found, running):
        handles = [part.register_forward_hook(_ask(name, found), with_kwargs=True) for name, part in _askable(net)]
        try:
            run()
        finally:
            _remove(handles)
    return {name: math.fsum(values) / len(values) for name, values in found.items()}


class _Softmaxes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the departure of every softmax under the part that runs."""

    def __init__(self, found: dict[str, list[float]], running: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found, self.running = found, running

    @override
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if self.running and name in _SOFTMAX:
            self._note(departure(args[0], args[1]))
        elif self.running and name.startswith(_FUSED):
            names = [argument.name for argument in func._schema.arguments]
            self._note(departure(_scores(**{**dict(zip(names, args, strict=False)), **kwargs})))
        return func(*args, **kwargs)

    def _note(self, value: float | None) -> None:
        if value is not None:
            self.found[self.running[-1]].append(value)


def _scores(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None = None,
    attn_bias: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Tensor:
    """Scores of one of torch's fused attentions, which differ in the names of their masks."""
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    for mask in (attn_mask, attn_bias):
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return scores


@contextmanager
def _running_part(net: nn.Module) -> Iterator[Sequence[str]]:
    """The names of the parts that run, from the outside in."""
    running: list[str] = []

    def enter(name: str) -> Callable[..., None]:
        return lambda *_: running.append(name)

    def leave(*_: object) -> None:
        running.pop()

    handles: list[RemovableHandle] = []
    for name, part in net.named_modules():
        handles.append(part.register_forward_pre_hook(enter(name)))
        handles.append(part.register_forward_hook(leave, always_call=True))
    try:
        yield running
    finally:
        _remove(handles)


def _askable(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Innermost parts that return their scores if they are asked to, as those that take no softmax of torch do."""
    takes = {name for name, part in net.named_modules() if _GIVES_SCORES in inspect.signature(part.forward).parameters}
    for name, part in net.named_modules():
        if name in takes and not any(other.startswith(f"{name}.") for other in takes):
            yield name, part


def _ask(name: str, found: dict[str, list[float]]) -> Callable[..., None]:
    def hook(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: object) -> None:
        bound = inspect.signature(part.forward).bind(*args, **kwargs)
        bound.arguments[_GIVES_SCORES] = True
        value = departure(part.forward(*bound.args, **bound.kwargs)[1])
        if value is not None:
            found[name].append(value)

    return hook


def _remove(handles: Sequence[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()
