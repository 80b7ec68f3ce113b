"""Layers of CIDer: word-level self-aligned, multimodal composite (with its transformer) and naive attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.functional.composite import composite_attention, composite_blocks
from mer_zoo.functional.dropout import dropout
from mer_zoo.functional.variants import Variant
from mer_zoo.layers.attention import attend, split_heads, visibility
from mer_zoo.layers.dropouts import NO_DROPOUTS, Dropouts
from mer_zoo.layers.positions import PositionRule, interleaved_positions
from mer_zoo.layers.transformer import PreNormLayer

__all__ = ["MCA", "MCT", "WSAM", "MCTLayer", "NaiveAttention"]


class WSAM(nn.Module):
    """Word-level self-aligned attention: one head in which the words ask a long sequence for what belongs to them.

    Args:
        dim: Width d of the words, and of the long sequence once projected.

    References:
        Zhong et al., "Towards Robust Multimodal Emotion Recognition under Missing Modalities and Distribution Shifts",
        2025, Equation 4.

    Example:
        >>> text, audio = torch.randn(1, 3, 8), torch.randn(1, 7, 8)
        >>> words, frames = torch.tensor([[False, True, False]]), torch.ones(1, 7, dtype=torch.bool)
        >>> wsam = WSAM(8)
        >>> compressed = wsam(text, audio, words, frames)
        >>> compressed.shape, torch.equal(compressed[0, 0], wsam.out_proj.bias)
        (torch.Size([1, 3, 8]), True)
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    @override
    def forward(
        self, text: Tensor, source: Tensor, words: Tensor, frames: Tensor, projection: Tensor | None = None
    ) -> Tensor:
        """Compress a sequence to the steps of the text.

        Args:
            text: (B, T_l, d) projected text, the queries.
            source: (B, T_s, d) projected long sequence; with ``projection`` (B, T_s, d_s), as it is before.
            words: (B, T_l) bool, True at words. Elsewhere the attention is zero and the result the last bias.
            frames: (B, T_s) bool, True at real frames. Without any, no word gets an answer.
            projection: (d, d_s) map that the long sequence has yet to go through.

        Returns:
            (B, T_l, d).
        """
        dim = text.shape[-1]
        if projection is not None and source.shape[-1] > dim:
            source, projection = F.linear(source, projection), None
        w_q, w_k, w_v = self.in_proj_weight.chunk(3)
        b_q, _, b_v = self.in_proj_bias.chunk(3)
        if projection is not None:
            w_k, w_v = w_k @ projection, w_v @ projection
        # The few words go through the keys' and values' maps, not the many frames. The keys' bias adds the same to all
        # scores of a word, which a softmax does not see; the values' bias comes out whole, because weights sum to one.
        q = F.linear(text, w_q, b_q) @ w_k
        q = q * (source.shape[-1] / dim) ** 0.5  # attend divides by the root of the source's width
        seen = visibility(text, source, causal=False, key_mask=frames)
        mixed = attend(q[:, None], source[:, None], source[:, None], seen).squeeze(1)
        answered = words & frames.any(1, keepdim=True)
        mixed = torch.where(answered[..., None], F.linear(mixed, w_v, b_v), 0.0)
        compressed: Tensor = self.out_proj(mixed)
        return compressed


class MCA(nn.Module):
    """Multimodal composite attention: self-attention within every combination of modalities, mixed by linear maps.

    Args:
        dim: Width d.
        heads: Number of heads; divides the width.
        letters: One letter a modality, in the order of concatenation.
        attn_dropout: Dropout of the attention weights of the block of all modalities.

    Raises:
        MERError: If the number of heads does not divide the width.

    References:
        Zhong et al., 2025 (see :class:`WSAM`), Equations 7-12.

    Example:
        >>> mixed, scores = MCA(8, heads=2, letters="la")(torch.randn(1, 7, 8), {"l": 3, "a": 4}, return_scores=True)
        >>> mixed.shape, scores.shape
        (torch.Size([1, 7, 8]), torch.Size([2, 7, 7]))
    """

    def __init__(self, dim: int, heads: int, letters: str = "lav", attn_dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise MERError(f"{heads} heads do not divide a width of {dim}; choose a number of heads that divides it")
        self.heads, self.attn_dropout = heads, attn_dropout
        blocks = composite_blocks(letters)
        self.blocks = {letter: [block for block in blocks if letter in block] for letter in letters}
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.ModuleDict({block: nn.Linear(dim, dim) for block in blocks})
        self.merge = nn.ModuleDict({letter: nn.Linear(len(own) * dim, dim) for letter, own in self.blocks.items()})
        self.final = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)

    @override
    def forward(
        self, x: Tensor, lengths: Mapping[str, int], mask: Tensor | None = None, return_scores: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend within (B, T, d); see :func:`~mer_zoo.functional.composite.composite_attention` for the rest."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        q, k, v = (split_heads(part, self.heads) for part in qkv)
        p = self.attn_dropout if self.training else 0.0
        outputs, scores = composite_attention(q, k, v, lengths, p, mask, return_scores)
        mixed = []
        for letter, output in outputs.items():
            weight, bias = self._map(letter)
            # Channels stand before steps in memory: multiplied from the left, they need not be copied into another
            # order.
            channels = output.transpose(3, 4).flatten(1, 3)
            mixed.append(torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), channels).transpose(1, 2))
        return torch.cat(mixed, 1), scores

    def _map(self, letter: str) -> tuple[Tensor, Tensor]:
        """Weight (d, blocks * d) and bias (d,) of the three linear maps in a row that follow a modality's blocks.

        Nothing stands between the maps of the blocks, of the modality and of the whole, so that their product does the
        work of nine maps with that of four, and their outputs need not be kept for the gradient.
        """
        merge, dim = self.merge[letter], self.final.out_features
        assert isinstance(merge, nn.Linear)
        blocks = [self.out_proj.get_submodule(block) for block in self.blocks[letter]]
        weights, biases = (torch.stack([block.get_parameter(name) for block in blocks]) for name in ("weight", "bias"))
        outer = self.final.weight @ merge.weight
        weight = outer.view(dim, -1, dim).transpose(0, 1) @ weights
        bias = self.final.bias + self.final.weight @ merge.bias + outer @ biases.flatten()
        return weight.transpose(0, 1).flatten(1), bias


class MCTLayer(PreNormLayer):
    """One layer of the composite transformer: x' = MCA(LN0 x) + x, then x'' = W2 relu(W1 LN1 x') + x' (Eq. 13).

    As printed, the residuals are normalised too: x' = MCA(LN0 x) + LN0 x, then x'' = W2 relu(W1 LN1 x') + LN1 x'.

    Args:
        dim: Width; the feed-forward part is four times as wide.
        heads: Number of heads.
        letters: One letter a modality, in the order of concatenation.
        dropouts: Of the attention weights of the block of all modalities, the ReLU and the residual stream.
        variant: ``paper`` for what is printed.

    Example:
        >>> x, _ = MCTLayer(8, heads=2, letters="la")(torch.randn(1, 7, 8), {"l": 3, "a": 4})
        >>> x.shape
        torch.Size([1, 7, 8])
    """

    attention: MCA

    def __init__(
        self,
        dim: int,
        heads: int,
        letters: str = "lav",
        dropouts: Dropouts = NO_DROPOUTS,
        variant: Variant = "released",
    ) -> None:
        super().__init__(dim, MCA(dim, heads, letters, dropouts.attn), dropouts)
        self.variant: Variant = variant

    @override
    def forward(
        self, x: Tensor, lengths: Mapping[str, int], mask: Tensor | None = None, return_scores: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        normalised = self.norm0(x)
        mixed, scores = self.attention(normalised, lengths, mask, return_scores)
        if self.variant == "released":
            return self.feed_forward(x, mixed), scores
        normalised = self.norm1(self._residual(normalised, mixed))
        return self._residual(normalised, self._inner(normalised)), scores


class MCT(nn.Module):
    """Multimodal composite transformer: pre-norm layers with composite attention, a final LayerNorm.

    The released code, unlike the paper, adds positions before the first layer.

    Args:
        dim: Width.
        heads: Number of heads; divides the width.
        depth: Number of layers, at least one.
        letters: One letter a modality, in the order of concatenation.
        positions: See :func:`~mer_zoo.layers.positions.interleaved_positions`; None adds none.
        dropouts: Of the attention weights of the block of all modalities, the ReLU, the residual stream and the input
            with its positions.
        variant: See :class:`MCTLayer`.

    Raises:
        MERError: If the number of heads does not divide the width, or there is no layer.

    References:
        Zhong et al., 2025 (see :class:`WSAM`), Equations 6-13.

    Example:
        >>> y, scores = MCT(8, heads=2, depth=2, letters="la")(torch.randn(1, 7, 8), {"l": 3, "a": 4})
        >>> y.shape, scores.shape
        (torch.Size([1, 7, 8]), torch.Size([2, 7, 7]))
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        depth: int,
        letters: str = "lav",
        positions: PositionRule | None = "time",
        dropouts: Dropouts = NO_DROPOUTS,
        variant: Variant = "released",
    ) -> None:
        super().__init__()
        if depth < 1:
            raise MERError(f"depth is {depth}, but the composite transformer needs at least 1")
        self.positions, self.dropouts = positions, dropouts
        self.layers: Sequence[MCTLayer] = nn.ModuleList(  # type: ignore[assignment]
            MCTLayer(dim, heads, letters, dropouts, variant) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    @override
    def forward(self, x: Tensor, lengths: Mapping[str, int], mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode a concatenated sequence.

        Args:
            x: (B, T, d) sequences, concatenated over time.
            lengths: Letter of each modality to its number of steps.
            mask: (B, T) bool, True at real steps; None if padding is to take part.

        Returns:
            The encoded sequence (B, T, d) and the raw scores of the last layer (B * heads, T, T).
        """
        if self.positions is not None:
            x = x + interleaved_positions(x, mask, self.positions)
        x = dropout(x, self.dropouts.embed, self.training)
        for layer in self.layers[:-1]:
            x, _ = layer(x, lengths, mask)
        x, scores = self.layers[-1](x, lengths, mask, return_scores=True)
        return self.norm(x), scores


class NaiveAttention(nn.Module):
    """Pooling by a learned weight of each step: sum over t of softmax_t(w tanh(W h_t)) h_t.

    Args:
        dim: Width d.
        activation: Another function than tanh.

    References:
        Zhong et al., 2025 (see :class:`WSAM`), Equation 14.

    Example:
        >>> h, mask = torch.randn(2, 3, 8), torch.tensor([[True, True, False], [False] * 3])
        >>> pooled = NaiveAttention(8)(h, mask)
        >>> pooled.shape, pooled[1].any().item()
        (torch.Size([2, 8]), False)
    """

    def __init__(self, dim: int, activation: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.activation = activation
        self.hidden, self.score = nn.Linear(dim, dim), nn.Linear(dim, 1)

    @override
    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (B, T, d) over the real steps of a (B, T) mask, over all without one, into (B, d)."""
        scores = self.score(self.activation(self.hidden(h))).squeeze(2)
        if mask is None:
            weights = F.softmax(scores, 1)
        else:
            weights = F.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), 1) * mask
        return (weights.to(h.dtype)[:, None] @ h).squeeze(1)
