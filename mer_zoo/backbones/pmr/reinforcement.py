"""The two parts of PMR: the modality reinforcement unit, and the message update module behind three of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.layers.attention import Visibility
from mer_zoo.layers.dropouts import NO_DROPOUTS, Dropouts
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.layers.transformer import FeedForward, MultiheadAttention, PreNormLayer
from mer_zoo.options import check_choice

__all__ = ["Gate", "MessageUpdate", "ReinforcementUnit", "Residual", "Scoring", "Unit", "gated_mix"]

Unit = Literal["separate", "r1"]
Gate = Literal["self", "cross"]
Residual = Literal["mixed", "branches", "none"]
Scoring = Literal["pooled", "mean", "full"]


def gated_mix(kept: Tensor, crossed: Tensor, gate: Tensor) -> Tensor:
    """What a gate lets through of two branches, G kept + (1 - G) crossed.

    Args:
        kept: (B, T, d) the branch that the gate weighs.
        crossed: (B, T, d) the other.
        gate: (B, T, d) in [0, 1].

    Returns:
        (B, T, d).

    Example:
        >>> gated_mix(torch.tensor([4.0]), torch.tensor([0.0]), torch.tensor([0.25])).item()
        1.0
    """
    return gate * kept + (1 - gate) * crossed


class ReinforcementUnit(PreNormLayer):
    """Reinforces a target sequence by a source: self- and cross-attention, mixed by a gate, then a feed-forward part.

    Zx = MHA(LN Z_t, LN Z_s), Zs = MHA(LN Z_t), G = sigmoid(Zs W_t + Zx W_st + b), and G Zs + (1 - G) Zx goes on.

    Args:
        dim: Width.
        heads: Number of heads; divides the width.
        unit: "separate": each branch has its own attention, target and source their own norms. "r1": the third-party
            unit, one attention and one norm for all, the residual in both branches.
        gate: Which branch G weighs: "self", as in the paper, or "cross".
        residual: Where the target is added: to what is "mixed", to both "branches", so that the gate sees it, or
            "none". By default as the unit has it, "mixed" for separate branches.
        dropouts: Of the attention weights, the ReLU and the residual stream.

    Raises:
        MERError: For an unknown option, or heads that do not divide the width.

    References:
        Lv et al., "Progressive Modality Reinforcement for Human Multimodal Emotion Recognition from Unaligned
        Multimodal Sequences", CVPR 2021, modality reinforcement unit.

    Example:
        >>> unit = ReinforcementUnit(8, heads=2)
        >>> text, hub = torch.randn(1, 3, 8), torch.randn(1, 9, 8)
        >>> out, gate = unit(text, hub, Visibility(), Visibility())
        >>> out.shape, gate.shape
        (torch.Size([1, 3, 8]), torch.Size([1, 3, 8]))
    """

    attention: MultiheadAttention

    def __init__(
        self,
        dim: int,
        heads: int,
        unit: Unit = "separate",
        gate: Gate = "self",
        residual: Residual | None = None,
        dropouts: Dropouts = NO_DROPOUTS,
    ) -> None:
        check_choice("PMR", "unit", unit, get_args(Unit))
        check_choice("PMR", "gate", gate, get_args(Gate))
        if residual is None:
            residual = "branches" if unit == "r1" else "mixed"
        check_choice("PMR", "residual", residual, get_args(Residual))
        super().__init__(dim, MultiheadAttention(dim, heads, dropouts.attn), dropouts)
        self.gate, self.residual = gate, residual
        separate = unit == "separate"
        self.self_attention = MultiheadAttention(dim, heads, dropouts.attn) if separate else None
        self.source_norm = nn.LayerNorm(dim) if separate else None
        self.gate_self, self.gate_cross = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim)

    @override
    def forward(
        self, target: Tensor, source: Tensor, visible_self: Visibility, visible_cross: Visibility
    ) -> tuple[Tensor, Tensor]:
        """Reinforce.

        Args:
            target: (B, Tt, d) what is reinforced.
            source: (B, Ts, d) what reinforces it.
            visible_self: Which steps of the target its own steps see.
            visible_cross: Which steps of the source they see.

        Returns:
            The target reinforced, and the gate, both (B, Tt, d).
        """
        kept, crossed = self.branches(target, source, visible_self, visible_cross)
        gate = torch.sigmoid(self.gate_self(kept) + self.gate_cross(crossed))
        mixed = gated_mix(kept, crossed, gate) if self.gate == "self" else gated_mix(crossed, kept, gate)
        out = self.feed_forward(target, mixed) if self.residual == "mixed" else self.position_wise(mixed)
        return out, gate

    def branches(
        self, target: Tensor, source: Tensor, visible_self: Visibility, visible_cross: Visibility
    ) -> tuple[Tensor, Tensor]:
        """What self- and cross-attention give, both (B, Tt, d); arguments as for ``forward``."""
        t = self.norm0(target)
        s = (self.norm0 if self.source_norm is None else self.source_norm)(source)
        own = self.attention if self.self_attention is None else self.self_attention
        kept: Tensor = own(t, visible=visible_self)
        crossed: Tensor = self.attention(t, self.attention.project_source(s), visible=visible_cross)
        return (target + kept, target + crossed) if self.residual == "branches" else (kept, crossed)


class MessageUpdate(FeedForward):
    """Weighs what each modality made of the message hub, sums it up and passes it through a feed-forward part.

    mu_m = U^T tanh(W_m vec(Z_m) + b_m), alpha = softmax over m, and sum_m alpha_m Z_m goes on. A modality of which
    nothing is real gets no weight.

    Args:
        sources: The modalities.
        dim: Width.
        scoring: What vec is: "full", the flattened sequence, as in the paper, which needs a fixed length and (T d)^2
            weights a modality; "pooled", the mean over the real steps. With "mean" there is no score, and all weigh the
            same.
        length: Steps T of the hub; for "full".
        dropouts: Of the ReLU and the residual stream.

    Raises:
        MERError: For an unknown scoring.

    References:
        Lv et al., CVPR 2021, message update module.

    Example:
        >>> update, real = MessageUpdate(["text", "audio"], 8), torch.ones(1, 2, dtype=torch.bool)
        >>> hub, alpha = update({"text": torch.randn(1, 5, 8), "audio": torch.randn(1, 5, 8)}, real)
        >>> hub.shape, round(alpha.sum().item(), 5)
        (torch.Size([1, 5, 8]), 1.0)
    """

    def __init__(
        self,
        sources: list[str],
        dim: int,
        scoring: Scoring = "pooled",
        length: int = 1,
        dropouts: Dropouts = NO_DROPOUTS,
    ) -> None:
        check_choice("PMR", "scoring", scoring, get_args(Scoring))
        super().__init__(dim, dropouts)
        self.scoring = scoring
        self.project = nn.ModuleDict()
        if scoring != "mean":
            width = length * dim if scoring == "full" else dim
            self.project.update({name: nn.Linear(width, width) for name in sources})
            self.score = nn.Linear(width, 1, bias=False)

    @override
    def forward(
        self, candidates: Mapping[str, Tensor], real: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Update the hub.

        Args:
            candidates: Modality to (B, T, d) what it made of the hub, zero at padding.
            real: (B, n) bool, the modalities of which a sample has something.
            mask: (B, T) bool, real steps of the hub; None if all are.

        Returns:
            The hub (B, T, d), and the weights alpha (B, n).
        """
        # Without anything real all weigh the same, which is no NaN.
        real = real | ~real.any(1, keepdim=True)
        mu = torch.cat([self._score(name, x, mask) for name, x in candidates.items()], 1)
        alpha = mu.masked_fill(~real, -torch.inf).softmax(1)
        parts = [a[:, None, None] * x for a, x in zip(alpha.unbind(1), candidates.values(), strict=True)]
        return self.position_wise(torch.stack(parts).sum(0)), alpha

    def _score(self, name: str, x: Tensor, mask: Tensor | None) -> Tensor:
        """The unnormalised weight (B, 1) of a modality."""
        if self.scoring == "mean":
            return x.new_zeros(len(x), 1)
        if self.scoring == "pooled":
            x = x.mean(1) if mask is None else masked_mean(x, mask)
        vector = x.flatten(1)
        score: Tensor = self.score(torch.tanh(self.project[name](vector)))
        return score
