"""A graph-distillation kernel: finds out which modality should teach which, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.graph_distillation import Edge, contrast_along, distil_along, edge_deviation, edge_prior

__all__ = ["Distilled", "GraphDistillation"]

_TEMPERATURE = 8.0
_DEVIATION_WEIGHT = 10.0
_REPRESENTATION_WEIGHT = 10.0


class Distilled(NamedTuple):
    """What a kernel found and what it charges.

    Args:
        strengths: (B, E) edges, sum 1 a sample, in the order of ``GraphDistillation.edges``.
        logits: Loss along the edges between logits.
        representations: Loss along the edges between representations.
        deviation: How far the edges are from their prior.
    """

    strengths: Tensor
    logits: Tensor
    representations: Tensor
    deviation: Tensor


class GraphDistillation(nn.Module):
    """Learns an edge for each ordered pair of modalities from what the two say, and distils along the edges.

    Args:
        modalities: Names of the modalities, at least two.
        num_outputs: Width C of the logits.
        width: Width D of the representations.
        hidden: Width of what the edges see of either.
        favoured: (student, teacher) pairs that the prior lifts; others are ignored.
        representations: "distil" draws the student's representation to the teacher's, "contrast" pushes it away.

    Example:
        >>> kernel = GraphDistillation(["text", "audio"], 1, 4, 6, favoured=[("audio", "text")])
        >>> logits = {name: torch.randn(3, 1) for name in ("text", "audio")}
        >>> found = kernel(logits, {name: torch.randn(3, 4) for name in logits})
        >>> kernel.edges, found.strengths.shape, found.deviation.shape
        ([('text', 'audio'), ('audio', 'text')], torch.Size([3, 2]), torch.Size([]))
    """

    prior: Tensor
    student: Tensor
    teacher: Tensor

    def __init__(
        self,
        modalities: Sequence[str],
        num_outputs: int,
        width: int,
        hidden: int,
        favoured: Sequence[Edge] = (),
        representations: Literal["distil", "contrast"] = "distil",
    ) -> None:
        super().__init__()
        self.modalities = list(modalities)
        self.edges: list[Edge] = [(i, j) for i in modalities for j in modalities if i != j]
        self.along = distil_along if representations == "distil" else contrast_along
        self.logit = nn.Linear(num_outputs, hidden)
        self.representation = nn.Linear(width, hidden)
        # A bias would add the same to all edges of a sample, which the softmax does not see.
        self.score = nn.Linear(4 * hidden, 1, bias=False)
        place = {name: i for i, name in enumerate(modalities)}
        self.register_buffer("prior", edge_prior(self.edges, favoured), persistent=False)
        self.register_buffer("student", torch.tensor([place[i] for i, _ in self.edges]), persistent=False)
        self.register_buffer("teacher", torch.tensor([place[j] for _, j in self.edges]), persistent=False)

    @override
    def forward(self, logits: Mapping[str, Tensor], representations: Mapping[str, Tensor]) -> Distilled:
        """Distil between logits (B, C) and between representations (B, D) of each modality."""
        said = torch.stack([logits[name] for name in self.modalities], 1)
        meant = torch.stack([representations[name] for name in self.modalities], 1)
        strengths = self.strengths(said, meant)
        weights = strengths + self.prior
        student, teacher = self.student, self.teacher
        return Distilled(
            strengths,
            distil_along(said[:, student], said[:, teacher], weights),
            _REPRESENTATION_WEIGHT * self.along(meant[:, student], meant[:, teacher], weights),
            _DEVIATION_WEIGHT * edge_deviation(strengths, self.prior),
        )

    def strengths(self, logits: Tensor, representations: Tensor) -> Tensor:
        """Edges (B, E), sum 1, of stacked logits (B, n, C) and representations (B, n, D)."""
        z = torch.cat([self.logit(logits), self.representation(representations)], -1)
        # score([z_student ; z_teacher]) is a sum of two terms, each computed once a modality.
        as_student, as_teacher = (z @ self.score.weight.view(2, -1).T).unbind(-1)
        return ((as_student[:, self.student] + as_teacher[:, self.teacher]) / _TEMPERATURE).softmax(1)
