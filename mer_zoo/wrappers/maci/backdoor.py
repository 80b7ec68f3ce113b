"""MACI's classification head, with the statistics of the training split that it averages over."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.functional.backdoor import backdoor_adjustment
from mer_zoo.functional.precision import widen
from mer_zoo.functional.variants import Variant

__all__ = ["BackdoorHead", "BackdoorHeads", "PlainHead"]


class BackdoorHead(nn.Module):
    """One classifier for each confounder class, averaged over the classes' prior.

    Args:
        feature_dim: Width of the joint representation.
        input_dims: Width of the class means of each modality.
        num_classes: Number of classes C, and so of classifiers.
        dim: Width d of the encoded class means.
        layer_norm: Put a LayerNorm without parameters before each ReLU of the encoders of audio and vision, which makes
            means of corpora with other scales comparable.
        variant: See :func:`~mer_zoo.functional.backdoor.backdoor_adjustment`.

    Example:
        >>> head = BackdoorHead(96, {"text": 768, "audio": 5, "vision": 20}, num_classes=3)
        >>> sum(p.numel() for p in head.parameters())
        33545
        >>> means = {"text": torch.zeros(3, 768), "audio": torch.zeros(3, 5), "vision": torch.zeros(3, 20)}
        >>> log_p = head(torch.zeros(2, 96), means, torch.tensor([0.3, 0.2, 0.5]))
        >>> log_p.shape, torch.allclose(log_p.exp().sum(1), torch.ones(2))
        (torch.Size([2, 3]), True)
    """

    def __init__(
        self,
        feature_dim: int,
        input_dims: Mapping[str, int],
        num_classes: int,
        dim: int = 32,
        layer_norm: bool = False,
        variant: Variant = "released",
    ) -> None:
        super().__init__()
        self.variant: Variant = variant
        self.encoders = nn.ModuleDict(
            {name: _mlp(width, dim, layer_norm and name != "text") for name, width in input_dims.items()}
        )
        width = feature_dim + len(input_dims) * dim
        self.classifiers = nn.ModuleList([nn.Linear(width, num_classes) for _ in range(num_classes)])

    @override
    def forward(self, features: Tensor, means: Mapping[str, Tensor], prior: Tensor) -> Tensor:
        """Log-probabilities (Eq. 20), or logits as printed (Eq. 24).

        Args:
            features: (B, feature_dim) joint representation.
            means: (C, d_m) class means of each modality, or (1, d_m) where one vector serves for every class.
            prior: (C,) P(i).

        Returns:
            (B, C), at least float32.
        """
        h = torch.cat([encoder(means[name]) for name, encoder in self.encoders.items()], -1)
        # The named parameters of the module list, so that their types are known: W_i (C, F + n d), b_i (C).
        parameters = dict(self.classifiers.named_parameters())
        weights = torch.stack([parameters[f"{i}.weight"] for i in range(len(self.classifiers))])
        biases = torch.stack([parameters[f"{i}.bias"] for i in range(len(self.classifiers))])
        # W_i [h_m, H_i] + b_i: what the sample says costs one product, what the class says does not depend on the
        # sample.
        of_sample, of_class = torch.split(weights, [features.shape[-1], h.shape[-1]], dim=-1)
        z_sample = F.linear(features, of_sample.flatten(0, 1)).view(-1, *biases.shape)
        z_class = (of_class @ h[..., None]).squeeze(-1) + biases
        return backdoor_adjustment(z_sample + z_class, prior, self.variant)


class BackdoorHeads(nn.Module):
    """A :class:`BackdoorHead` for each problem of a task (one for sentiment, one an emotion) and its class statistics.

    The statistics are buffers of fixed shape that lead with the number of problems where the task has several.

    Args:
        feature_dim: Width of the joint representation.
        input_dims: Width of each modality in use.
        shape: The task's shape, (C,) or (E, C).
        dim: See :class:`BackdoorHead`.
        layer_norm: See :class:`BackdoorHead`.
        variant: See :class:`BackdoorHead`.

    Example:
        >>> heads = BackdoorHeads(8, {"audio": 5}, shape=(4, 2))
        >>> heads.set_statistics(torch.full((4, 2), 0.5), {"audio": torch.randn(4, 2, 5)})
        >>> heads(torch.randn(3, 8)).shape, heads.test_scores([torch.randn(3, 8)] * 4).shape
        (torch.Size([3, 4, 2]), torch.Size([3, 4, 2]))
    """

    prior: Tensor

    def __init__(
        self,
        feature_dim: int,
        input_dims: Mapping[str, int],
        shape: Sequence[int],
        dim: int = 32,
        layer_norm: bool = False,
        variant: Variant = "released",
    ) -> None:
        super().__init__()
        *problems, num_classes = self.shape = tuple(shape)
        self.names = list(input_dims)
        self.heads = nn.ModuleList(
            BackdoorHead(feature_dim, input_dims, num_classes, dim, layer_norm, variant)
            for _ in range(math.prod(problems))
        )
        self.register_buffer("prior", torch.zeros(self.shape))
        for name, width in input_dims.items():
            self.register_buffer(f"mean_{name}", torch.zeros(*self.shape, width))

    def __len__(self) -> int:
        return len(self.heads)

    def set_statistics(self, prior: Tensor, means: Mapping[str, Tensor]) -> None:
        """Take over what was fitted on the training split.

        Args:
            prior: (G, C) for G problems, see :func:`~mer_zoo.functional.backdoor.class_prior`.
            means: (G, C, d_m) of each modality, see :func:`~mer_zoo.functional.backdoor.class_means`.
        """
        self.prior.copy_(prior.view_as(self.prior))
        for name, mean in means.items():
            buffer = self.get_buffer(f"mean_{name}")
            buffer.copy_(mean.view_as(buffer))

    @override
    def forward(self, features: Tensor) -> Tensor:
        """Training-time scores: prior and class means of the training split.

        Args:
            features: (B, feature_dim).

        Returns:
            (B, *shape) log-probabilities.
        """
        prior = self.prior.view(len(self), -1)
        return self._join([head(features, self._means(g), prior[g]) for g, head in enumerate(self.heads)])

    def test_scores(self, features: Sequence[Tensor]) -> Tensor:
        """Test-time scores: P(i) = 1/C and the average of the class means for every i.

        Args:
            features: (B, feature_dim) for each problem.

        Returns:
            (B, *shape) log-probabilities.
        """
        uniform = self.prior.new_full(self.shape[-1:], 1 / self.shape[-1])
        scores = []
        for g, head in enumerate(self.heads):
            average = {name: mean.mean(0, keepdim=True) for name, mean in self._means(g).items()}
            scores.append(head(features[g], average, uniform))
        return self._join(scores)

    def _means(self, problem: int) -> dict[str, Tensor]:
        buffers = {name: self.get_buffer(f"mean_{name}") for name in self.names}
        return {name: mean.view(len(self), -1, mean.shape[-1])[problem] for name, mean in buffers.items()}

    def _join(self, scores: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(scores), 1).view(-1, *self.shape)


class PlainHead(nn.Module):
    """What stands in the place of :class:`BackdoorHeads` where labels are not debiased: one linear classifier.

    Args:
        feature_dim: Width of the joint representation.
        shape: The task's shape, (C,) or (E, C).

    Example:
        >>> head = PlainHead(8, shape=(4, 2))
        >>> features = torch.randn(3, 8)
        >>> torch.equal(head(features), head.test_scores([features] * 4))
        True
    """

    prior: Tensor

    def __init__(self, feature_dim: int, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.classifier = nn.Linear(feature_dim, math.prod(shape))
        self.register_buffer("prior", torch.zeros(self.shape))

    def __len__(self) -> int:
        return math.prod(self.shape[:-1])

    def set_statistics(self, prior: Tensor, means: Mapping[str, Tensor]) -> None:  # noqa: ARG002  # as the other head's
        """Take over the prior (G, C), which the choice of tau weighs by; class means are of no use."""
        self.prior.copy_(prior.view_as(self.prior))

    @override
    def forward(self, features: Tensor) -> Tensor:
        """Log-probabilities (B, *shape), at least float32, of (B, feature_dim)."""
        return widen(self.classifier(features)).view(-1, *self.shape).log_softmax(-1)

    def test_scores(self, features: Sequence[Tensor]) -> Tensor:
        """The same of the features (B, feature_dim) for each problem."""
        scores = [self(x).view(len(x), len(self), -1)[:, g] for g, x in enumerate(features)]
        return torch.stack(scores, 1).view(-1, *self.shape)


def _mlp(width: int, dim: int, layer_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for size in (width, dim):
        norm = [nn.LayerNorm(dim, elementwise_affine=False)] if layer_norm else []
        layers += [nn.Linear(size, dim), *norm, nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(dim, dim))
