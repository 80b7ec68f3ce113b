r"""Mathematics of adapting a trained network to inputs of another corpus, without their labels.

Symbols: z, z' (B, D) representations of the same samples in two views; :math:`\tau` a temperature; K moments of the
adaptation at which predictions were kept, of N samples.

References:
    Guo et al., "Bridging the Gap for Test-Time Multimodal Sentiment Analysis", AAAI 2025, arXiv:2412.07121.
    Chen, Kornblith, Norouzi and Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML
    2020, arXiv:2002.05709: NT-Xent.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Stable", "matched_affine", "nt_xent", "pseudo_labels", "stability"]

Stable = Literal["below", "above"]


def nt_xent(z: Tensor, other: Tensor, temperature: float = 0.5) -> Tensor:
    r"""Mean over 2B vectors of :math:`-\log (e^{s(z, z') / \tau} / \sum_{v \ne z} e^{s(z, v) / \tau})`, s the cosine.

    Args:
        z: (B, D).
        other: (B, D), the other view of the same samples.
        temperature: :math:`\tau`.

    Example:
        >>> z = torch.eye(2)
        >>> round(nt_xent(z, z).item(), 4)  # of three others the partner has e^2, the rest 1 each: -ln(e^2 / (e^2 + 2))
        0.2395
    """
    both = F.normalize(torch.cat([z, other]), dim=1)
    similarity = both @ both.T / temperature
    size = len(z)
    itself = torch.eye(2 * size, dtype=torch.bool, device=z.device)
    partner = torch.arange(2 * size, device=z.device).roll(size)
    return F.cross_entropy(similarity.masked_fill(itself, -torch.inf), partner)


def stability(kept: Tensor) -> Tensor:
    """How much the prediction of each sample changed from one moment to the next, on average.

    Args:
        kept: (K, N, ...) predictions at K moments.

    Returns:
        (N,) mean absolute differences; small is stable.

    Example:
        >>> stability(torch.tensor([[0.0, 1.0], [0.5, 1.0], [0.0, 1.0]])).tolist()
        [0.5, 0.0]
    """
    return kept.diff(dim=0).abs().mean(0).flatten(1).mean(1) if kept.dim() > 2 else kept.diff(dim=0).abs().mean(0)


def pseudo_labels(kept: Tensor, quantile: float, stable: Stable = "below") -> tuple[Tensor, Tensor]:
    """Samples that are taken for stable, and the mean of their predictions, which they get as labels.

    Args:
        kept: (K, N, ...) predictions at K moments.
        quantile: Of the changes of :func:`stability`, that parts the stable from the others.
        stable: Whether samples ``below`` it are meant, it included; ``above`` is the released comparison, which takes
            those that changed most.

    Returns:
        (S,) places and (S, ...) labels.

    Example:
        >>> kept = torch.tensor([[0.0, 1.0, 2.0], [0.9, 1.1, 2.5]])
        >>> pseudo_labels(kept, 0.5)[0].tolist(), pseudo_labels(kept, 0.5, "above")[0].tolist()
        ([1, 2], [0])
    """
    change = stability(kept)
    border = torch.quantile(change, quantile)
    places = (change > border if stable == "above" else change <= border).nonzero()[:, 0]
    return places, kept[:, places].mean(0)


def matched_affine(
    weight: Tensor, bias: Tensor, found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Gain and offset under which the outputs of a normalisation have other means and deviations, channel by channel.

    Args:
        weight: (D,) its gain.
        bias: (D,) its offset.
        found: (D,) means and (D,) deviations of its outputs.
        wanted: Those that they are to have.

    Returns:
        (D,) gain and (D,) offset; those of a channel that never changes stay.

    Example:
        >>> one, two = torch.ones(1), torch.full((1,), 2.0)
        >>> matched_affine(one, one, (two, two), (one, one))  # (x - 2) / 2 + 1, of x = z + 1
        (tensor([0.5000]), tensor([0.5000]))
    """
    mean, std = found
    moves = (std > 0) & (wanted[1] > 0)
    ratio = torch.where(moves, wanted[1] / torch.where(moves, std, 1.0), 1.0)
    return weight * ratio, torch.where(moves, (bias - mean) * ratio + wanted[0], bias)
