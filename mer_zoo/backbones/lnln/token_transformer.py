"""LNLN's transformer: learned tokens gather a sequence, words steer what audio and vision add, tokens ask others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.layers.attention import Visibility, attend, merge_heads, split_heads

__all__ = ["HyperLayer", "TokenAttention", "TokenCrossTransformer", "TokenLayer", "TokenTransformer"]

HEAD_DIM = 64


class TokenAttention(nn.Module):
    """Attention whose heads are 64 wide whatever the width, with a layer norm each for queries, keys and values.

    Args:
        dim: Width d of what comes in and goes out.
        heads: Number of heads.

    Example:
        >>> TokenAttention(8, heads=2)(torch.randn(1, 3, 8), torch.randn(1, 5, 8)).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if heads < 1:
            raise MERError(f"heads is {heads}; give at least 1")
        self.heads = heads
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(dim) for _ in range(3))
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, heads * HEAD_DIM, bias=False) for _ in range(3))
        self.to_out = nn.Linear(heads * HEAD_DIM, dim)

    @override
    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        """Att(LNq x, LNk s, LNv s) from (B, Tq, d) to a source (B, Tk, d)."""
        q = _project(x, [(self.norm_q, self.to_q)])
        k, v = _project(source, [(self.norm_k, self.to_k), (self.norm_v, self.to_v)]).chunk(2, -1)
        q, k, v = (split_heads(part, self.heads) for part in (q, k, v))
        mixed: Tensor = self.to_out(merge_heads(attend(q, k, v, Visibility())))
        return mixed


def _project(x: Tensor, maps: Sequence[tuple[nn.LayerNorm, nn.Linear]]) -> Tensor:
    """Several maps of several layer norms of one sequence, side by side: x is normalised once and multiplied once."""
    weight = torch.cat([linear.weight * norm.weight for norm, linear in maps])
    bias = torch.cat([linear.weight @ norm.bias for norm, linear in maps])
    return F.linear(F.layer_norm(x, x.shape[-1:], eps=maps[0][0].eps), weight, bias)


class TokenLayer(nn.Module):
    """x + Att(LNq x, LNk s, LNv s), then x + W2 gelu(W1 LN x), both d wide; s is x itself or a source.

    Args:
        dim: Width d.
        heads: Heads of the attention, each 64 wide.

    Example:
        >>> TokenLayer(8, heads=2)(torch.randn(1, 3, 8)).shape
        torch.Size([1, 3, 8])
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = TokenAttention(dim, heads)
        self.norm = nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, dim), nn.Linear(dim, dim)

    @override
    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        x = x + self.attention(x, x if source is None else source)
        encoded: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm(x))))
        return encoded

    def first(self, x: Tensor, count: int) -> Tensor:
        """What ``forward`` gives at the first ``count`` steps of (B, T, d), without computing the others."""
        encoded: Tensor = self(x[:, :count], x)
        return encoded


class TokenTransformer(nn.Module):
    """Learned positions, learned tokens in front of the sequence if asked for, layers; no final norm and no mask.

    Args:
        dim: Width d.
        heads: Heads of each layer.
        depth: Number of layers, at least one.
        frames: Length of the sequences, which the table of positions has built in.
        tokens: Number of learned tokens in front; with any, the result is what they have gathered.

    Raises:
        MERError: Without a layer or a head; when called, for a sequence of another length.

    References:
        Zhang, Wang, Yu, "Towards Robust Multimodal Sentiment Analysis with Incomplete Data", NeurIPS 2024.

    Example:
        >>> gather = TokenTransformer(8, heads=2, depth=1, frames=30, tokens=4)
        >>> gather(torch.randn(2, 30, 8)).shape
        torch.Size([2, 4, 8])
    """

    def __init__(self, dim: int, heads: int, depth: int, frames: int, tokens: int = 0) -> None:
        super().__init__()
        if depth < 1:
            raise MERError(f"the number of layers is {depth}; give at least 1")
        self.frames, self.count = frames, tokens
        self.positions = nn.Parameter(torch.randn(1, frames + tokens, dim))
        self.tokens = nn.Parameter(torch.zeros(1, tokens, dim)) if tokens else None
        self.layers: Sequence[TokenLayer] = nn.ModuleList(  # type: ignore[assignment]
            TokenLayer(dim, heads) for _ in range(depth)
        )

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Encode (B, frames, d): the tokens (B, tokens, d) or, without any, the sequence."""
        x = self._embed(x)
        for layer in self.layers[:-1]:
            x = layer(x)
        last = self.layers[-1]
        encoded: Tensor = last.first(x, self.count) if self.count else last(x)
        return encoded

    def states(self, x: Tensor) -> list[Tensor]:
        """The sequence with its positions, then after each layer."""
        found = [self._embed(x)]
        for layer in self.layers:
            found.append(layer(found[-1]))
        return found

    def _embed(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.frames:
            raise MERError(
                f"learned positions of {self.frames} steps can't serve {x.shape[1]}; pad batches to the spec's lengths"
            )
        if self.tokens is not None:
            x = torch.cat([self.tokens.expand(len(x), -1, -1), x], 1)
        return x + self.positions


class HyperLayer(nn.Module):
    """Text asks the other modalities what belongs to it, for hyper tokens: H <- LN(H) + W sum_m att(q, k_m, v_m).

    Args:
        dim: Width d.
        heads: Number of heads; divides the width.
        sources: The modalities beside text.

    Raises:
        MERError: If the number of heads does not divide the width.

    References:
        Zhang, Wang, Yu, 2024 (see :class:`TokenTransformer`), adaptive hyper-modality learning; the released code
        carries on with the normalised H.

    Example:
        >>> layer, x = HyperLayer(8, 2, ["audio"]), torch.randn(1, 4, 8)
        >>> layer(x, {"audio": x}, x).shape
        torch.Size([1, 4, 8])
    """

    def __init__(self, dim: int, heads: int, sources: Sequence[str]) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise MERError(f"{heads} heads do not divide a width of {dim}; choose a number of heads that divides it")
        self.heads = heads
        self.norms = nn.ModuleDict({name: nn.LayerNorm(dim) for name in ("text", *sources, "hyper")})
        self.to_q, self.to_out = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim)
        self.keys, self.values = (
            nn.ModuleDict({name: nn.Linear(dim, dim, bias=False) for name in sources}) for _ in range(2)
        )

    @override
    def forward(self, text: Tensor, sources: Mapping[str, Tensor], hyper: Tensor) -> Tensor:
        """Take up the sources, each (B, n, d), into hyper tokens (B, n, d), as the text (B, n, d) asks for them."""
        q = split_heads(self.to_q(self.norms["text"](text)), self.heads)
        mixed = torch.zeros_like(q)
        for name, source in sources.items():
            x = self.norms[name](source)
            k, v = (split_heads(maps[name](x), self.heads) for maps in (self.keys, self.values))
            mixed = mixed + attend(q, k, v, Visibility())
        taken: Tensor = self.norms["hyper"](hyper) + self.to_out(merge_heads(mixed))
        return taken


class TokenCrossTransformer(nn.Module):
    """A target asks a source in each layer; both have their own positions, the source one learned token in front.

    The released code puts that token in front of the target too and reads all but it. It asks only for itself, so it is
    left out here; the first row of the target's positions, which is its, is never read.

    Args:
        dim: Width d.
        heads: Heads of each layer.
        depth: Number of layers, at least one.
        frames: Length of source and target.

    Raises:
        MERError: Without a layer or a head.

    Example:
        >>> TokenCrossTransformer(8, 2, 1, frames=4)(torch.randn(2, 4, 8), torch.randn(2, 4, 8)).shape
        torch.Size([2, 4, 8])
    """

    def __init__(self, dim: int, heads: int, depth: int, frames: int) -> None:
        super().__init__()
        if depth < 1:
            raise MERError(f"the number of layers is {depth}; give at least 1")
        self.source_positions, self.target_positions = (nn.Parameter(torch.randn(1, frames + 1, dim)) for _ in range(2))
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.layers = nn.ModuleList(TokenLayer(dim, heads) for _ in range(depth))

    @override
    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Tell the target (B, frames, d) what the source (B, frames, d) has to say."""
        source = torch.cat([self.token.expand(len(source), -1, -1), source], 1) + self.source_positions
        target = target + self.target_positions[:, 1:]
        for layer in self.layers:
            target = layer(target, source)
        return target
