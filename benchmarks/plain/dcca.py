"""DCCA and DCCAE written from their equations, with the released names, for benchmarks to compare with."""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.batch import Batch

__all__ = ["PlainDCCA"]

ORDER = ("audio", "vision", "text")


class Perceptron(nn.Module):
    """Three layers with batch normalisation, and a linear map."""

    def __init__(self, input_dim: int, hidden: int, output_dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (input_dim, hidden, hidden):
            layers += [nn.Linear(before, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.Linear(hidden, output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, output_dim) of (B, input_dim)."""
        made: Tensor = self.model(x)
        return made


class PlainDCCA(nn.Module):
    """A network for each modality, the loss of all pairs, a linear classifier, and decoders where asked for."""

    def __init__(self, dims: tuple[int, int, int], dim: int, hidden: int, decodes: bool) -> None:
        super().__init__()
        text, audio, vision = dims
        self.decodes = decodes
        for number, width in enumerate((audio, vision, text), 1):
            self.add_module(f"encoder{number}", Perceptron(width, hidden, dim))
            if decodes:
                self.add_module(f"decoder{number}", Perceptron(dim, hidden, width))
        self.head = nn.Linear(3 * dim, 1)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores (B, 1) and losses of a training step."""
        given = [batch.modality(name) for name in ORDER]
        x = [(m.x * m.mask[..., None]).sum(1) / m.mask.sum(1)[:, None] for m in given]
        z = [self.get_submodule(f"encoder{number}")(view) for number, view in enumerate(x, 1)]
        scores = self.head(torch.cat(z, 1))
        terms = {"task": F.l1_loss(scores, batch.target[:, None])}
        terms["correlation"] = sum((_loss(*pair) for pair in combinations(z, 2)), torch.zeros(()))
        if self.decodes:
            errors = [F.mse_loss(self.get_submodule(f"decoder{n}")(z[n - 1]), x[n - 1]) for n in (1, 2, 3)]
            terms["reconstruction"] = 0.001 * sum(errors, torch.zeros(()))
        return scores, terms


def _loss(first: Tensor, second: Tensor) -> Tensor:
    """Minus the sum of the canonical correlations, by inverse roots of both covariances, in double precision."""
    x, y = ((view - view.mean(0)).double() for view in (first, second))
    free, ridge = len(x) - 1, 1e-3 * torch.eye(x.shape[1], dtype=torch.float64)
    roots = [torch.linalg.inv(torch.linalg.cholesky(view.T @ view / free + ridge)) for view in (x, y)]
    correlations: Tensor = torch.linalg.svdvals(roots[0] @ (x.T @ y / free) @ roots[1].T)
    return -(correlations.square() + 1e-3).sqrt().sum().to(first.dtype)
