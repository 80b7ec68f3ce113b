"""Parameter groups by name patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn
from torch.optim import Optimizer

from mer_zoo.errors import MERError
from mer_zoo.training.fused import fuse, spare_probing
from mer_zoo.training.ranges import check_group, check_numbers

__all__ = ["DEFAULT_GROUPS", "OptimizerFactory", "ParamGroups", "build_optimizer", "group_parameters"]

ParamGroups = Mapping[str, Mapping[str, Any]]
OptimizerFactory = Callable[[Iterable[Any]], Optimizer]
DEFAULT_GROUPS: ParamGroups = {"*.text_encoder.*": {"lr": 5e-5}}


def group_parameters(
    named: Iterable[tuple[str, nn.Parameter]], groups: ParamGroups, known: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Sort trainable parameters into optimiser groups; the first pattern that matches a name wins.

    Args:
        named: Names and parameters, as from ``Module.named_parameters``.
        groups: Glob pattern -> optimiser options of the parameters whose names match. A parameter that no pattern
            matches goes into a last group with the optimiser's own options.
        known: Options that the optimiser has; empty accepts any.

    Returns:
        Groups in the order of the patterns, each parameter exactly once, without empty ones.

    Raises:
        MERError: If a group sets an option that the optimiser does not have, or nothing is trainable.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        >>> groups = group_parameters(net.named_parameters(), {"*.bias": {"weight_decay": 0.0}})
        >>> [(group.get("weight_decay"), len(group["params"])) for group in groups]
        [(0.0, 2), (None, 2)]
    """
    known = set(known)
    for pattern, options in groups.items():
        unknown = sorted(set(options) - known) if known else []
        if unknown:
            raise MERError(
                f"param_groups {pattern!r} sets {unknown[0]!r}; this optimizer has {', '.join(sorted(known))}"
            )
    members: dict[str | None, list[nn.Parameter]] = {pattern: [] for pattern in groups}
    members[None] = []
    for name, parameter in named:
        if parameter.requires_grad:
            members[next((p for p in groups if fnmatchcase(name, p)), None)].append(parameter)
    for pattern in groups:
        if not members[pattern] and "text_encoder" not in pattern:
            rank_zero_warn(f"param_groups {pattern!r} matches no trainable parameter")
    if not any(members.values()):
        raise MERError("the model has no trainable parameter; unfreeze something")
    return [{"params": found, **(groups[p] if p is not None else {})} for p, found in members.items() if found]


def build_optimizer(
    factory: OptimizerFactory, named: Iterable[tuple[str, nn.Parameter]], groups: ParamGroups
) -> Optimizer:
    """Make an optimiser of parameters that are grouped by name; :func:`~mer_zoo.training.fused.fuse` has it fused.

    Args:
        factory: Makes it from parameters or groups of them.
        named: See :func:`group_parameters`.
        groups: See :func:`group_parameters`; options that the optimiser does not have are refused.

    Raises:
        MERError: For options that the optimiser refuses.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> optimizer = build_optimizer(torch.optim.Adam, net.named_parameters(), {"*bias": {"lr": 0.5}})
        >>> [group["lr"] for group in optimizer.param_groups]
        [0.5, 0.001]
    """
    try:
        plain = factory([nn.Parameter(torch.zeros(1))])
        grouped = group_parameters(named, groups, plain.defaults)
        for pattern, options in groups.items():
            check_group(pattern, dict(options), plain)
        optimizer = factory(grouped)
    except MERError:
        raise
    except ValueError as error:  # torch's, of a rate or another number out of range
        raise MERError(f"{str(error).rstrip('.')}; give the optimizer other options") from error
    check_numbers(optimizer)
    fuse(optimizer)
    spare_probing(optimizer)
    return optimizer
