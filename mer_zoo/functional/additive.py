"""What a model says that its modalities do not say one by one: its best additive approximation (EMAP)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["additive_projection", "marginals"]


def additive_projection(means: Tensor) -> Tensor:
    r"""The sum of functions of single modalities that is nearest to a model.

    With f_m(i) the mean prediction over all others' values where modality m is that of sample i,

        f(i) = f_1(i) + ... + f_M(i) - (M - 1) mean f,

    which among all such sums has the least squared distance to the predictions for every combination of the samples'
    modalities. What a model loses by it is what it has learnt of interactions between modalities.

    Args:
        means: (M, N, ...) the mean predictions f_m(i) of N samples, by modality; from :func:`marginals`, or of as many
            combinations as there is time for.

    Returns:
        (N, ...) predictions of the additive model for the samples as they are.

    References:
        Hessel and Lee, "Does my multimodal model learn cross-modal interactions? It's harder to tell than you might
        think!", EMNLP 2020, whose Algorithm 1 this is for two modalities; for more see their section on extensions.

    Example:
        >>> text, audio = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0.5, 0.0, -2.0])
        >>> additive_projection(marginals(text[:, None] + audio, 2)).tolist()
        [1.5, 2.0, 4.0]
        >>> additive_projection(marginals(text[:, None] * audio, 2)).tolist()
        [2.5, 0.5, -7.5]
    """
    return means.sum(0) - (len(means) - 1) * means.mean((0, 1))


def marginals(predictions: Tensor, modalities: int) -> Tensor:
    """Mean predictions by the sample that one modality is of.

    Args:
        predictions: (N, ..., N, ...) predictions for every combination, an axis of N samples for each modality first.
        modalities: The number M of these axes.

    Returns:
        (M, N, ...).

    Example:
        >>> marginals(torch.tensor([[1.0, 2.0], [3.0, 8.0]]), 2).tolist()
        [[1.5, 5.5], [2.0, 5.0]]
    """
    axes = range(modalities)
    return torch.stack([predictions.mean([axis for axis in axes if axis != own]) for own in axes])
