"""Recurrent multistage fusion: LSTMs that read what was fused at the step before, and the stages that fuse them.

References:
    Liang, Liu, Zadeh, Morency, "Multimodal Language Analysis with Recurrent Multistage Fusion", EMNLP 2018,
    arXiv:1808.03920.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Cell", "Stages", "fuse_stages", "lstm_step", "multistage_states"]


class Cell(NamedTuple):
    """Weights of an LSTM, gates in the order i, f, g, o of PyTorch.

    Args:
        weight: (4 h, d), of the input.
        recurrent: (4 h, h).
        bias: (4 h,), both of PyTorch's added.
    """

    weight: Tensor
    recurrent: Tensor
    bias: Tensor


class Stages(NamedTuple):
    """What the stages are made of, shared by all of them.

    Args:
        highlight: The LSTM over the stages that chooses what to look at.
        attention: Maps its state (B, H) to a weight for each coordinate of h_t, (B, h).
        fuse: The LSTM over the stages that reads what was chosen.
        number: Number K of stages.
    """

    highlight: Cell
    attention: Callable[[Tensor], Tensor]
    fuse: Cell
    number: int


def lstm_step(gates: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor]:
    """State and cell after a step of an LSTM.

    Args:
        gates: (B, 4, h), what goes into the gates i, f, g, o.
        c: (B, h) the cell before; None for zeros.

    Returns:
        h and c, (B, h) each.

    Example:
        >>> h, c = lstm_step(torch.zeros(1, 4, 2), torch.ones(1, 2))
        >>> c.tolist()
        [[0.5, 0.5]]
    """
    # Under autocast the cells are summed up in float32.
    gates = gates if c is None else gates.to(c.dtype)
    i, f, _, o = gates.sigmoid().unbind(1)
    new = i * gates[:, 2].tanh()
    c = new if c is None else f * c + new
    return o * c.tanh(), c


def fuse_stages(h: Tensor, stages: Stages) -> Tensor:
    """Highlight, then fuse, K times over; both LSTMs start from zero.

    q[k] = LSTM_H(h, q[k-1]);  a[k] = attention(q[k]);  h~[k] = a[k] * h;  s[k] = LSTM_F(h~[k], s[k-1]).

    Args:
        h: (B, h) states of all modalities side by side.
        stages: The two LSTMs and the attention.

    Returns:
        s[1] ... s[K] side by side, (B, K F).

    Example:
        >>> cell = Cell(torch.ones(8, 3), torch.ones(8, 2), torch.zeros(8))
        >>> fuse_stages(torch.ones(1, 3), Stages(cell, lambda q: q.new_ones(1, 3), cell, 4)).shape
        torch.Size([1, 8])
    """
    highlight, fuse = stages.highlight, stages.fuse
    seen = torch.addmm(highlight.bias, h, highlight.weight.t())  # the same at every stage
    q = c = s = memory = None
    fused = []
    for _ in range(stages.number):
        q, c = _recur(seen, highlight, q, c)
        chosen = stages.attention(q) * h
        s, memory = _recur(torch.addmm(fuse.bias, chosen.to(fuse.bias.dtype), fuse.weight.t()), fuse, s, memory)
        fused.append(s)
    return torch.cat(fused, 1)


def _recur(given: Tensor, cell: Cell, h: Tensor | None, c: Tensor | None) -> tuple[Tensor, Tensor]:
    gates = given if h is None else torch.addmm(given, h, cell.recurrent.t())
    return lstm_step(gates.view(len(gates), 4, -1), c)


def multistage_states(
    inputs: Sequence[Tensor],
    recurrent: Sequence[Tensor],
    cross: Sequence[Tensor],
    stages: Stages,
    summarise: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """States of the LSTMs of all modalities, which read the fused vector of the step before, and the fused vectors.

    The gates of modality m read inputs_m[t] + U_m h_m[t-1] + V_m z[t-1];  z[t] = summarise(stages(h[t])).

    Args:
        inputs: (B, T, 4 h_m) for each modality, its input times its weights with the biases added.
        recurrent: (4 h_m, h_m) for each modality, U_m.
        cross: (4 h_m, d) for each modality, V_m.
        stages: What fuses the states of a step.
        summarise: (B, K F) of all stages to z (B, d).

    Returns:
        h (B, T, sum of h_m), the modalities side by side, and z (B, T, d).

    Example:
        >>> cell = Cell(torch.ones(8, 3), torch.ones(8, 2), torch.zeros(8))
        >>> stages = Stages(cell, lambda q: q.new_ones(1, 3), cell, 2)
        >>> h, z = multistage_states(
        ...     [torch.zeros(1, 5, 12)], [torch.zeros(12, 3)], [torch.zeros(12, 4)], stages, lambda s: s)
        >>> h.shape, z.shape
        (torch.Size([1, 5, 3]), torch.Size([1, 5, 4]))
    """
    widths = [weight.shape[1] for weight in recurrent]
    sizes = [4 * width for width in widths]
    v = torch.cat(list(cross)).t()
    h = c = recurrent[0].new_zeros(len(inputs[0]), sum(widths))
    z = h.new_zeros(len(h), v.shape[0])
    states, fused = [], []
    for given in torch.cat(list(inputs), 2).transpose(0, 1).contiguous().unbind():
        parts = torch.split(torch.addmm(given, z, v), sizes, 1)
        mapped = [
            torch.addmm(part, own, weight.t()).view(len(h), 4, -1)
            for part, own, weight in zip(parts, torch.split(h, widths, 1), recurrent, strict=True)
        ]
        h, c = lstm_step(torch.cat(mapped, 2), c)
        z = summarise(fuse_stages(h, stages))
        states.append(h)
        fused.append(z)
    return torch.stack(states, 1), torch.stack(fused, 1)
