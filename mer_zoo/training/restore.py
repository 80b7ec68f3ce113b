"""States in a checkpoint that Lightning and torch put back as they are: checked beside those of the run at hand."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy, deepcopy
from types import NoneType
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer

from mer_zoo.errors import MERError
from mer_zoo.text import told
from mer_zoo.training.param_groups import OptimizerFactory
from mer_zoo.training.record import REMEDY

__all__ = ["check_loops_and_callbacks", "check_optimizers"]

_LARGEST = 2**63
_SCHEDULED = ("lr", "initial_lr", "betas", "momentum", "max_lr", "min_lr", "max_momentum", "base_momentum")


def check_loops_and_callbacks(content: dict[str, Any], trainer: Trainer, where: str) -> None:
    """Refuse states of loops and callbacks that differ in kind from those of a trainer, and leave it its options.

    Args:
        content: The content of a checkpoint; options among its states give way to those of the trainer.
        trainer: The trainer that is about to take them over.
        where: The checkpoint, for messages.

    Raises:
        MERError: Naming the first field that differs.
    """
    loops = {"fit": trainer.fit_loop, "validate": trainer.validate_loop, "test": trainer.test_loop}
    loops["predict"] = trainer.predict_loop
    doing = trainer.state.fn.value if trainer.state.fn is not None else "fit"
    if content.get("loops") is not None:
        given = content["loops"].get(f"{doing}_loop")
        if given is None:
            raise MERError(f"{where}: loops has no {doing}_loop; {REMEDY}")
        mine = loops[doing].state_dict()
        for name in mine.keys() & given.keys():
            _check(given[name], mine[name], f"{where}: loops: {name}", whole=not name.endswith("state_dict"))
            _check_counts(given[name], f"{where}: loops: {name}")
        for state in _loader_states(given, where):
            _check_loader(state, f"{where}: loops: combined_loader")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        state = (content.get("callbacks") or {}).get(callback.state_key)
        if state:
            _check(state, callback.state_dict(), f"{where}: callbacks: {type(callback).__name__}", whole=True)
            if isinstance(callback, EarlyStopping):
                own = _of_stopping(state, callback, f"{where}: callbacks: {type(callback).__name__}")
                content["callbacks"] = {**content["callbacks"], callback.state_key: own}


def _of_stopping(state: Mapping[str, Any], callback: EarlyStopping, where: str) -> dict[str, Any]:
    own = {**state, "patience": callback.patience}
    try:
        copy(callback).load_state_dict(own)
    except ValueError as error:
        raise _odd(state.get("stopping_reason"), f"{where}: stopping_reason") from error
    return own


def _check_counts(progress: object, where: str) -> None:
    for name, value in progress.items() if isinstance(progress, Mapping) else ():
        if isinstance(value, (int, float)) and not value >= 0:
            raise _odd(value, f"{where}: {name}")
        _check_counts(value, f"{where}: {name}")


def _loader_states(loop: Mapping[str, Any], where: str) -> Iterator[Any]:
    for name, value in loop.items():
        if name.endswith("state_dict") and isinstance(value, Mapping) and "combined_loader" in value:
            if not isinstance(value["combined_loader"], list):
                raise _odd(value["combined_loader"], f"{where}: loops: combined_loader")
            yield from value["combined_loader"]


def _check_loader(state: Any, where: str) -> None:
    if not isinstance(state, Mapping):
        raise _odd(state, where)
    if "start" in state:
        try:
            torch.Generator().set_state(state["start"])
        except (TypeError, RuntimeError) as error:
            raise MERError(f"{where} holds no state of a generator; {REMEDY}") from error
    if "start" in state or "batches" in state:
        _check(state.get("batches"), 0, f"{where}: batches")


def check_optimizers(
    content: Mapping[str, Any] | None, trainer: Trainer, factory: OptimizerFactory, where: str, taken_over: bool = False
) -> None:
    """Refuse states of optimisers and schedulers that those of a trainer can't go on with.

    Args:
        content: The content of a checkpoint; None where none is restored.
        trainer: The trainer, whose optimisers are set up; they take the states over, as Lightning lets them again.
        factory: Makes such an optimiser, which tells by a step with one parameter what is kept of each.
        where: The checkpoint, for messages.
        taken_over: Whether options in the states will give way to those of the trainer's optimisers.

    Raises:
        MERError: Naming the first field that is odd.
    """
    if not content:
        return
    kept, scheduled = _Kept(factory), _SCHEDULED if trainer.lr_scheduler_configs else ()
    moving = None if taken_over else scheduled
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    kinds: tuple[tuple[str, Sequence[Any]], ...]
    kinds = (("optimizer_states", trainer.optimizers), ("lr_schedulers", schedulers))
    for name, mine in kinds:
        states = content.get(name) or []
        if len(states) != len(mine):
            raise MERError(f"{where}: {name} holds {len(states)} states, not {len(mine)}; {REMEDY}")
        one: Any
        for one, state in zip(mine, states, strict=True):
            if name == "optimizer_states":
                _check_entries(state, one, kept, moving, f"{where}: {name}")
            else:
                known = {key: value for key, value in vars(one).items() if key in state}
                _check(state, known, f"{where}: {name}")
            try:
                one.load_state_dict(deepcopy(state))
            except Exception as error:  # torch has no check of its own
                raise MERError(f"{where}: {name} is no state of this run; {REMEDY}") from error


class _Kept:
    """What an optimiser keeps of parameters, by their shape, as told by a step with one of that shape."""

    def __init__(self, factory: OptimizerFactory) -> None:
        self.factory = factory
        self.found: dict[torch.Size, Mapping[str, Any]] = {}

    def of(self, shape: torch.Size) -> Mapping[str, Any]:
        """Names and values, as they are after the first step."""
        if shape not in self.found:
            parameter = torch.nn.Parameter(torch.zeros(shape))
            parameter.grad = torch.zeros(shape)
            optimizer = self.factory([parameter])
            with suppress(TypeError):  # of one that wants to be told the loss
                optimizer.step()
            self.found[shape] = next(iter(optimizer.state.values()), {})
        return self.found[shape]


def _check_entries(state: Any, optimizer: Optimizer, kept: _Kept, moving: Collection[str] | None, where: str) -> None:
    groups, entries = state.get("param_groups"), state.get("state")
    if not isinstance(groups, list) or not all(isinstance(group, Mapping) for group in groups):
        raise _odd(groups, f"{where}: param_groups")
    if len(groups) != len(optimizer.param_groups):
        raise MERError(f"{where}: there are {len(groups)} param_groups, not {len(optimizer.param_groups)}; {REMEDY}")
    first = 0
    for group, own in zip(groups, optimizer.state_dict()["param_groups"], strict=True):
        _check_group(group, own, optimizer, moving, f"{where}: param_groups")
        if group["params"] != list(range(first, first := first + len(own["params"]))):
            raise MERError(f"{where}: param_groups have other params; {REMEDY}")
    if not isinstance(entries, Mapping):
        raise _odd(entries, f"{where}: state")
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    for place, entry in entries.items():
        if type(place) is not int or not 0 <= place < len(shapes) or not isinstance(entry, Mapping):
            raise MERError(f"{where}: state holds {told(place)}, which is no parameter's; {REMEDY}")
        for name, mine in kept.of(shapes[place]).items() if entry else ():
            value = entry.get(name)
            if isinstance(mine, Tensor) and not (isinstance(value, Tensor) and _is_like(value, mine)):
                raise _odd(value, f"{where}: {name} of a parameter")
            if name == "step" and not float(value) >= 0:  # type: ignore[arg-type]
                raise _odd(value, f"{where}: step of a parameter")
        for name, value in entry.items():
            if not _is_finite(value):
                raise MERError(f"{where}: {name} of a parameter holds numbers that are not finite; {REMEDY}")


def _is_finite(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_finite, value))
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    return not isinstance(value, float) or math.isfinite(value)


def _is_like(value: Tensor, mine: Tensor) -> bool:
    """Whether it is of the same shape and kind, and no two of its elements lie in one place."""
    order = sorted(range(value.dim()), key=value.stride, reverse=True)
    is_apart = value.permute(order).is_contiguous()
    return value.shape == mine.shape and value.is_floating_point() == mine.is_floating_point() and is_apart


def _check_group(
    group: Mapping[str, Any], own: Mapping[str, Any], optimizer: Optimizer, moving: Collection[str] | None, where: str
) -> None:
    if not {"lr", "params"} <= group.keys():
        raise MERError(f"{where} have no lr or no params; {REMEDY}")
    mine = {name: value for name, value in own.items() if name != "params" and name in group}
    given = {name: group[name] for name in mine}
    _check(given, mine, where)
    for name, value in group.items():
        if name != "params" and not _is_finite(value):
            raise _odd(value, f"{where}: {name}")
    for name, value in mine.items():
        if moving is not None and isinstance(value, (bool, str, NoneType)) and given[name] != value:
            raise _odd(given[name], f"{where}: {name}")
    options = {name: given[name] for name in optimizer.defaults if name in given}
    try:
        with suppress(TypeError):  # not all that it goes by can be asked for
            type(optimizer)([torch.nn.Parameter(torch.zeros(1))], **options)
        other = [] if moving is None else [name for name in mine.keys() - {*moving} if given[name] != mine[name]]
    except (ValueError, RuntimeError) as error:
        raise MERError(f"{where} are no options of {type(optimizer).__name__} ({error}); {REMEDY}") from error
    for name in sorted(other):
        rank_zero_warn(f"the optimiser goes on with {name} {given[name]}, as in the checkpoint, not {mine[name]}")


def _check(theirs: Any, mine: Any, where: str, whole: bool = False) -> None:
    """Refuse a value of another kind; ``whole`` says that nothing may be lacking or new."""
    if isinstance(mine, Mapping):
        if not isinstance(theirs, Mapping):
            raise _odd(theirs, where)
        for name in mine:
            if name in theirs:
                _check(theirs[name], mine[name], f"{where}: {name}", whole)
            elif whole:
                raise MERError(f"{where} has no {name}; {REMEDY}")
        for name in theirs if whole else ():
            if (mine and name not in mine) or (not mine and not _is_leaf(theirs[name])):
                raise MERError(f"{where} holds {told(name)}, which is no state of this run; {REMEDY}")
    elif isinstance(mine, (list, tuple)):
        if not isinstance(theirs, (list, tuple)) or (whole and len(theirs) != len(mine)):
            raise _odd(theirs, where)
        for item in theirs:
            _check(item, mine[0] if mine else None, where, whole)
    elif not _is_leaf(theirs) or not _fits(theirs, mine):
        raise _odd(theirs, where)


def _is_leaf(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float, type(None))) or (isinstance(value, Tensor) and value.numel() == 1)


def _fits(theirs: Any, mine: Any) -> bool:
    if isinstance(mine, (bool, str)):
        return isinstance(theirs, type(mine))
    if isinstance(mine, int):
        return type(theirs) in (int, float) and abs(theirs) < _LARGEST
    if isinstance(mine, (float, Tensor)):
        return isinstance(theirs, Tensor) or type(theirs) is float or (type(theirs) is int and abs(theirs) < _LARGEST)
    return True


def _odd(value: object, where: str) -> MERError:
    return MERError(f"{where} is {told(value)}, which is no state of this run; {REMEDY}")
