"""The content of a results.json that any LightningModule has."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer

from mer_zoo.data import MERDataModule
from mer_zoo.data.missing.conditions import described
from mer_zoo.functional.draws import global_seed
from mer_zoo.runs.provenance import weights_sha256

__all__ = ["about", "with_data"]


def about(trainer: Trainer, module: LightningModule, label: str) -> dict[str, Any]:
    """Which weights were tested.

    Args:
        trainer: The trainer that tests them.
        module: What holds them.
        label: What tables call it.
    """
    return {
        "model": label,
        "parameters": sum(p.numel() for p in module.parameters()),
        "checkpoint": str(trainer.ckpt_path) if trainer.ckpt_path else None,
        "weights": weights_sha256(module.state_dict()),
        "seed": global_seed(),
    }


def with_data(results: dict[str, Any], data: MERDataModule) -> dict[str, Any]:
    """On what they were tested, and under which conditions.

    Args:
        results: What was tested: ``conditions`` and ``notes`` among others.
        data: The datamodule.

    Returns:
        Results with ``task``, ``convention``, ``data``, its notes, and what each condition is.
    """
    told = data.describe()
    notes = [*results["notes"], *told.pop("notes")]
    conditions = dict(results["conditions"])
    for condition in data.conditions:
        if condition.name in conditions:
            entry = described(condition, data.conditions, list(data.corpus.splits))
            conditions[condition.name] = {**entry, **conditions[condition.name]}
    named = {"task": data.task_name, "convention": data.convention, "data": told}
    return {**results, "notes": notes, "conditions": conditions, **named}
