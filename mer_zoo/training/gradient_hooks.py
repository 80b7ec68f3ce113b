"""Changes of parameters' gradients between the backward pass and the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["GradientHooks"]


class GradientHooks:
    """Hooks on parameters; a copy of what has them begins without.

    A hook sees the gradient of one backward pass, of all uses of the parameter, before it is added to that of others
    and before processes average theirs: what it does must hang on numbers that are alike on all of them.

    Example:
        >>> import torch
        >>> layer, hooks = nn.Linear(1, 1), GradientHooks()
        >>> hooks.install({"weight": layer.weight}, lambda name, gradient: 3 * gradient)
        >>> layer(torch.ones(1, 1)).sum().backward()
        >>> layer.weight.grad.item(), layer.bias.grad.item()
        (3.0, 1.0)
    """

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []

    def install(self, parameters: Mapping[str, nn.Parameter], change: Callable[[str, Tensor], Tensor]) -> None:
        """Let a function change the gradients of some parameters from now on, in place of any other of these hooks.

        Args:
            parameters: The parameters by name.
            change: Gets the name and the gradient, returns the new gradient.
        """
        self.remove()
        for name, parameter in parameters.items():
            self._handles.append(parameter.register_hook(_named(change, name)))  # type: ignore[no-untyped-call]

    @property
    def installed(self) -> bool:
        """Whether there are any."""
        return bool(self._handles)

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __deepcopy__(self, memo: dict[int, Any]) -> GradientHooks:
        return GradientHooks()

    def __reduce__(self) -> tuple[type[GradientHooks], tuple[()]]:
        return GradientHooks, ()


def _named(change: Callable[[str, Tensor], Tensor], name: str) -> Callable[[Tensor], Tensor]:
    return lambda gradient: change(name, gradient)
