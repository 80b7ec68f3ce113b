"""Progressive Modality Reinforcement (PMR): modalities and a common message hub reinforce each other, layer by layer.

Idea: instead of one encoder for every ordered pair, all modalities write to one sequence, the message hub, and read
from it. In each layer every modality is reinforced by the hub, then the hub is updated by what each modality, now
reinforced, makes of it.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, T_C the sum of T_m, d width):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v); T_m may differ;
    output.features (B, d), the joint representation; output.hidden[m] (B, T_m, d), the reinforced sequences;
    output.aux, a :class:`Messages`: the hub (B, T_C, d), the weights of the modalities, the gates.

Where the paper is in the code:
    temporal convolutions, positions      PMR._embed, layers/convolution.py, layers/positions.py
    modality reinforcement unit           backbones/pmr/reinforcement.py, ReinforcementUnit
    message update module                 backbones/pmr/reinforcement.py, MessageUpdate
    progressive layers                    PMR._reinforce
    interaction, prediction               PMR.fuse

There is no released code: the network follows the paper's equations, and what these leave open is inferred:
    * unit, residual: the branches have attentions of their own behind norms, and the target is added to what the gate
      has mixed; ``unit="r1"`` is a third-party unit, with one attention and the residual in both branches;
    * gate: G weighs the self branch, as in the paper; a third-party code has it the other way round;
    * scoring: the paper scores a flattened sequence, for which (T_C d)^2 weights a modality and layer are too many and
      the length is fixed; by default its mean is scored;
    * sharing: each layer and direction has its own unit, as the paper's indices say; a third-party code has one unit
      for all;
    * the hub starts as text, vision, audio, one after the other, with the positions that these have, and the last
      encoder adds none;
    * pool: the last real step of the last encoder is classified, behind a residual block, as in MulT and third-party
      codes;
    * padding is hidden, nothing hides the future, and the loss is the task's alone.

Reproduction: the third-party unit to 1e-5. Scores not yet run.

References:
    Lv et al., "Progressive Modality Reinforcement for Human Multimodal Emotion Recognition from Unaligned Multimodal
    Sequences", CVPR 2021. No released code; the third-party one:
    SZU-AdvTech-2022/332-Progressive-Modality-Reinforcement (MIT), nothing copied.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.pmr.reinforcement import Gate, MessageUpdate, ReinforcementUnit, Residual, Scoring, Unit
from mer_zoo.batch import MODALITIES, DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.attention import visibility
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.decoupling import in_order
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.mlp import ResidualBlock
from mer_zoo.layers.positions import embed_positions
from mer_zoo.layers.sequence import check_lengths, last_step, masked_mean, zero_padding
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.transformer import TransformerEncoder
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["PMR", "Messages"]

Sharing = Literal["none", "layers", "all"]
Pool = Literal["last", "mean", "first"]

MOST_WEIGHTS = 2**30  # of full scoring, 4 GiB


class Messages(NamedTuple):
    """What PMR's layers passed around.

    Args:
        hub: (B, T_C, d) the message hub behind the last layer.
        weights: (B, layers, n) share of each modality, in the order of the hub, in each update of it.
        gates: Modality to (B, T_m, d), the gate of its last reinforcement.
    """

    hub: Tensor
    weights: Tensor
    gates: dict[str, Tensor]


class PMR(Backbone):
    """Progressive modality reinforcement of Lv et al. (2021); see the module's text for the idea and what is inferred.

    Args:
        spec: Shapes of the data; one, two or three modalities. With one there is nothing to be weighed.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d of each sequence, at least 4.
        heads: Heads of every attention; divides d.
        depth: Layers of reinforcement and update.
        interaction_layers: Layers of the encoder over hub and modalities.
        kernels: Convolution kernels of text, audio and vision, in steps.
        attn_dropout: Dropout of attention weights.
        relu_dropout: Dropout behind the ReLU of each feed-forward part.
        res_dropout: Dropout of what a layer adds to its input.
        embed_dropout: Dropout of the text input and of every embedded sequence.
        out_dropout: Dropout inside the block before the classifier.
        unit: "separate" branches, or the third-party unit "r1", see
            :class:`~mer_zoo.backbones.pmr.reinforcement.ReinforcementUnit`.
        gate: The branch that the gate weighs, "self" or "cross".
        residual: Where the target is added: "mixed", "branches", "none", or None for what the unit has.
        scoring: What weighs the modalities: their "pooled" message, the "full" one (padding takes part), or nothing
            ("mean").
        sharing: Whether units are shared by "none", by all "layers", or by "all" layers and directions.
        causal: Hide keys j > i + |Tk - Tq| from query i, as the third-party code does.
        pool: What is classified of the last encoder: its "last" real step, its "first", or the "mean" of all.

    Raises:
        MERError: For an unknown option, heads that do not divide the width, a width below 4, a kernel or number of
            layers below 1, or full scoring of sequences too long for it; when called with full scoring, for a batch not
            padded to the lengths of the spec.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> output = PMR(spec, task, dim=8, heads=2, depth=1)(Batch.random(spec, task, size=3))
        >>> output.logits.shape, output.aux.hub.shape
        (torch.Size([3, 1]), torch.Size([3, 21, 8]))
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 40,
        heads: int = 8,
        depth: int = 4,
        interaction_layers: int = 1,
        kernels: tuple[int, int, int] = (3, 5, 3),
        attn_dropout: float = 0.25,
        relu_dropout: float = 0.1,
        res_dropout: float = 0.1,
        embed_dropout: float = 0.3,
        out_dropout: float = 0.0,
        unit: Unit = "separate",
        gate: Gate = "self",
        residual: Residual | None = None,
        scoring: Scoring = "pooled",
        sharing: Sharing = "none",
        causal: bool = False,
        pool: Pool = "last",
    ) -> None:
        super().__init__(spec, task, text_encoder)
        _check_sizes(dim, depth, interaction_layers, kernels)
        check_choice("PMR", "sharing", sharing, get_args(Sharing))
        check_choice("PMR", "pool", pool, get_args(Pool))
        self.names = in_order(spec.modalities)
        self.depth, self.sharing, self.pool, self.causal = depth, sharing, pool, causal
        self.embed_dropout = embed_dropout
        self.fixed_length = scoring == "full"
        if len(self.names) == 1:
            scoring = "mean"  # the softmax of one score is 1, so that it could not be learned
        self.project = nn.ModuleDict(
            {
                name: TemporalConv(self.input_dims[name], dim, kernel)
                for name, kernel in zip(MODALITIES, kernels, strict=True)
                if name in spec.modalities
            }
        )
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout)
        directions = [f"{end}_{name}" for end in ("to", "from") for name in self.names]
        keys = dict.fromkeys(self._key(i, direction) for i in range(depth) for direction in directions)
        self.units = nn.ModuleDict({key: ReinforcementUnit(dim, heads, unit, gate, residual, dropouts) for key in keys})
        length, updates = sum(spec.length(name) for name in self.names), depth if sharing == "none" else 1
        if scoring == "full":
            _check_full(updates * len(self.names) * (length * dim) ** 2)
        self.updates = nn.ModuleList(MessageUpdate(self.names, dim, scoring, length, dropouts) for _ in range(updates))
        self.interaction = TransformerEncoder(dim, heads, interaction_layers, dropouts, causal)
        self.feature_dim = dim
        self.joint = ResidualBlock(dim, None, out_dropout)
        self.head = nn.Linear(dim, task.num_outputs)
        self.hidden_shape = {name: (spec.length(name), dim) for name in spec.modalities}

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        if self.fixed_length:
            lengths = {name: self.spec.length(name) for name in self.names}
            check_lengths("PMR", {name: given[name].x for name in self.names}, lengths)
        z = {name: self._embed(name, given[name]) for name in self.names}
        masks = {name: given[name].mask for name in self.names}
        hub_mask = torch.cat(list(masks.values()), 1)
        padded = not hub_mask.all()
        z, messages = self._reinforce(z, masks if padded else None)
        joint, mask = torch.cat([messages.hub, *z.values()], 1), torch.cat([hub_mask, hub_mask], 1)
        r = self._pool(joint, mask, mask if padded else None)
        features = self.joint(r)
        hidden = {name: z[name] for name in self.spec.modalities}
        return Output(self.classify(features), features, hidden, aux=messages)

    def _embed(self, name: str, modality: Modality) -> Tensor:
        """Project a modality to the common width and add its positions; padding stays zero."""
        x = _hide(modality.x, modality.mask)
        if name == "text":
            x = dropout(x, self.embed_dropout, self.training)
        # A kernel smears real steps into the padding.
        x = _hide(self.project[name](x), modality.mask)
        return dropout(embed_positions(x, modality.mask), self.embed_dropout, self.training)

    def _reinforce(self, z: dict[str, Tensor], masks: dict[str, Tensor] | None) -> tuple[dict[str, Tensor], Messages]:
        """Run the layers: each modality is reinforced by the hub, then the hub is updated by all modalities."""
        hub = torch.cat(list(z.values()), 1)
        seen: dict[str, Tensor | None] = dict.fromkeys(self.names) if masks is None else {**masks}
        whole = None if masks is None else torch.cat(list(masks.values()), 1)
        rows = [
            z[name].new_ones(len(hub), 1, dtype=torch.bool) if masks is None else masks[name] for name in self.names
        ]
        real = torch.stack([row.any(1) for row in rows], 1)
        own = {name: visibility(x, x, self.causal, seen[name], seen[name]) for name, x in z.items()}
        read = {name: visibility(x, hub, self.causal, seen[name], whole) for name, x in z.items()}
        written = {name: visibility(hub, x, self.causal, whole, seen[name]) for name, x in z.items()}
        hub_own = visibility(hub, hub, self.causal, whole, whole)
        weights, gates = [], {}
        for i in range(self.depth):
            for name in self.names:
                x, gates[name] = self._unit(i, f"to_{name}")(z[name], hub, own[name], read[name])
                z = {**z, name: _hide(x, seen[name])}
            candidates = {
                name: _hide(self._unit(i, f"from_{name}")(hub, x, hub_own, written[name])[0], whole)
                for name, x in z.items()
            }
            hub, alpha = self.updates[min(i, len(self.updates) - 1)](candidates, real, whole)
            hub = _hide(hub, whole)
            weights.append(alpha)
        return z, Messages(hub, torch.stack(weights, 1), gates)

    def _pool(self, joint: Tensor, mask: Tensor, seen: Tensor | None) -> Tensor:
        """Let hub and modalities (B, T, d) interact, and read (B, d) of them."""
        if self.pool == "mean":
            return masked_mean(self.interaction(joint, mask=seen), mask)
        step = last_step(mask) if self.pool == "last" else mask.int().argmax(1)
        return torch.where(mask.any(1, keepdim=True), self.interaction.at(joint, step, seen), 0.0)

    def _key(self, layer: int, direction: str) -> str:
        """Name of the unit of a layer that carries from ("from_text") or to ("to_text") a modality."""
        return {"none": f"{direction}_{layer}", "layers": direction, "all": "all"}[self.sharing]

    def _unit(self, layer: int, direction: str) -> nn.Module:
        return self.units[self._key(layer, direction)]


def _hide(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else zero_padding(x, mask)


def _check_sizes(dim: int, depth: int, interaction_layers: int, kernels: tuple[int, int, int]) -> None:
    if dim < 4:
        raise MERError(f"dim is {dim}, but positions need a width of at least 4")
    for name, number in {
        "depth": depth,
        "interaction_layers": interaction_layers,
        "the smallest kernel": min(kernels),
    }.items():
        if number < 1:
            raise MERError(f"{name} of PMR is {number}, but must be at least 1")


def _check_full(weights: int) -> None:
    if weights > MOST_WEIGHTS:
        raise MERError(f"scoring: full of PMR would need {weights:.1e} weights at these lengths; choose pooled or mean")
