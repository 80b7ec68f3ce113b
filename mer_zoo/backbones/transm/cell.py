"""The modality fusion cell: a transformer translates the text into another modality, a second one translates back."""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.attention import Visibility, attend, merge_heads, split_heads, visibility
from mer_zoo.layers.positions import interleaved_positions

__all__ = ["Attention", "FusionCell", "Layer", "Places", "Sizes", "Translation"]


class Sizes(NamedTuple):
    """Of the transformers of a cell.

    Args:
        dim: Width d.
        heads: Heads of the attention; divides d.
        ffn_dim: Width of the feed-forward part.
        encoder_depth: Layers of each encoder.
        decoder_depth: Layers of each decoder.
        dropout: Dropout of what each part of a layer adds.
        rectified: Whether a ReLU stands behind the maps of the attention.
    """

    dim: int
    heads: int
    ffn_dim: int
    encoder_depth: int
    decoder_depth: int
    dropout: float
    rectified: bool


class Places(NamedTuple):
    """Where steps stand, the same for all sequences of a batch.

    Args:
        positions: (B, T, d), what is added to a sequence.
        visible: Who sees whom.
    """

    positions: Tensor
    visible: Visibility

    @classmethod
    def of(cls, x: Tensor, words: Tensor) -> Places:
        """Of sequences like x (B, T, d) under a mask (B, T) of real steps."""
        return cls(interleaved_positions(x, words), visibility(x, x, causal=False, key_mask=words))


class Attention(nn.Module):
    """Multi-head attention, which may have a ReLU behind the maps of queries, keys, values and of the result.

    Args:
        dim: Width d.
        heads: Number of heads; divides the width.
        rectified: Whether the ReLUs are there.

    Raises:
        MERError: If the number of heads does not divide the width.

    Example:
        >>> import torch
        >>> Attention(8, 2)(torch.randn(1, 3, 8), torch.randn(1, 5, 8), Visibility()).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, dim: int, heads: int, rectified: bool = False) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise MERError(f"{heads} heads do not divide a width of {dim}; choose a number of heads that divides it")
        like = nn.MultiheadAttention(dim, heads)
        self.in_proj_weight, self.in_proj_bias, self.out_proj = like.in_proj_weight, like.in_proj_bias, like.out_proj
        self.heads, self.rectified = heads, rectified

    @override
    def forward(self, x: Tensor, source: Tensor, visible: Visibility) -> Tensor:
        """Attend from (B, Tq, d) to (B, Tk, d)."""
        if x is source:
            q, k, v = self._map(x, slice(None)).chunk(3, -1)
        else:
            width = x.shape[2]
            q = self._map(x, slice(width))
            k, v = self._map(source, slice(width, None)).chunk(2, -1)
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        found: Tensor = self.out_proj(merge_heads(attend(q, k, v, visible)))
        return found.relu() if self.rectified else found

    def _map(self, x: Tensor, rows: slice) -> Tensor:
        mapped = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        return mapped.relu() if self.rectified else mapped


class Layer(nn.Module):
    """A post-norm layer: self-attention, in a decoder attention to a memory, and a feed-forward part.

    Args:
        sizes: Of the transformers.
        decodes: Whether it attends to a memory.

    Example:
        >>> import torch
        >>> layer, x = Layer(Sizes(8, 2, 16, 1, 1, 0.0, False), decodes=True), torch.randn(1, 3, 8)
        >>> layer(x, Visibility(), torch.randn(1, 3, 8)).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, sizes: Sizes, decodes: bool = False) -> None:
        super().__init__()
        dim, self.dropout = sizes.dim, sizes.dropout
        self.self_attn, self.norm1 = Attention(dim, sizes.heads, sizes.rectified), nn.LayerNorm(dim)
        self.multihead_attn = Attention(dim, sizes.heads, sizes.rectified) if decodes else None
        self.linear1, self.linear2 = nn.Linear(dim, sizes.ffn_dim), nn.Linear(sizes.ffn_dim, dim)
        self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim) if decodes else None

    @override
    def forward(self, x: Tensor, visible: Visibility, memory: Tensor | None = None) -> Tensor:
        """Transform (B, T, d), in a decoder beside a memory of the same steps."""
        x = self.norm1(x + self._drop(self.self_attn(x, x, visible)))
        last = self.norm2
        if self.multihead_attn is not None and self.norm3 is not None and memory is not None:
            x, last = self.norm2(x + self._drop(self.multihead_attn(x, memory, visible))), self.norm3
        mapped: Tensor = last(x + self._drop(self.linear2(F.relu(self.linear1(x), inplace=True))))
        return mapped

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


class Translation(nn.Module):
    """A transformer whose decoder reads the sequence that is translated into, and may look at all of it.

    Args:
        sizes: Of the transformer.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(Layer(sizes) for _ in range(sizes.encoder_depth))
        self.decoder = nn.ModuleList(Layer(sizes, decodes=True) for _ in range(sizes.decoder_depth))

    def encode(self, x: Tensor, places: Places) -> Tensor:
        """Encode (B, T, d), to which positions are added."""
        x = x + places.positions
        for layer in self.encoder:
            x = layer(x, places.visible)
        return x

    def decode(self, query: Tensor, memory: Tensor, places: Places) -> Tensor:
        """Decode beside a query (B, T, d), to which positions are added, and a memory (B, T, d)."""
        x = query + places.positions
        for layer in self.decoder:
            x = layer(x, places.visible, memory)
        return x


class FusionCell(nn.Module):
    """Text to another modality and back; what both encoders say is what it offers.

    Args:
        sizes: Of the transformers.
        other_dim: Width of the features of the other modality.
        text_dim: Width of those of the text.
        translates: Whether translations are made, for the losses; else the way back ends with its encoder.

    Example:
        >>> import torch
        >>> cell = FusionCell(Sizes(8, 2, 16, 1, 1, 0.0, False), 5, 6)
        >>> text = torch.randn(1, 3, 8)
        >>> places = Places.of(text, torch.ones(1, 3, dtype=torch.bool))
        >>> first, decoded, second = cell(text, torch.randn(1, 3, 8), places)
        >>> [part.shape[2] for part in cell.translations(text, decoded, second, places)]
        [5, 6]
    """

    def __init__(self, sizes: Sizes, other_dim: int, text_dim: int, translates: bool = True) -> None:
        super().__init__()
        self.there = Translation(sizes)
        self.back = Translation(sizes if translates else sizes._replace(decoder_depth=0))
        self.to_other = nn.Linear(sizes.dim, other_dim) if translates else None
        self.to_text = nn.Linear(sizes.dim, text_dim) if translates else None

    @override
    def forward(self, text: Tensor, query: Tensor, places: Places) -> tuple[Tensor, Tensor, Tensor]:
        """E1, D1 and E2, (B, T, d) each, of the text and the query (B, T, d)."""
        first = self.there.encode(text, places)
        decoded = self.there.decode(query, first, places)
        return first, decoded, self.back.encode(decoded, places)

    def translations(self, text: Tensor, decoded: Tensor, second: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """The other modality (B, T, D_m) and the text (B, T, D_l) as translated."""
        assert self.to_other is not None
        assert self.to_text is not None
        return self.to_other(decoded), self.to_text(self.back.decode(text, second, places))
