"""LNLN's mathematics: how complete a text is, a dominant representation of text and proxy, the losses to train them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.precision import widen

__all__ = ["completeness_error", "discriminator_loss", "mix_dominant", "text_completeness", "token_error"]


def text_completeness(observed: Tensor, words: Tensor) -> Tensor:
    """Share of a text's words that are there; 0 for a text without words.

    Args:
        observed: (B, T) bool, the positions that are real and not missing.
        words: (B, T) bool, the positions that could be missing: real, and neither [CLS] nor [SEP] of token ids.

    Returns:
        (B,) float in [0, 1], 1 less the missing rate.

    Example:
        >>> words = torch.tensor([[True, True, True, True], [False, False, False, False]])
        >>> text_completeness(torch.tensor([[True, False, False, False], [True, True, False, False]]), words).tolist()
        [0.25, 0.0]
    """
    return (observed & words).sum(1) / words.sum(1).clamp(min=1)


def mix_dominant(text: Tensor, proxy: Tensor, w: Tensor) -> Tensor:
    """The dominant representation D = (1 - w) p + w h_l.

    Args:
        text: (B, n, d) tokens h_l of the text.
        proxy: (B, n, d) tokens p made of the other modalities.
        w: (B, 1) how complete the text seems.

    Returns:
        (B, n, d).

    References:
        Zhang, Wang, Yu, "Towards Robust Multimodal Sentiment Analysis with Incomplete Data", NeurIPS 2024.

    Example:
        >>> mix_dominant(torch.ones(1, 2, 1), torch.zeros(1, 2, 1), torch.tensor([[0.25]])).flatten().tolist()
        [0.25, 0.25]
    """
    weight = w[:, :, None]
    return (1 - weight) * proxy + weight * text


def completeness_error(w: Tensor, completeness: Tensor) -> Tensor:
    """Squared error (B,) of an estimated completeness (B, 1) against the true one (B,).

    Example:
        >>> completeness_error(torch.tensor([[0.5]]), torch.tensor([1.0])).tolist()
        [0.25]
    """
    return (widen(w.squeeze(1)) - completeness).square()


def discriminator_loss(dominant: Tensor, text: Tensor) -> Tensor:
    """Cross-entropy of telling tokens of the dominant representation, class 1, from those of complete text, class 0.

    Args:
        dominant: (B, n, 2) logits of the dominant tokens.
        text: (B, n, 2) logits of the tokens of the complete text.

    Returns:
        (B,) the mean over the 2n tokens of each sample.

    Example:
        >>> discriminator_loss(torch.zeros(1, 8, 2), torch.zeros(1, 8, 2)).item()
        0.693...
    """
    log_p = torch.stack([F.log_softmax(widen(dominant), -1)[..., 1], F.log_softmax(widen(text), -1)[..., 0]])
    return -log_p.mean((0, 2))


def token_error(restored: Tensor, complete: Tensor) -> Tensor:
    """Mean squared error (B,) of restored tokens (B, n, d) against those of the complete view (B, n, d).

    Example:
        >>> token_error(torch.zeros(2, 3, 4), torch.ones(2, 3, 4)).tolist()
        [1.0, 1.0]
    """
    return (widen(restored) - widen(complete)).square().mean((1, 2))
