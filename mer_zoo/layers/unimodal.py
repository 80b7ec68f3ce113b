"""Multi-task learning: modalities alone predict the labels that the corpus has of them, as CH-SIMS does.

Idea: a face may smile at a bitter sentence. Where people have labelled each modality by itself, a head of its own keeps
what a modality says from being bent to what all say together.

References:
    Yu et al., "CH-SIMS: A Chinese Multimodal Sentiment Analysis Dataset with Fine-grained Annotation of Modality",
    ACL 2020, https://aclanthology.org/2020.acl-main.343.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.options import check_weights
from mer_zoo.task import Task

__all__ = ["UnimodalHeads", "check_sentiment", "unimodal_losses"]


def unimodal_losses(task: Task, predictions: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """The task's loss of each modality's prediction on its own label, averaged over the samples that have one.

    Args:
        task: What the predictions mean.
        predictions: (B, *task shape) by modality.
        batch: With the labels; a modality of which it has none learns nothing.

    Raises:
        MERError: If it has none of any of them.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> task = SentimentRegression()
        >>> batch = Batch.random(DataSpec(), task).replace(unimodal={"text": torch.tensor([2.0, torch.nan])})
        >>> losses = unimodal_losses(task, {"text": torch.zeros(2, 1), "audio": torch.zeros(2, 1)}, batch)
        >>> losses["text"].item(), losses["audio"].item()
        (2.0, 0.0)
    """
    if not any(name in batch.unimodal for name in predictions):
        raise MERError(
            f"the corpus has no labels of {' or '.join(predictions)} alone (regression_labels_T, _A, _V), which this"
            " network is to learn; take a file that has them, or leave unimodal_labels and unimodal_weight out"
        )
    losses = {}
    for name, logits in predictions.items():
        labels = batch.unimodal.get(name)
        labels = logits.new_full((len(batch),), torch.nan) if labels is None else labels
        known = labels.isfinite()
        loss = task.criterion(logits, labels.where(known, 0.0))
        losses[name] = distributed_mean(loss, known.to(loss.dtype))
    return losses


def check_sentiment(owner: str, task: Task) -> None:
    """Refuse to learn labels of modalities alone, which are a sentiment, for a task of another kind.

    Args:
        owner: The class that would.
        task: Its task.

    Raises:
        MERError: If the task is of classes or emotions.
    """
    if task.label_kind != "sentiment":
        raise MERError(
            f"{owner} is to learn labels of modalities alone, which are a sentiment, and the task is {task.name}; leave"
            " unimodal_labels and unimodal_weight out"
        )


class UnimodalHeads(nn.Module):
    """A head of each modality, three linear maps with ReLU between them, as those of the CH-SIMS paper's networks.

    Args:
        owner: The network, for messages.
        dims: Width of the vector of each modality.
        dim: Width of the maps.
        task: What the heads predict.
        weight: Weight of their losses.
        dropout: Dropout of what enters them.

    Raises:
        MERError: For a task of another kind than sentiment, or a negative weight.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> task = SentimentRegression()
        >>> heads = UnimodalHeads("TFN", {"audio": 3}, 4, task, weight=0.5)
        >>> batch = Batch.random(DataSpec(), task).replace(unimodal={"audio": torch.zeros(2)})
        >>> list(heads.losses({"audio": torch.randn(2, 3)}, batch))
        ['unimodal/audio']
    """

    def __init__(
        self, owner: str, dims: Mapping[str, int], dim: int, task: Task, weight: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_weights(owner, {"unimodal_weight": weight})
        check_sentiment(owner, task)
        self.task, self.weight = task, weight
        self.maps = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Dropout(dropout),
                    nn.Linear(width, dim),
                    nn.ReLU(),
                    nn.Linear(dim, dim),
                    nn.ReLU(),
                    nn.Linear(dim, task.num_outputs),
                )
                for name, width in dims.items()
            }
        )

    @override
    def forward(self, vectors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Map (B, dims[m]) to logits (B, *task shape) of each modality."""
        return {name: self.task.reshape(head(vectors[name])) for name, head in self.maps.items()}

    def losses(self, vectors: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The weighted loss of each head, by ``unimodal/NAME``; see :func:`unimodal_losses`."""
        losses = unimodal_losses(self.task, self(vectors), batch)
        return {f"unimodal/{name}": self.weight * loss for name, loss in losses.items()}
