"""One vector of each modality: the subnets that TFN, LMF and LF-DNN share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Modality
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.batch_norm import BatchNorm
from mer_zoo.layers.recurrent import masked_rnn
from mer_zoo.layers.sequence import masked_mean

__all__ = ["MeanSubnet", "TextSubnet", "UtteranceSubnets"]


class MeanSubnet(nn.Module):
    """Mean over time, batch normalisation, dropout, then three linear maps with ReLU; for audio and vision.

    Args:
        input_dim: Width of the features.
        dim: Width of every map, and of the result.
        dropout: Dropout of the normalised mean.

    Example:
        >>> MeanSubnet(3, 4)(torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool)).shape
        torch.Size([2, 4])
    """

    def __init__(self, input_dim: int, dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = BatchNorm(input_dim)
        self.linear1 = nn.Linear(input_dim, dim)
        self.linear2 = nn.Linear(dim, dim)
        self.linear3 = nn.Linear(dim, dim)
        self.dropout = dropout

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, T, input_dim) under mask (B, T) to (B, dim)."""
        y = dropout(self.norm(masked_mean(x, mask)), self.dropout, self.training)
        y = F.relu(self.linear1(y))
        y = F.relu(self.linear2(y))
        return F.relu(self.linear3(y))


class TextSubnet(nn.Module):
    """A forward LSTM, and a linear map of its last state.

    Args:
        input_dim: Width of the features.
        hidden_dim: Width of the LSTM.
        output_dim: Width of the result.

    Example:
        >>> TextSubnet(3, 4, 5)(torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool)).shape
        torch.Size([2, 5])
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_dim, hidden_dim, batch_first=True)
        self.linear = nn.Linear(hidden_dim, output_dim)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Map x (B, T, input_dim) under mask (B, T) to (B, output_dim)."""
        result: Tensor = self.linear(masked_rnn(self.lstm, x, mask)[1])
        return result


class UtteranceSubnets(nn.ModuleDict):
    """The subnet of each modality in use.

    Args:
        input_dims: Width of each modality in use.
        hidden_dims: Widths of the subnets of text, audio and vision.
        text_out: Width of the vector of text; those of audio and vision are as wide as their subnets.
        dropout: Dropout in the subnets of audio and vision.
        mask_padding: Without it padding counts as steps, as in the released code.

    Attributes:
        output_dims: Width of each vector, in the order audio, vision, text, in which all three networks join them.

    Example:
        >>> from mer_zoo.batch import Batch, DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> batch = Batch.random(DataSpec(), SentimentRegression(), size=2)
        >>> subnets = UtteranceSubnets({"text": 6, "audio": 5, "vision": 4}, (8, 3, 7), text_out=2)
        >>> given = {name: batch.modality(name) for name in ("text", "audio", "vision")}
        >>> {name: h.shape[1] for name, h in subnets(given).items()}
        {'audio': 3, 'vision': 7, 'text': 2}
    """

    def __init__(
        self,
        input_dims: Mapping[str, int],
        hidden_dims: tuple[int, int, int],
        text_out: int,
        dropout: float = 0.0,
        mask_padding: bool = True,
    ) -> None:
        super().__init__()
        hidden = dict(zip(MODALITIES, hidden_dims, strict=True))
        self.mask_padding = mask_padding
        self.output_dims: dict[str, int] = {}
        for name in ("audio", "vision"):
            if name in input_dims:
                self[name] = MeanSubnet(input_dims[name], hidden[name], dropout)
                self.output_dims[name] = hidden[name]
        if "text" in input_dims:
            self["text"] = TextSubnet(input_dims["text"], hidden["text"], text_out)
            self.output_dims["text"] = text_out

    @override
    def forward(self, given: Mapping[str, Modality]) -> dict[str, Tensor]:
        """Vectors (B, output_dims[m]) of the modalities in use, which are given by name."""
        return {name: subnet(given[name].x, self._steps(given[name])) for name, subnet in self.items()}

    def _steps(self, modality: Modality) -> Tensor:
        return modality.mask if self.mask_padding else torch.ones_like(modality.mask)
