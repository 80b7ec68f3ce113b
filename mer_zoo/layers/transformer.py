"""The pre-norm transformer encoder of MulT, for self and cross-modal attention; several networks are built from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout, relu_dropout
from mer_zoo.layers.attention import Visibility, attend, merge_heads, split_heads, visibility
from mer_zoo.layers.dropouts import NO_DROPOUTS, Dropouts

__all__ = ["FeedForward", "MultiheadAttention", "PreNormLayer", "TransformerEncoder", "TransformerLayer"]


class MultiheadAttention(nn.Module):
    """Multi-head attention with one packed projection of queries, keys and values.

    Args:
        dim: Width.
        heads: Number of heads; divides the width.
        attn_dropout: Dropout of the attention weights.

    Raises:
        MERError: If the number of heads does not divide the width.

    Example:
        >>> attention = MultiheadAttention(8, 2)
        >>> attention(torch.randn(1, 3, 8), visible=Visibility()).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, dim: int, heads: int, attn_dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise MERError(f"{heads} heads do not divide a width of {dim}; choose a number of heads that divides it")
        self.heads, self.attn_dropout = heads, attn_dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    @override
    def forward(self, x: Tensor, keys_values: tuple[Tensor, Tensor] | None = None, *, visible: Visibility) -> Tensor:
        """Attend from (B, Tq, d) to itself or to projected keys and values, each (B, Tk, d)."""
        dim = x.shape[-1]
        if keys_values is None:
            q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        else:
            q = F.linear(x, self.in_proj_weight[:dim], self.in_proj_bias[:dim])
            k, v = keys_values
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        mixed = attend(q, k, v, visible, self.attn_dropout if self.training else 0.0)
        return F.linear(merge_heads(mixed), self.out_proj.weight, self.out_proj.bias)

    def project_source(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of (B, Tk, d), each of that shape."""
        dim = source.shape[-1]
        k, v = F.linear(source, self.in_proj_weight[dim:], self.in_proj_bias[dim:]).chunk(2, -1)
        return k, v


class FeedForward(nn.Module):
    """The position-wise part of a pre-norm layer: x + W2 relu(W1 LN1 x).

    Args:
        dim: Width; inside it is four times as wide.
        dropouts: Of the ReLU and the residual stream.

    Example:
        >>> FeedForward(8).position_wise(torch.randn(1, 3, 8)).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, dim: int, dropouts: Dropouts = NO_DROPOUTS) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.dropouts = dropouts
        for linear in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def position_wise(self, x: Tensor) -> Tensor:
        """Transform each step of (B, T, d) by itself."""
        return self._residual(x, self._inner(self.norm1(x)))

    def _inner(self, normalised: Tensor) -> Tensor:
        inner = relu_dropout(self.fc1(normalised), self.dropouts.relu, self.training)
        mapped: Tensor = self.fc2(inner)
        return mapped

    def _residual(self, x: Tensor, update: Tensor) -> Tensor:
        update = dropout(update, self.dropouts.res, self.training)
        # In place, because nothing needs the bare update any more; the sum has x's type under autocast.
        return update.add_(x) if update.dtype == x.dtype else x + update


class PreNormLayer(FeedForward):
    """What every pre-norm layer has besides its attention: the norms, the feed-forward part and the residual stream.

    Args:
        dim: Width; the feed-forward part is four times as wide.
        attention: What mixes the steps; subclasses call it on ``norm0(x)``.
        dropouts: Of the ReLU and the residual stream.
    """

    def __init__(self, dim: int, attention: nn.Module, dropouts: Dropouts = NO_DROPOUTS) -> None:
        super().__init__(dim, dropouts)
        self.attention = attention
        self.norm0 = nn.LayerNorm(dim)

    def feed_forward(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add what the attention gave for (B, T, d), then the feed-forward part of the sum."""
        return self.position_wise(self._residual(x, mixed))


class TransformerLayer(PreNormLayer):
    """One pre-norm layer: x + MHA(LN0 x, LN0 s, LN0 s), then x + W2 relu(W1 LN1 x); s is x itself or a source sequence.

    Args:
        dim: Width; the feed-forward part is four times as wide.
        heads: Number of heads.
        dropouts: Of the attention weights, the ReLU and the residual stream.

    Example:
        >>> layer = TransformerLayer(8, 2)
        >>> layer(torch.randn(1, 3, 8), Visibility()).shape
        torch.Size([1, 3, 8])
    """

    attention: MultiheadAttention

    def __init__(self, dim: int, heads: int, dropouts: Dropouts = NO_DROPOUTS) -> None:
        super().__init__(dim, MultiheadAttention(dim, heads, dropouts.attn), dropouts)

    @override
    def forward(self, x: Tensor, visible: Visibility, keys_values: tuple[Tensor, Tensor] | None = None) -> Tensor:
        return self.feed_forward(x, self.attention(self.norm0(x), keys_values, visible=visible))

    def at(self, x: Tensor, visible: Visibility, step: Tensor) -> Tensor:
        """What ``forward`` gives at one step (B,) of each sample, (B, 1, d), without computing the others."""
        normalised, samples = self.norm0(x), torch.arange(len(x), device=x.device)
        keys_values = self.attention.project_source(normalised)
        query = normalised[samples, step][:, None]
        mixed = self.attention(query, keys_values, visible=visible.at(step, normalised))
        return self.feed_forward(x[samples, step][:, None], mixed)


class TransformerEncoder(nn.Module):
    """A stack of pre-norm layers and a final LayerNorm, over one sequence or from one sequence to a fixed source.

    Input and source come embedded, see :func:`mer_zoo.layers.positions.embed_positions`, so that a sequence which
    several encoders read is embedded once. The source is not updated from layer to layer.

    Args:
        dim: Width.
        heads: Number of heads; divides the width.
        depth: Number of layers.
        dropouts: Of all four places.
        causal: Whether query i sees only the keys j <= i + |Tk - Tq|.

    Raises:
        MERError: If the number of heads does not divide the width.

    References:
        Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019, Section 3.2.

    Example:
        >>> encoder = TransformerEncoder(8, heads=2, depth=2)
        >>> text, audio = torch.randn(1, 3, 8), torch.randn(1, 7, 8)
        >>> encoder(text).shape, encoder(text, audio).shape
        (torch.Size([1, 3, 8]), torch.Size([1, 3, 8]))
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        depth: int,
        dropouts: Dropouts = NO_DROPOUTS,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.causal, self.dropouts = causal, dropouts
        self.layers: Sequence[TransformerLayer] = nn.ModuleList(  # type: ignore[assignment]
            TransformerLayer(dim, heads, dropouts) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    @override
    def forward(
        self,
        x: Tensor,
        source: Tensor | None = None,
        mask: Tensor | None = None,
        source_mask: Tensor | None = None,
    ) -> Tensor:
        """Encode an embedded sequence.

        Args:
            x: (B, Tq, d) embedded input.
            source: (B, Tk, d) embedded source of keys and values; None for self-attention.
            mask: (B, Tq) bool, real steps of the input; None if all are, or if padding is to be seen.
            source_mask: (B, Tk) bool, real steps of the source, likewise.

        Returns:
            (B, Tq, d).
        """
        if source is None:
            visible = visibility(x, x, self.causal, mask, mask)
        else:
            visible = visibility(x, source, self.causal, mask, source_mask)
        x = self._embed_drop(x)
        keys_values = repeat(None) if source is None else self._project_source(self._embed_drop(source))
        for layer, pair in zip(self.layers, keys_values, strict=False):
            x = layer(x, visible, pair)
        encoded: Tensor = self.norm(x)
        return encoded

    def read(self, x: Tensor, step: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode an embedded sequence, and one step of it by itself.

        A loss on that step alone then runs the last layer backwards for one query instead of all.

        Args:
            x: (B, T, d) embedded input.
            step: (B,) the step to read of each sample.
            mask: (B, T) bool, real steps; None if all are, or if padding is to be seen.

        Returns:
            The encoded sequence (B, T, d), and (B, d), equal to its steps ``step`` but for dropout.
        """
        x, visible, last = self._below_last(x, mask)
        return self.norm(last(x, visible)), self.norm(last.at(x, visible, step)).squeeze(1)

    def at(self, x: Tensor, step: Tensor, mask: Tensor | None = None) -> Tensor:
        """The second result of :meth:`read` alone, (B, d), without computing the other steps of the last layer."""
        x, visible, last = self._below_last(x, mask)
        encoded: Tensor = self.norm(last.at(x, visible, step)).squeeze(1)
        return encoded

    def _below_last(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Visibility, TransformerLayer]:
        """What the last layer reads, who sees whom in it, and the layer."""
        visible = visibility(x, x, self.causal, mask, mask)
        x = self._embed_drop(x)
        for layer in self.layers[:-1]:
            x = layer(x, visible)
        return x, visible, self.layers[-1]

    def _project_source(self, source: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
        """Keys and values (B, Tk, d) of every layer, in one product.

        Gain and shift of each layer's LN0 are folded into its projection: the source is the same in every layer, so
        that it is normalised, and kept for the gradient, only once.
        """
        dim = source.shape[-1]
        gain = torch.stack([layer.norm0.weight for layer in self.layers])[:, None]
        shift = torch.stack([layer.norm0.bias for layer in self.layers])[..., None]
        weight = torch.stack([layer.attention.in_proj_weight[dim:] for layer in self.layers])
        bias = torch.stack([layer.attention.in_proj_bias[dim:] for layer in self.layers])[..., None]
        bias = torch.baddbmm(bias, weight, shift).flatten()
        packed = F.linear(F.layer_norm(source, (dim,)), (weight * gain).flatten(0, 1), bias)
        parts = packed.chunk(2 * len(self.layers), -1)
        return zip(parts[::2], parts[1::2], strict=True)

    def _embed_drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropouts.embed, self.training)
