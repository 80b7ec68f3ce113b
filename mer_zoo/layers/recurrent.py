"""Recurrent networks over padded sequences: padding, in front or behind, never touches the state."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mer_zoo.errors import MERError
from mer_zoo.layers.sequence import left_align, masked_last, undo_left_align

__all__ = ["masked_rnn"]


def masked_rnn(rnn: nn.GRU | nn.LSTM, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Run a GRU or LSTM over the real steps of each sample.

    Args:
        rnn: A network with ``batch_first=True``, any number of layers, one direction or two.
        x: (B, T, d) sequences.
        mask: (B, T) bool, True at real steps; padding may stand anywhere, and a sample may have no real step.

    Returns:
        The states of the last layer (B, T, D) at the places of their steps, zero at padding; and the final state (B, D):
        after the last real step, for the backward direction after the first. Both are zero for a sample without steps.

    Raises:
        MERError: If the network is not batch-first.

    Example:
        >>> rnn = nn.GRU(3, 4, batch_first=True)
        >>> x, mask = torch.randn(2, 5, 3), torch.tensor([[False, False, True, True, True], [False] * 5])
        >>> states, final = masked_rnn(rnn, x, mask)
        >>> states.shape, torch.equal(final[0], states[0, -1]), final[1].tolist()
        (torch.Size([2, 5, 4]), True, [0.0, 0.0, 0.0, 0.0])
    """
    if not rnn.batch_first:
        raise MERError(f"{type(rnn).__name__} expects time first; build it with batch_first=True")
    aligned, real, order = left_align(x, mask)
    # Behind the real steps a forward network may run on: nothing of it reaches them, and packing is 2-6 times slower.
    states = _packed(rnn, aligned, real) if rnn.bidirectional else rnn(aligned)[0]
    states = torch.where(real[..., None], states, 0.0)
    final = masked_last(states, real)
    if rnn.bidirectional:
        half = states.shape[-1] // 2
        final = torch.cat([final[:, :half], states[:, 0, half:]], 1)
    return undo_left_align(states, order), final


def _packed(rnn: nn.GRU | nn.LSTM, x: Tensor, real: Tensor) -> Tensor:
    lengths = real.sum(1).clamp(min=1).cpu()
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    states: Tensor = pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=x.shape[1])[0]
    return states
