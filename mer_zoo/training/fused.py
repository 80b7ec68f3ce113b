"""Adam's step over all parameters in one pass, and without a look for a GPU: how it is computed, no part of a run."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.optim import Optimizer

__all__ = ["PROBES", "fuse", "spare_probing"]

_KINDS = (torch.optim.Adam, torch.optim.AdamW)
_DEVICES = ("cpu", "cuda")
PROBES = ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check")  # now, before
_LEFT = {"foreach": None, "fused": None, "capturable": False, "differentiable": False}  # where nothing was asked for


def fuse(optimizer: Optimizer) -> None:
    """Let Adam or AdamW take fused steps, where no way of computing them was asked for.

    A step is the same but for rounding, and what is saved does not tell, so that a run can go on with a fused
    optimiser that began with another, and the other way round. Where gradients are scaled (``16-mixed``), they are
    unscaled before the step as for any optimiser: one that is fused by its option does so itself, within the step, and
    Lightning refuses to clip then.

    Args:
        optimizer: Any; of others, and of those with an opinion of their own, nothing changes.

    Example:
        >>> adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
        >>> fuse(adam)
        >>> adam.param_groups[0]["fused"], adam.state_dict()["param_groups"][0]["fused"]
        (True, None)
        >>> asked = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], fused=False)
        >>> fuse(asked)
        >>> asked.param_groups[0]["fused"]
        False
    """
    groups = optimizer.param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    if type(optimizer) not in _KINDS or any(group[name] != left for group in groups for name, left in _LEFT.items()):
        return
    # On a CPU fused steps go through memory as it lies, whatever the strides say.
    if not all(one.is_floating_point() and one.device.type in _DEVICES and one.is_contiguous() for one in parameters):
        return
    _set(groups, True)
    optimizer.register_step_pre_hook(_lay_out_gradients)
    optimizer.register_state_dict_post_hook(_as_asked)
    optimizer.register_load_state_dict_pre_hook(_as_computed)


def spare_probing(optimizer: Optimizer) -> None:
    """Let an optimiser of parameters on a CPU take its steps without looking for a GPU first.

    torch's optimisers look whether a CUDA graph is being captured, and so whether there is a GPU, at each step. Under
    Lightning, which has torch ask the driver's library for it, that loads the library anew each time, a tenth to a
    third of a millisecond. No graph holds what happens on a CPU.

    Args:
        optimizer: Any; where its parameters are on another device at a step, it looks as before.

    Example:
        >>> adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
        >>> spare_probing(adam)
        >>> adam.step()
    """
    name = next((name for name in PROBES if hasattr(type(optimizer), name)), None)
    if name is None:
        return
    probe, own = getattr(type(optimizer), name), weakref.ref(optimizer)  # held weakly: its moments go when it goes

    def look() -> None:
        it = own()
        if it is not None and any(p.device.type != "cpu" for group in it.param_groups for p in group["params"]):
            probe(it)

    setattr(optimizer, name, look)


def _lay_out_gradients(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Copy gradients that somebody has set by hand, in another layout than their parameter's."""
    del args, kwargs
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None or gradient.layout != torch.strided or gradient.stride() == parameter.stride():
                continue
            parameter.grad = torch.empty_like(parameter).copy_(gradient)


def _as_asked(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    del optimizer
    return {**state, "param_groups": _set([dict(group) for group in state["param_groups"]], None)}


def _as_computed(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    del optimizer
    return {**state, "param_groups": _set([dict(group) for group in state["param_groups"]], True)}


def _set(groups: list[dict[str, Any]], fused: bool | None) -> list[dict[str, Any]]:
    for group in groups:
        group["fused"] = fused
    return groups
