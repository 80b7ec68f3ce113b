"""What a run trains on and by, stretch for stretch: when it is resumed it goes on as it began, or as it is asked to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.functional.draws import global_seed
from mer_zoo.text import told
from mer_zoo.training.named_files import Best
from mer_zoo.training.param_groups import OptimizerFactory, ParamGroups
from mer_zoo.training.record import REMEDY

__all__ = ["KINDS", "STRETCHES", "Settings", "Stretches", "allowed_kinds", "go_on", "optimisation", "settings_of"]

STRETCHES = "mer_zoo_stretches"  # the key of a checkpoint
KINDS = ("data", "model", "optimizer", "seed")
_LONGEST = 10_000  # of stretches
Settings = dict[str, dict[str, Any]]


def allowed_kinds(given: str) -> frozenset[str]:
    """The kinds of settings that may differ, from a text such as ``data,optimizer``.

    Args:
        given: Kinds with commas between them.

    Raises:
        MERError: For a kind that there is not.

    Example:
        >>> sorted(allowed_kinds("optimizer, data"))
        ['data', 'optimizer']
    """
    kinds = frozenset(word for word in (part.strip() for part in given.split(",")) if word)
    for kind in sorted(kinds - {*KINDS}):
        raise MERError(f"resume.allow names {told(kind)}; choose from {', '.join(KINDS)}, with commas between them")
    return kinds


def optimisation(
    optimizer: OptimizerFactory, groups: ParamGroups, scheduler: Callable[[Any], Any] | None, steps: Mapping[str, Any]
) -> dict[str, Any]:
    """What the weights are optimised by, in plain values.

    Args:
        optimizer: Makes the optimiser.
        groups: Options by patterns of names.
        scheduler: Makes the scheduler, if any.
        steps: Whatever else decides the steps.

    Example:
        >>> optimisation(torch.optim.SGD, {}, None, {"clip_norm": None})["options"]["lr"]
        0.001
    """
    made = optimizer([nn.Parameter(torch.zeros(1))])
    options, by_pattern = dict(made.defaults), {pattern: dict(given) for pattern, given in groups.items()}
    told: dict[str, Any] = {"class": type(made).__name__, "options": options, "groups": by_pattern, **steps}
    if scheduler is not None:
        with suppress(Exception):  # one that wants more of its optimiser is told by the run itself
            schedule = scheduler(made)
            hidden = {"base_lrs", "_last_lr", "last_epoch", "_step_count"}
            state = {name: value for name, value in schedule.state_dict().items() if name not in hidden}
            told["scheduler"] = {"class": type(schedule).__name__, **state}
    return told


def settings_of(optimizer: dict[str, Any], recipe: dict[str, Any] | None, data: Any) -> Settings:
    """What a run trains on and by, for each of :data:`KINDS`.

    Args:
        optimizer: See :func:`optimisation`.
        recipe: The description of the model; None where it has none.
        data: The datamodule; None, or one of others, where what is trained on is not known.
    """
    settings = {"optimizer": optimizer, "seed": {"seed_everything": global_seed()}, "model": recipe or {}}
    if hasattr(data, "origin"):
        origin = {name: value for name, value in data.origin().items() if name != "source"}
        settings["data"] = {**origin, "batch_size": data.batch_size, "seed": data.seed}
        if data.batches != "samples":  # earlier versions knew no others
            settings["data"]["batches"] = data.batches
    if settings["seed"]["seed_everything"] is None:  # none was asked for
        del settings["seed"]
    plain: Settings = _plain(settings)
    return plain


class Stretches:
    """The stretches of a run that is trained.

    Attributes:
        told: Each of them, see :func:`go_on`.
        may_differ: What a run that is resumed may have other than before.
        not_at_hand: Best epochs before whose checkpoints are not.
    """

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.may_differ: frozenset[str] = frozenset()
        self.not_at_hand: list[Best] = []
        self._asked: list[list[dict[str, Any]]] = []

    def begin(self, content: Mapping[str, Any] | None, settings: Settings) -> None:
        """Begin a stretch.

        Args:
            content: The checkpoint that the run goes on from; None for a run that begins.
            settings: What it trains on and by.

        Raises:
            MERError: Naming what differs and may not.
        """
        self.told = go_on(content, settings, self.may_differ)
        for change in self.told[-1]["changed"]:
            rank_zero_warn(f"the run goes on otherwise than before: {change}")

    def note(self, trainer: Trainer) -> None:
        """Note what options optimisers were asked to have, before they are restored."""
        self._asked = [[{**group, "params": []} for group in one.param_groups] for one in trainer.optimizers]

    def take_over(self, trainer: Trainer) -> None:
        """Let restored optimisers go on with these options, where they may differ."""
        if "optimizer" in self.may_differ and len(self.told) > 1:
            schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
            for optimizer, asked in zip(trainer.optimizers, self._asked, strict=True):
                _take_over_rates(optimizer, schedulers, asked)


def go_on(content: Mapping[str, Any] | None, settings: Settings, allowed: Iterable[str]) -> list[dict[str, Any]]:
    """The stretches of a run, the one that begins included.

    Args:
        content: The checkpoint that the run goes on from; None for a run that begins.
        settings: What is to be trained on and by: for each of :data:`KINDS` names and plain values.
        allowed: The kinds that may differ from those before.

    Returns:
        Of each stretch the epoch and step that it began at, its settings, and what differed from those before.

    Raises:
        MERError: Naming what differs and may not.

    Example:
        >>> before = {STRETCHES: go_on(None, {"seed": {"seed_everything": 0}}, []), "epoch": 3, "global_step": 60}
        >>> go_on(before, {"seed": {"seed_everything": 5}}, ["seed"])[1]["changed"]
        ['seed_everything: 0 before, 5 now']
        >>> go_on(before, {"seed": {"seed_everything": 5}}, [])
        Traceback (most recent call last):
        mer_zoo.errors.MERError: the run that is resumed had another seed (seed_everything: 0 before, 5 now); ...
    """
    begun = {"epoch": 0, "step": 0, "settings": settings, "changed": []}
    if content is None:
        return [begun]
    before = _stretches(content)
    earlier = Fields(before[-1]["settings"], "the checkpoint: settings", REMEDY) if before else None
    changed: dict[str, list[str]] = {}
    for kind in KINDS if earlier is not None else ():
        old, new = earlier.optional_part(kind), settings.get(kind)  # type: ignore[union-attr]
        if old is not None and new is not None and (found := list(_differences(old.content, new))):
            changed[kind] = found
    refused = {kind: found for kind, found in changed.items() if kind not in set(allowed)}
    if refused:
        what = "; ".join(f"another {kind} ({', '.join(found)})" for kind, found in refused.items())
        raise MERError(
            f"the run that is resumed had {what}; give what it had, or --resume.allow={','.join(changed)} to go on"
            " with what there is now, which its provenance.json then tells"
        )
    place = {"epoch": content.get("epoch", 0), "step": content.get("global_step", 0)}
    return [*before, {**begun, **place, "changed": [line for found in changed.values() for line in found]}]


def _take_over_rates(optimizer: Optimizer, schedulers: Iterable[Any], asked: Iterable[Mapping[str, Any]]) -> None:
    """Let a restored optimiser go on with options that were asked for, a schedule from where it is.

    Args:
        optimizer: The optimiser, its state restored.
        schedulers: Its schedulers, restored too.
        asked: Options of its groups as they were before it was restored.
    """
    for place, (group, wanted) in enumerate(zip(optimizer.param_groups, asked, strict=True)):
        first, new = group.get("initial_lr", group["lr"]), wanted.get("initial_lr", wanted["lr"])
        rate = group["lr"] * (new / first) if first else new
        group.update({name: value for name, value in wanted.items() if name != "params"})
        group["lr"] = rate if "initial_lr" in group else new
        for scheduler in schedulers:
            if len(getattr(scheduler, "base_lrs", ())) > place:
                scheduler.base_lrs[place] = new


def _stretches(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = Fields(content, "the checkpoint", REMEDY).plain(STRETCHES)
    if found is None:  # of an older version
        return []
    given = Fields({STRETCHES: found}, "the checkpoint", REMEDY)
    if not isinstance(found, list) or not 0 < len(found) <= _LONGEST or not all(isinstance(s, dict) for s in found):
        raise given.refusal(STRETCHES, "a list of stretches")
    for stretch in found:
        Fields(stretch, f"the checkpoint: {STRETCHES}", REMEDY).part("settings")
    return list(found)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], within: str = "") -> Iterable[str]:
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{within}{name}.")
        elif one != other:
            yield f"{within}{name}: {told(one)} before, {told(other)} now"


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_word), parse_constant=lambda _: None)


def _word(value: Any) -> Any:
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    return getattr(value, "__qualname__", type(value).__qualname__)
