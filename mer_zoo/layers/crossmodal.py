"""The body of MulT for three modalities and complete sequences, as networks that recover what is missing end in it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.mlp import ResidualBlock
from mer_zoo.layers.positions import PositionRule, embed_positions
from mer_zoo.layers.together import Encoding, encode_all, read_all
from mer_zoo.layers.transformer import TransformerEncoder

__all__ = ["CrossmodalBody"]


class CrossmodalBody(nn.Module):
    """Every sequence attends to every other one; a memory reads both results, and its last steps are joined.

    Args:
        names: The sequences.
        dim: Width d.
        heads: Heads of every encoder.
        depth: Layers of a cross-modal encoder; a memory has max(depth, 3).
        by_source: Dropouts of cross-modal encoders by their source.
        dropouts: Of the memories.
        out_dropout: Dropout inside the block behind them.
        causal: Hide keys j > i + |Tk - Tq| from query i.
        positions: See :func:`~mer_zoo.layers.positions.positions`.

    References:
        Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019.

    Example:
        >>> body = CrossmodalBody(["a", "b", "c"], 4, 2, 1, dict.fromkeys("abc", Dropouts()), Dropouts())
        >>> joint, hidden = body(dict.fromkeys("abc", torch.randn(2, 5, 4)))
        >>> joint.shape, hidden["a"].shape
        (torch.Size([2, 24]), torch.Size([2, 5, 8]))
    """

    def __init__(
        self,
        names: list[str],
        dim: int,
        heads: int,
        depth: int,
        by_source: Mapping[str, Dropouts],
        dropouts: Dropouts,
        out_dropout: float = 0.0,
        causal: bool = True,
        positions: PositionRule = "released",
    ) -> None:
        super().__init__()
        self.positions: PositionRule = positions
        self.sources = {name: [other for other in names if other != name] for name in names}
        self.crossmodal = nn.ModuleDict(
            {
                f"{a}_from_{b}": TransformerEncoder(dim, heads, depth, by_source[b], causal)
                for a in names
                for b in self.sources[a]
            }
        )
        width = (len(names) - 1) * dim
        self.memory = nn.ModuleDict(
            {name: TransformerEncoder(width, heads, max(depth, 3), dropouts, causal) for name in names}
        )
        self.feature_dim = len(names) * width
        self.joint = ResidualBlock(self.feature_dim, None, out_dropout)

    @override
    def forward(self, x: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The joint representation (B, n (n - 1) d) and what each memory says (B, T_m, (n - 1) d), from (B, T_m, d)."""
        embedded = {name: embed_positions(sequence, None, self.positions) for name, sequence in x.items()}
        pairs = [(name, other) for name, sources in self.sources.items() for other in sources]
        crossed = encode_all(
            [Encoding(self._encoder(self.crossmodal, f"{a}_from_{b}"), embedded[a], embedded[b]) for a, b in pairs]
        )
        memories, steps = [], []
        for name in self.sources:
            found = [y for (target, _), y in zip(pairs, crossed, strict=True) if target == name]
            joined = embed_positions(torch.cat(found, 2), None, self.positions)
            memories.append(Encoding(self._encoder(self.memory, name), joined))
            steps.append(torch.full((len(joined),), joined.shape[1] - 1, device=joined.device))
        states, read = zip(*read_all(memories, steps), strict=True)
        hidden = dict(zip(self.sources, states, strict=True))
        joint: Tensor = self.joint(torch.cat(read, 1))
        return joint, hidden

    def _encoder(self, among: nn.ModuleDict, name: str) -> TransformerEncoder:
        encoder = among[name]
        assert isinstance(encoder, TransformerEncoder)
        return encoder
