"""What interactions between modalities add, measured where a test asks for it."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info

from mer_zoo.data.missing.conditions import Condition
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.reports.interaction import told_of_additive
from mer_zoo.training.interaction import additive_logits

__all__ = ["check_emap", "keep_additive"]


def check_emap(samples: int, trainer: Trainer | None = None, module: MERModule | None = None) -> None:
    """Refuse what can't be measured, before the work.

    Args:
        samples: Number of samples, 0 for none.
        trainer: The trainer that is to test.
        module: What it is to test.

    Raises:
        MERError: For a number below 2 other than 0, several processes, plain loaders, or a model of one modality.
    """
    if samples < 0 or samples == 1:
        raise MERError(f"record.emap is {samples}; give the number of samples, at least 2, or 0 to leave it out")
    if not samples or trainer is None or module is None:
        return
    if trainer.world_size > 1:
        raise MERError("record.emap works in one process; test with trainer.devices: 1")
    if module.datamodule is None or _condition(module) is None:
        raise MERError("record.emap needs a datamodule of mer_zoo and a condition under which nothing is missing")
    if len(module.model.spec.modalities) < 2:
        raise MERError("record.emap puts modalities together, and the model has a single one; leave it out")


def keep_additive(trainer: Trainer, module: MERModule, samples: int) -> None:
    """Put the best additive approximation beside the scores of the first test split, and what it is worth to results.

    Args:
        trainer: The trainer that has just tested.
        module: What it has tested.
        samples: Number of samples, always the same ones of a split, or all where it has fewer; 0 does nothing.
    """
    condition = _condition(module)
    if not samples or condition is None or condition.name not in module.test_scores or module.datamodule is None:
        return
    scores, data = module.test_scores[condition.name], module.datamodule
    chosen = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))[:samples].sort().values
    rank_zero_info(f"EMAP: modalities of {len(chosen)} samples of {condition.name} are put together")
    dataset, precision = data.dataset(condition.split, condition.source), trainer.precision_plugin
    batch = dataset.__getitems__(scores.index[chosen].tolist()).to(module.device)
    with precision.forward_context():
        additive, count = additive_logits(module.model, batch, data.batch_size, convert=precision.convert_input)
    scores.additive = torch.full_like(scores.logits, float("nan")).index_copy(0, chosen, additive.to(scores.logits))
    found = told_of_additive(module.model.task, scores.logits, scores.target, scores.additive, scores.ids)
    module.results[condition.name]["emap"] = {"combinations": count, **found}


def _condition(module: MERModule) -> Condition | None:
    """The first condition under which nothing is missing."""
    conditions = [] if module.datamodule is None else module.datamodule.conditions
    return next((condition for condition in conditions if condition.complete), None)
