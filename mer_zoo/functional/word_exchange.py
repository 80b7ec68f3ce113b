"""Words dealt out at random: those of some places of each sample are replaced by those of another sample of the batch.

Where words are a mere trace of what stands behind them and the label, this is the randomised trial itself, made of
training text: whose words a sample gets does not depend on its label.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["deal_out"]


def deal_out(exchanged: Tensor, share: float = 1.0) -> tuple[Tensor, Tensor]:
    """Draw which sample, and which place of it, the word at each place comes from.

    Each sample has one giver, drawn from those of the batch that have words to give, itself among them; each of its
    places gets a word of the giver's, with replacement, so that texts keep their lengths and all other words.

    Args:
        exchanged: (B, T) bool, places of the words that are dealt out.
        share: Of the samples that get others' words.

    Returns:
        (B, T) rows and (B, T) columns, those of each place itself where its word stays.

    Example:
        >>> words, is_bias = torch.tensor([[7, 1], [8, 2]]), torch.tensor([[True, False], [True, False]])
        >>> _ = torch.manual_seed(2)
        >>> words[deal_out(is_bias)].tolist()
        [[8, 1], [7, 2]]
    """
    size, length = exchanged.shape
    rows = torch.arange(size, device=exchanged.device)[:, None].expand(-1, length)
    columns = torch.arange(length, device=exchanged.device).expand(size, -1)
    giving = exchanged.any(1).float()
    if not giving.any():
        return rows, columns
    giver = torch.multinomial(giving, size, replacement=True)
    place = torch.multinomial(exchanged[giver].float(), length, replacement=True)
    changes = exchanged & (torch.rand(size, 1, device=exchanged.device) < share)
    return torch.where(changes, giver[:, None], rows), torch.where(changes, place, columns)
