"""What Self-MM remembers of every training sample: its labels and features, the same on every process."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.distributed import gather_rows
from mer_zoo.errors import MERError
from mer_zoo.functional.label_generation import average_labels, class_centres, generate_labels, relative_distance
from mer_zoo.scores import first_of_each

__all__ = ["LabelBank"]


class LabelBank(nn.Module):
    """A row a training sample: how often it was seen, its labels and its features, fused and of each modality.

    The row is found by the sample's index in its split. The bank grows as samples come, so that the size of the split
    need not be known; it is saved with the model. The number of visits takes the place of the epoch in the update of
    labels: both are the same where every epoch shows each sample once, and the number also means something where a
    sampler repeats samples. What a sample's labels are is decided when the batch of all processes is together.

    Args:
        fusion_dim: Width of the fused features.
        dims: Width of the features of each modality.
        bound: Largest absolute label.

    Attributes:
        training_only: No prediction reads what is saved here, so an export leaves it out.

    Example:
        >>> bank = LabelBank(2, {"text": 1})
        >>> index, target = torch.tensor([0, 1]), torch.tensor([1.0, -2.0])
        >>> for _ in range(2):
        ...     bank.update(index, target, torch.eye(2), {"text": torch.tensor([[0.0], [1.0]])})
        >>> bank.labels(torch.tensor([0, 7]), torch.tensor([1.0, 3.0]))["text"][1].item()
        3.0
    """

    training_only = True

    def __init__(self, fusion_dim: int, dims: Mapping[str, int], bound: float = 3.0) -> None:
        super().__init__()
        self.names, self.bound = list(dims), bound
        self.widths = [1, 1 + len(dims), fusion_dim, *dims.values()]
        # No buffer: DDP would send all of it around before every batch, and its size is not known at construction.
        self.rows = torch.zeros(0, sum(self.widths))

    def labels(self, index: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Labels of each modality, (B,); those given where a sample has not been seen.

        Args:
            index: (B,) places of the samples in their split.
            target: (B,) multimodal labels.
        """
        self._reserve(index)
        visits, labels, *_ = self._columns(self.rows[index])
        own = torch.where(visits > 0, labels[:, 1:], target[:, None])
        return dict(zip(self.names, own.to(target.dtype).unbind(1), strict=True))

    @torch.no_grad()
    def update(self, index: Tensor, target: Tensor, fusion: Tensor, features: Mapping[str, Tensor]) -> None:
        """Remember a batch, and from the second visit on move the labels of its samples.

        A sample that stands twice in the batch, over all processes, counts once.

        Args:
            index: (B,) places of the samples in their split.
            target: (B,) multimodal labels.
            fusion: (B, fusion_dim) fused features.
            features: (B, d) features of each modality.
        """
        given = torch.cat([target[:, None], fusion, *(features[name] for name in self.names)], 1).float()
        index, given = gather_rows(index), gather_rows(given)
        first = first_of_each(index)
        index, given = index[first], given[first]
        self._reserve(index)
        known = self._columns(self.rows[index])
        multimodal, seen = given[:, :1], known[0] > 0
        labels = torch.cat([multimodal, torch.where(seen, known[1][:, 1:], multimodal)], 1)
        self.rows[index] = torch.cat([known[0] + 1, labels, given[:, 1:]], 1)
        moved = self._moved_labels(index)
        self.rows[index, 2 : 1 + self.widths[1]] = torch.where(seen & moved.isfinite(), moved, labels[:, 1:])

    def _moved_labels(self, index: Tensor) -> Tensor:
        """Labels (B, modalities) after one update; not finite as long as a class has no samples."""
        everything = self._columns(self.rows)
        visits, labels, *features = self._columns(self.rows[index])
        usable = torch.where(everything[0] > 0, everything[1], torch.nan)
        distances = [
            relative_distance(own, *class_centres(bank, of))
            for own, bank, of in zip(features, everything[2:], usable.unbind(1), strict=True)
        ]
        multimodal, *unimodal = labels.unbind(1)
        fusion, *others = distances
        new = [generate_labels(multimodal, distance, fusion, self.bound) for distance in others]
        pairs = zip(unimodal, new, strict=True)
        return torch.stack([average_labels(old, label, visits.squeeze(1)) for old, label in pairs], 1)

    def _columns(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Visits (N, 1), labels (N, 1 + modalities) and features (N, d), fused ones first, of rows."""
        return torch.split(rows, self.widths, 1)

    def _reserve(self, index: Tensor) -> None:
        """Bring the bank to the device of the batch, and make room for its samples."""
        self.rows = self.rows.to(index.device)
        lacking = int(index.max()) + 1 - len(self.rows)
        if lacking > 0:
            self.rows = torch.cat([self.rows, self.rows.new_zeros(lacking, self.rows.shape[1])])

    @override
    def get_extra_state(self) -> Tensor:
        return self.rows

    @override
    def set_extra_state(self, state: Tensor) -> None:
        if state.dim() != 2 or state.shape[1] != self.rows.shape[1]:
            raise MERError(
                f"the label bank in the checkpoint has shape {tuple(state.shape)}, but a row has {self.rows.shape[1]}"
                f" numbers here;"
                " use the config.yaml of its run"
            )
        self.rows = state.clone()

    @override
    def extra_repr(self) -> str:
        return f"{len(self.rows)} samples of {', '.join(self.names)}"
