"""The two recurrences of the Memory Fusion Network, free of everything that can be computed for all steps at once.

References:
    Zadeh, Liang, Mazumder, Poria, Cambria, Morency, "Memory Fusion Network for Multi-view Sequential Learning", AAAI
    2018, arXiv:1802.00927.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mer_zoo.functional.dropout import dropout

__all__ = ["gated_memory", "lstm_states"]


def lstm_states(inputs: Sequence[Tensor], recurrent: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """States and cells of several LSTMs over the same steps; ``nn.LSTM`` would keep the cells to itself.

    With z_t = inputs_t + W h_(t-1) in the order i, f, g, o of PyTorch:
    c_t = sigmoid(f) c_(t-1) + sigmoid(i) tanh(g);  h_t = sigmoid(o) tanh(c_t).

    Args:
        inputs: (B, T, 4 h_m) for each LSTM, its input times its weights with both biases added.
        recurrent: (4 h_m, h_m) for each LSTM, W.

    Returns:
        h and c of all steps, (B, T, sum of h_m) each, the LSTMs side by side.

    Example:
        >>> h, c = lstm_states([torch.zeros(2, 5, 12), torch.zeros(2, 5, 4)], [torch.zeros(12, 3), torch.zeros(4, 1)])
        >>> h.shape, c.abs().sum().item()
        (torch.Size([2, 5, 4]), 0.0)
    """
    widths = [weight.shape[1] for weight in recurrent]
    columns = zip(*(z.transpose(0, 1).contiguous().unbind() for z in inputs), strict=True)
    # The type of the weights: under autocast the cells are summed up in float32.
    h = c = recurrent[0].new_zeros(len(inputs[0]), sum(widths))
    states, cells = [], []
    for z in columns:
        mapped = [
            torch.addmm(part, own, weight.t()).view(len(h), 4, -1)
            for part, own, weight in zip(z, torch.split(h, widths, 1), recurrent, strict=True)
        ]
        gates = torch.cat(mapped, 2).to(c.dtype)
        i, f, _, o = gates.sigmoid().unbind(1)
        c = f * c + i * gates[:, 2].tanh()
        h = o * c.tanh()
        states.append(h)
        cells.append(c)
    return torch.stack(states, 1), torch.stack(cells, 1)


def gated_memory(
    candidate: Tensor,
    inputs: tuple[Tensor, Tensor],
    recurrent: tuple[Tensor, Tensor],
    outputs: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
    dropouts: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """The multi-view gated memory u after every step.

    For both gates g: gamma_g = sigmoid(A_g dropout(relu(inputs_g + W_g u_(t-1))) + b_g);
    u_t = gamma_1 u_(t-1) + gamma_2 candidate_t.

    Args:
        candidate: (B, T, d).
        inputs: (B, T, s_g) for each gate, what attention found times its weights, with the bias.
        recurrent: (s_g, d) for each gate, W_g.
        outputs: (d, s_g) and (d,) for each gate, A_g and b_g.
        dropouts: Probabilities of the two dropouts; pass 0 in evaluation.

    Returns:
        (B, T, d).

    Example:
        >>> zero = torch.zeros(3, 2)
        >>> inputs, recurrent, outputs = (torch.zeros(1, 4, 2),) * 2, (zero.t(),) * 2, ((zero, zero[:, 0]),) * 2
        >>> gated_memory(torch.ones(1, 4, 3), inputs, recurrent, outputs)[0, :, 0].tolist()  # both gates half open
        [0.5, 0.75, 0.875, 0.9375]
    """
    sizes = [weight.shape[0] for weight in recurrent]
    weight = torch.cat(recurrent).t()
    before = torch.cat(inputs, 2).transpose(0, 1).contiguous().unbind()
    (a1, b1), (a2, b2) = outputs
    u = weight.new_zeros(len(candidate), candidate.shape[2])
    memory = []
    for z, new in zip(before, candidate.unbind(1), strict=True):
        inner1, inner2 = torch.split(torch.addmm(z, u, weight).relu(), sizes, 1)
        gamma1 = torch.addmm(b1, dropout(inner1, dropouts[0]), a1.t()).sigmoid()
        gamma2 = torch.addmm(b2, dropout(inner2, dropouts[1]), a2.t()).sigmoid()
        u = gamma1 * u + gamma2 * new
        memory.append(u)
    return torch.stack(memory, 1)
