"""The efficient multimodal transformer: a few global tokens and the steps of each modality promote one another.

Because the tokens are few, the maps of queries, keys and values of both cross attentions are applied on their side: the
many steps are normalised once, and neither projected for them nor kept in projected form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.emtdlfr.packing import Packing
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.attention import Visibility, attend, merge_heads, split_heads
from mer_zoo.layers.composite import NaiveAttention
from mer_zoo.options import check_choice

__all__ = ["EMT", "PromotionUnit", "normalise"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "relu": F.relu}


def normalise(x: Tensor) -> Tensor:
    """Subtract the mean of the last axis and divide by its deviation, without gain and shift.

    Example:
        >>> normalise(torch.tensor([1.0, 3.0])).round().tolist()
        [-1.0, 1.0]
    """
    return F.layer_norm(x, x.shape[-1:])


class _Attention(nn.Module):
    """The maps of a multi-head attention; only the last has a bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key_value = nn.Linear(dim, dim, bias=False), nn.Linear(dim, 2 * dim, bias=False)
        self.out = nn.Linear(dim, dim)


class PromotionUnit(nn.Module):
    """x + CA(LN x, LN c), then x + SA(LN x), then x + FF(LN x): x is promoted by a context c.

    FF(x) = W2 (a * gelu(b)) + b2 with [a, b] = W1 x + b1.

    Args:
        dim: Width d.
        heads: Heads of both attentions; divides d.
        expansion: Width of a and b, in multiples of d.
        attn_dropout: Dropout of the attention weights.
        res_dropout: Dropout of what the feed-forward part adds.

    Raises:
        MERError: If the number of heads does not divide the width.

    References:
        Sun et al., "Efficient Multimodal Transformer with Dual-Level Feature Restoration for Robust Multimodal
        Sentiment Analysis", IEEE Transactions on Affective Computing, 2023, the mutual promotion unit; the gated form
        of FF is the released code's.

    Example:
        >>> unit, packing = PromotionUnit(8, heads=2), Packing(torch.tensor([[True, True, False]]))
        >>> x, tokens = packing.pack(torch.randn(1, 3, 8)), torch.randn(1, 2, 8)
        >>> x_hat = packing.unpack(normalise(x))
        >>> unit.steps(x, x_hat, tokens, packing)[0].shape, unit.tokens(tokens, x_hat, packing).shape
        (torch.Size([2, 8]), torch.Size([1, 2, 8]))
    """

    def __init__(
        self, dim: int, heads: int, expansion: int = 4, attn_dropout: float = 0.0, res_dropout: float = 0.0
    ) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise MERError(f"{heads} heads do not divide a width of {dim}; choose a number of heads that divides it")
        self.heads, self.attn_dropout, self.res_dropout = heads, attn_dropout, res_dropout
        self.norm_query, self.norm_context, self.cross = nn.LayerNorm(dim), nn.LayerNorm(dim), _Attention(dim)
        self.norm_self, self.attention = nn.LayerNorm(dim), _Attention(dim)
        self.norm_inner, self.fc1 = nn.LayerNorm(dim), nn.Linear(dim, 2 * expansion * dim)
        self.fc2 = nn.Linear(expansion * dim, dim)

    def steps(
        self, x: Tensor, x_hat: Tensor, tokens: Tensor, packing: Packing, wanted: Tensor | None = None
    ) -> tuple[Tensor, Packing]:
        """Promote the steps of a modality by the global tokens.

        Args:
            x: (N, d) packed steps.
            x_hat: (B, T, d) the same normalised and unpacked.
            tokens: (B, n, d) global tokens.
            packing: Where the steps stand.
            wanted: (B, T) bool, the steps to promote; None for all. Where steps are not packed it makes no difference.

        Returns:
            The packed steps that are wanted, and where they stand.
        """
        x = x + packing.pack(self._ask_tokens(x_hat, tokens))
        normed = self.norm_self(x)
        k, v = self.attention.key_value(normed).chunk(2, -1)
        queries, places = packing.choose(wanted)
        if places is not None:
            x, normed = x.index_select(0, places), normed.index_select(0, places)
        mixed = packing.attend(self.attention.query(normed), k, v, self.heads, self._p, queries)
        return self._feed_forward(x + self.attention.out(mixed)), queries

    def tokens(self, tokens: Tensor, x_hat: Tensor, packing: Packing) -> Tensor:
        """Promote the global tokens (B, n, d) by the steps of a modality; arguments as for :meth:`steps`."""
        tokens = tokens + self._ask_steps(tokens, x_hat, packing.visible(x_hat))
        normed = self.norm_self(tokens)
        maps = (self.attention.query(normed), *self.attention.key_value(normed).chunk(2, -1))
        q, k, v = (split_heads(part, self.heads) for part in maps)
        mixed = merge_heads(attend(q, k, v, Visibility(), self._p))
        return self._feed_forward(tokens + self.attention.out(mixed))

    @property
    def _p(self) -> float:
        return self.attn_dropout if self.training else 0.0

    def _ask_tokens(self, x_hat: Tensor, tokens: Tensor) -> Tensor:
        """CA (B, T, d) of the steps to the tokens: a key is read by W_q^T k, a value is W_o v already."""
        dim, norm, maps = x_hat.shape[-1], self.norm_query, self.cross
        k, v = (split_heads(part, self.heads) for part in maps.key_value(self.norm_context(tokens)).chunk(2, -1))
        keys = (k @ maps.query.weight.view(self.heads, -1, dim)).flatten(1, 2) * (dim // self.heads) ** -0.5
        values = (v @ maps.out.weight.t().reshape(self.heads, -1, dim)).flatten(1, 2)
        scores = torch.baddbmm((keys @ norm.bias)[:, None], x_hat, (keys * norm.weight).transpose(1, 2))
        weights = scores.view(*scores.shape[:2], self.heads, -1).softmax(-1).flatten(-2)
        return torch.baddbmm(maps.out.bias, dropout(weights, self._p), values)

    def _ask_steps(self, tokens: Tensor, x_hat: Tensor, visible: Visibility) -> Tensor:
        """CA (B, n, d) of the tokens to the steps: W_k is applied to the queries, W_v to what the weights mixed."""
        dim, norm, maps = x_hat.shape[-1], self.norm_context, self.cross
        w_k, w_v = maps.key_value.weight.view(2, self.heads, -1, dim)
        q = split_heads(maps.query(self.norm_query(tokens)), self.heads)
        # The shift of the norm adds the same to all scores of a query, which the softmax does not see.
        queries = (q @ w_k).flatten(1, 2) * norm.weight * (dim // self.heads) ** -0.5
        scores = queries @ x_hat.transpose(1, 2)
        bias = visible.bias
        weights = dropout((scores if bias is None else scores + bias.squeeze(1)).softmax(-1), self._p)
        mixed = (weights @ x_hat) * norm.weight + weights.sum(-1, keepdim=True) * norm.bias
        asked: Tensor = maps.out(merge_heads(mixed.view(len(mixed), self.heads, -1, dim) @ w_v.transpose(1, 2)))
        return asked

    def _feed_forward(self, x: Tensor) -> Tensor:
        a, b = self.fc1(self.norm_inner(x)).chunk(2, -1)
        return x + dropout(self.fc2(a * F.gelu(b)), self.res_dropout, self.training)


class EMT(nn.Module):
    """Layers in which global tokens and each modality's steps promote one another, at once and from the old values.

    The sets of tokens that come of the modalities are pooled into one behind each layer.

    Args:
        modalities: Names of the modalities.
        dim: Width d.
        heads: Heads of every attention; divides d.
        depth: Number of layers, at least one.
        expansion: See :class:`PromotionUnit`.
        share_directions: Whether steps and tokens are promoted by the same unit.
        share_modalities: Whether all modalities have the same units.
        share_layers: Whether all layers have the same units and the same pooling.
        activation: Of the pooling, "tanh" or "relu".
        attn_dropout: Dropout of the attention weights.
        res_dropout: Dropout of what the feed-forward parts add.

    Raises:
        MERError: Without a layer, for another activation, or if the number of heads does not divide the width.

    References:
        Sun et al., 2023 (see :class:`PromotionUnit`), the efficient multimodal transformer.

    Example:
        >>> packing = Packing(torch.ones(2, 5, dtype=torch.bool))
        >>> x, tokens = packing.pack(torch.randn(2, 5, 8)), torch.randn(2, 1, 8)
        >>> x, tokens = EMT(["audio"], 8, heads=2, depth=2)({"audio": x}, tokens, {"audio": packing})
        >>> x["audio"].shape, tokens.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 1, 8]))
    """

    def __init__(
        self,
        modalities: Sequence[str],
        dim: int,
        heads: int,
        depth: int,
        expansion: int = 4,
        share_directions: bool = True,
        share_modalities: bool = True,
        share_layers: bool = True,
        activation: str = "tanh",
        attn_dropout: float = 0.0,
        res_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 1:
            raise MERError(f"depth is {depth}; give at least 1")
        check_choice("EMT", "activation", activation, tuple(ACTIVATIONS))
        self.depth = depth
        self.shared = {"layers": share_layers, "modalities": share_modalities, "directions": share_directions}
        names, directions = modalities[:1] if share_modalities else modalities, ("steps", "tokens")

        def units() -> nn.ModuleDict:
            own = directions[: 1 if share_directions else 2]
            return nn.ModuleDict({key: PromotionUnit(dim, heads, expansion, attn_dropout, res_dropout) for key in own})

        own = 1 if share_layers else depth
        self.units = nn.ModuleList(nn.ModuleDict({name: units() for name in names}) for _ in range(own))
        width = len(modalities) * dim
        # With one modality there is one set of tokens, and nothing to pool.
        pools = own if len(modalities) > 1 else 0
        self.pools = nn.ModuleList(NaiveAttention(width, ACTIVATIONS[activation]) for _ in range(pools))

    @override
    def forward(
        self,
        x: Mapping[str, Tensor],
        tokens: Tensor,
        packings: Mapping[str, Packing],
        start: int = 0,
        wanted: Mapping[str, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Fuse the modalities.

        Args:
            x: Packed steps (N, d) of each modality, with their positions.
            tokens: (B, n, d) global tokens, one a modality.
            packings: Where the steps of each modality stand.
            start: The first sample whose steps the last layer is to promote: the tokens do not read what it makes of
                them.
            wanted: (B', T) bool of each modality, the steps that it is to promote of the B' samples from ``start`` on;
                None for all.

        Returns:
            The steps (B', T, d) of each modality of these samples, zero at padding; what is not wanted is undefined.
            The global tokens (B, n, d).
        """
        x = dict(x)
        for layer in range(self.depth):
            x_hat = {name: packings[name].unpack(normalise(states)) for name, states in x.items()}
            promoted = [
                self._unit(layer, name, "tokens").tokens(tokens, x_hat[name], packings[name]).flatten(1) for name in x
            ]
            last = layer == self.depth - 1
            first = start if last else 0
            for name in x:
                packing, states = packings[name].rows(x[name], first)
                chosen = wanted[name] if wanted is not None and last else None
                unit = self._unit(layer, name, "steps")
                states, packing = unit.steps(states, x_hat[name][first:], tokens[first:], packing, chosen)
                x[name] = packing.unpack(states) if last else states
            pooled = self.pools[layer % len(self.pools)](torch.stack(promoted, 1)) if self.pools else promoted[0]
            tokens = pooled.view_as(tokens)
        return x, tokens

    def _unit(self, layer: int, name: str, direction: str) -> PromotionUnit:
        own = self.units[layer % len(self.units)]
        assert isinstance(own, nn.ModuleDict)
        units = own[next(iter(own)) if self.shared["modalities"] else name]
        assert isinstance(units, nn.ModuleDict)
        unit = units["steps" if self.shared["directions"] else direction]
        assert isinstance(unit, PromotionUnit)
        return unit
