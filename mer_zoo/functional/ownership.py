"""Whose parameter it is, told by the autograd graph: the modalities that lie behind the first node it meets them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor
from torch.autograd.graph import Node

__all__ = ["reached"]


def reached(
    root: Tensor, inputs: Mapping[str, Sequence[Tensor]], parameters: Mapping[str, Tensor]
) -> dict[str, set[str]]:
    """Find the inputs that each parameter of a computation is joined with.

    A weight that is transposed or split has no input behind it, and is passed on; the first node that joins it with
    something that has inputs behind it tells which they are. Of a parameter that is used several times these are put
    together. Nothing is run, so that weights which no hook of a module would see (packed attention, cells of an LSTM)
    are found too. A node has all the inputs behind it that any of its arguments has, also where parts of what it makes
    have fewer, as where modalities are stacked.

    Args:
        root: The result.
        inputs: Tensors that the graph begins at and that require a gradient, by the name of what they are part of.
        parameters: The parameters, which require a gradient.

    Returns:
        Names of inputs by parameter; none for a parameter that the result does not hang on.

    Example:
        >>> import torch
        >>> a, b, parts = *(torch.ones(2, 3, requires_grad=True) for _ in range(2)), torch.nn.ModuleList()
        >>> own, shared = torch.nn.Linear(3, 2), torch.nn.Linear(4, 1)
        >>> result = shared(torch.cat([own(a), b[:, :2]], 1))
        >>> found = reached(result, {"a": [a], "b": [b]}, {"own": own.weight, "shared": shared.weight})
        >>> {name: sorted(names) for name, names in found.items()}
        {'own': ['a'], 'shared': ['a', 'b']}
    """
    leaves = {id(tensor): name for name, tensors in inputs.items() for tensor in tensors}
    names = {id(parameter): name for name, parameter in parameters.items()}
    found: dict[str, set[str]] = {name: set() for name in parameters}
    behind: dict[Node, set[str]] = {}  # inputs, and parameters that have met none yet
    waiting: dict[Node, set[str]] = {}
    for node in _from_the_leaves(root.grad_fn):
        children = [child for child, _ in node.next_functions if child is not None]
        behind[node] = set().union(*(behind[child] for child in children))
        waiting[node] = set().union(*(waiting[child] for child in children))
        variable = getattr(node, "variable", None)
        if variable is not None:
            behind[node] |= {leaves[id(variable)]} if id(variable) in leaves else set()
            waiting[node] |= {names[id(variable)]} if id(variable) in names else set()
        if behind[node]:
            for name in waiting[node]:
                found[name] |= behind[node]
            waiting[node] = set()
    return found


def _from_the_leaves(root: Node | None) -> Iterator[Node]:
    """The nodes of a graph, each behind those that it hangs on; without recursion, since graphs are deep."""
    seen: set[Node] = set()
    stack = [] if root is None else [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(child, False) for child, _ in node.next_functions if child is not None and child not in seen]
