"""GEAR's parts: branches that find out what a modality alone gives away, and a joint representation's split in two."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.distributed import gather_rows
from mer_zoo.layers.recurrent import LSTMEncoder
from mer_zoo.layers.sequence import masked_first

__all__ = ["BiasBranch", "ContentBias", "Reading", "swap_halves"]

Reading = Literal["lstm", "first"]


class BiasBranch(nn.Module):
    """One modality's vector through two linear layers with ReLU and a linear one.

    Args:
        input_dim: Width of the features.
        outputs: Number of logits.
        reading: The modality's vector: the last state of an ``lstm``, or the ``first`` real step, for a text encoder
            with a token that stands for the sentence.
        lstm_dim: Width of the LSTM.
        dim: Width of the linear layers.

    Example:
        >>> mask = torch.tensor([[True, True, False], [False] * 3])
        >>> x = torch.randn(2, 3, 5)
        >>> BiasBranch(5, 2)(x, mask).shape, BiasBranch(5, 2, "first")(x, mask).shape
        (torch.Size([2, 2]), torch.Size([2, 2]))
    """

    def __init__(
        self, input_dim: int, outputs: int, reading: Reading = "lstm", lstm_dim: int = 32, dim: int = 32
    ) -> None:
        super().__init__()
        self.encoder = LSTMEncoder(input_dim, lstm_dim, dim) if reading == "lstm" else None
        self.hidden = nn.Linear(dim if reading == "lstm" else input_dim, dim)
        self.feature = nn.Linear(dim, dim)
        self.head = nn.Linear(dim, outputs)

    def features(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, input_dim) steps under a mask (B, T) to (B, dim), the input of the last layer."""
        vector = masked_first(x, mask) if self.encoder is None else self.encoder(x, mask)[1]
        return F.relu(self.feature(F.relu(self.hidden(vector))))

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map (B, T, input_dim) steps under a mask (B, T) to logits (B, outputs)."""
        logits: Tensor = self.head(self.features(x, mask))
        return logits


class ContentBias(nn.Module):
    """Splits a joint representation into content and bias; the classifier of each sees both and trains its own half.

    Args:
        input_dim: Width of the joint representation.
        outputs: Number of logits.
        dim: Width of content and of bias.
        out_dropout: Dropout of the joint representation.

    Example:
        >>> split = ContentBias(6, 3, dim=4)
        >>> u_c, u_b = split(torch.randn(2, 6))
        >>> u_c.shape, split.content(u_c, u_b).shape, split.bias(u_c, u_b).shape
        (torch.Size([2, 4]), torch.Size([2, 3]), torch.Size([2, 3]))
    """

    def __init__(self, input_dim: int, outputs: int, dim: int = 128, out_dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(out_dropout)
        self.content_encoder, self.bias_encoder = nn.Linear(input_dim, dim), nn.Linear(input_dim, dim)
        self.content_head, self.bias_head = _classifier(dim, outputs), _classifier(dim, outputs)

    @override
    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Split (B, input_dim) into u_c and u_b, each (B, dim)."""
        u_c = F.relu(self.content_encoder(self.dropout(features)))
        u_b = F.relu(self.bias_encoder(self.dropout(features)))
        return u_c, u_b

    def content(self, u_c: Tensor, u_b: Tensor) -> Tensor:
        """Logits (B, outputs) of the content, which do not train the bias."""
        logits: Tensor = self.content_head(torch.cat([u_c, u_b.detach()], 1))
        return logits

    def bias(self, u_c: Tensor, u_b: Tensor) -> Tensor:
        """Logits (B, outputs) of the bias, which do not train the content."""
        logits: Tensor = self.bias_head(torch.cat([u_c.detach(), u_b], 1))
        return logits


def _classifier(dim: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, outputs))


def swap_halves(u_c: Tensor, u_b: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """The content that meets each sample's bias, and the bias that meets each sample's content, without gradient.

    That each bias takes its own label along is the same sum as that each content takes another's bias and its label,
    and only the sample's own half needs a gradient, so that samples of other processes may be met.

    Args:
        u_c: (B, d) content of this process' samples.
        u_b: (B, d) their bias.
        order: (N,) whose bias each of the N samples of all processes gets.

    Returns:
        Content and bias, each (B, d).

    Example:
        >>> u_c, u_b = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[10.0], [20.0], [30.0]])
        >>> [half.flatten().tolist() for half in swap_halves(u_c, u_b, torch.tensor([1, 2, 0]))]
        [[3.0, 1.0, 2.0], [20.0, 30.0, 10.0]]
    """
    all_c, all_b = gather_rows(u_c), gather_rows(u_b)
    if len(order) == len(u_c):
        return all_c[order.argsort()], all_b[order]
    rank = torch.distributed.get_rank()
    mine = gather_rows(torch.full((len(u_c),), rank, device=u_c.device)) == rank
    return all_c[order.argsort()[mine]], all_b[order[mine]]
