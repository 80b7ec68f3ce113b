"""The content of a results.json: what any LightningModule has, and what models of the zoo add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from mer_zoo.callbacks.certainty import calibration_of, with_uncertainty
from mer_zoo.data import MERDataModule
from mer_zoo.data.missing.conditions import described
from mer_zoo.functional.draws import global_seed
from mer_zoo.module import MERModule
from mer_zoo.runs.provenance import weights_sha256
from mer_zoo.sharing.named import named_options
from mer_zoo.training.cost import parameter_counts
from mer_zoo.training.record import DataAbout

__all__ = ["about", "results_of", "trained_elsewhere", "with_data"]


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
    own_names = {"classes": data.task.class_names, "emotions": data.task.problems}.get(data.task_name)
    if own_names is not None:
        named["names"] = list(own_names)
    return {**results, "notes": notes, "conditions": conditions, **named}


def trained_elsewhere(trained: DataAbout | None, data: MERDataModule) -> list[str]:
    """Tell that weights are tested on another file than they were trained on, be it under the same name.

    Args:
        trained: What they were trained on, where it is known.
        data: What they are tested on.

    Returns:
        One sentence, or none where the fingerprints agree or one is not known.
    """
    now = data.origin()
    if trained is None or None in (trained.sha256, now["sha256"]) or trained.sha256 == now["sha256"]:
        return []
    names = [
        f"{Path(str(name)).name} (SHA-256 {digest[:8]})"
        for name, digest in ((trained.source, str(trained.sha256)), (now["source"], now["sha256"]))
    ]
    return [f"trained on {names[0]}, tested on {names[1]}: samples of one may be in another split of the other"]


def results_of(trainer: Trainer, module: MERModule, level: float) -> dict[str, Any]:
    """The content of results.json: what was tested, on what, and the metrics of each condition.

    Args:
        trainer: The trainer that has just tested.
        module: The module it tested.
        level: Share of samples that conformal sets and intervals are to cover.

    Returns:
        Plain values only.
    """
    sure, told = calibration_of(module, level)
    results = {
        **about(trainer, module, module.model.label),
        "nest": named_options(module.model),
        "complexity": {"parameters": parameter_counts(module.model)},
        "seed": module.trained_seed(),
        "conditions": module.results if sure is None else with_uncertainty(module, sure),
        "calibration": told,
        "diagnostics": module.model.diagnostics(),
        "notes": module.model.notes(),
    }
    if module.datamodule is None:
        return results
    results["notes"] = [*results["notes"], *trained_elsewhere(module.trained_on, module.datamodule)]
    return with_data(results, module.datamodule)
