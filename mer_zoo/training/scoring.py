"""Scores of a split without a Trainer, kept so that what is chosen on validation data can be chosen again and again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.model import Model
from mer_zoo.scores import Scores
from mer_zoo.training import modes

__all__ = ["score"]


def score(
    model: Model,
    source: BatchSource,
    keep: Callable[[Batch], dict[str, Tensor]] | None = None,
    calibrating: bool = True,
) -> Scores:
    """Test-time scores of all samples of a source, with everything that a choice on validation data needs.

    One evaluation then serves every choice: under each, :meth:`Model.calibrate` takes the scores of the validation
    split and :meth:`Model.rescore` those of any other, without running the network again; see
    :meth:`mer_zoo.confounding.strength.Strength.selecting`.

    Args:
        model: The model, on the device of the batches; it is evaluated and then put back into its modes.
        source: The batches, such as :meth:`MERDataModule.batch_source` or :meth:`MERDataModule.condition_source`.
        keep: What else is kept of each batch, (B, ...) each; such as ``ValidationWeights.effects``.
        calibrating: Whether what only :meth:`Model.calibrate` needs is scored, too.

    Returns:
        The scores in the order of the split, on the CPU.

    Example:
        >>> from mer_zoo import CLUE, LFLSTM, DataSpec, SentimentClassification
        >>> model = CLUE(LFLSTM(DataSpec(), SentimentClassification(3)))
        >>> batches = [Batch.random(model.spec, model.task, size=40, seed=seed) for seed in (0, 1)]
        >>> valid, test = (score(model, [batch]) for batch in batches)
        >>> chosen = []
        >>> for alpha in (0.0, 2.0):
        ...     with model.strength.selecting("fixed", alpha):
        ...         model.calibrate(valid)
        ...         chosen.append(model.rescore(test))
        >>> len(test), torch.equal(*chosen)
        (40, False)
    """
    parts = []
    with torch.no_grad(), modes.evaluating(model), modes.calibrating(model, calibrating):
        for batch in source:
            output = model.predict(batch if model.fixed_length else batch.trim())
            effects = {**output.effects, **(keep(batch) if keep is not None else {})}
            given = batch.available(model.spec)
            scores = Scores(output.logits, effects, batch.target, batch.index, ids=batch.ids, available=given)
            parts.append(scores.cpu())
    return Scores.concat(parts)
