"""What each modality would say by itself: a linear head on the mean of its hidden sequence."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mer_zoo.batch import Step
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.model import Model
from mer_zoo.task import Task

__all__ = ["head_losses", "hidden_heads", "pooled_hidden"]


def hidden_heads(owner: str, inner: Model) -> nn.ModuleDict:
    """A linear classifier for each modality's hidden sequence.

    Args:
        owner: The wrapper, for messages.
        inner: The model inside.

    Raises:
        MERError: If it does not offer hidden sequences of known shape of each modality.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import Batch, DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> model = LFLSTM(DataSpec(), SentimentClassification(3))
        >>> heads = hidden_heads("MMPareto", model)
        >>> (step,) = model.steps(Batch.random(model.spec, model.task))
        >>> sorted(head_losses(heads, model.task, pooled_hidden(model, step), step))
        ['audio', 'text', 'vision']
    """
    shapes, used = inner.hidden_shape, inner.spec.modalities
    if not shapes or not set(used) <= set(shapes):
        raise MERError(
            f"{owner} reads hidden sequences of known shape of each modality, which {inner.name} does not"
            " offer; give its hidden_shape, as to mer_zoo.adapt, or choose another network"
        )
    return nn.ModuleDict({name: nn.Linear(shapes[name][1], inner.task.num_outputs) for name in used})


def pooled_hidden(model: Model, step: Step) -> dict[str, Tensor]:
    """Means of the hidden sequences over the steps that are real.

    Args:
        model: Whose step it is.
        step: With hidden sequences (B, T_m, d_m).

    Returns:
        (B, d_m) of each modality in use.
    """
    assert step.output.hidden is not None
    pooled = {}
    for name in model.spec.modalities:
        states = step.output.hidden[name]
        mask = step.batch.modality((model.hidden_axes or {}).get(name, name)).mask
        whole = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        pooled[name] = masked_mean(states, mask if mask.shape == whole.shape else whole)
    return pooled


def head_losses(heads: nn.ModuleDict, task: Task, pooled: Mapping[str, Tensor], step: Step) -> dict[str, Tensor]:
    """The task's loss of what each head says, under the weights of the step.

    Args:
        heads: Of :func:`hidden_heads`.
        task: The task.
        pooled: (B, d_m) of each modality.
        step: Whose labels and weights they are.

    Returns:
        A scalar for each modality.
    """
    losses = {}
    for name, vectors in pooled.items():
        logits = task.reshape(heads[name](vectors))
        losses[name] = distributed_mean(task.weighted(logits, step.batch.target, step.task_weight))
    return losses
