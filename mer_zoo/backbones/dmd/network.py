"""DMD: what modalities share and what each has of its own, and distillation between modalities in both.

Idea: modalities differ in how much they tell. Each sequence is split into a part that lies in a space shared by all
modalities and a private part. In either space the modalities learn from each other along a graph, whose edges, one an
ordered pair, are found sample by sample; in the private space they first reinforce each other by cross-modal attention,
because they differ too much.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, k_m its kernel, T'_m = T_m -
k_m + 1, d width):
    batch.text (B, T_l, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v); T_m may differ.
    output.features (B, n^2 d), that is 9d with three modalities: (n - 1) d of each private stream, n d of what is
    shared; output.hidden[m] (B, T'_m, (n - 1) d), what the other modalities say to each step of m's private part.

Where the paper is in the code:
    convolutions                                      layers/decoupling.py, ShrinkingProjection
    private and shared encoders, decoders and losses  layers/decoupling.py, Decoupling, functional/disentanglement.py
    graph distillation                                backbones/dmd/graph_distillation.py,
                                                      functional/graph_distillation.py
    cross-modal and memory encoders                   DMD.crossmodal, DMD.memory
    adaptive fusion                                   DMD.gates, DMD.joint

As in the authors' code, though the paper says or suggests otherwise:
    * sigmoid(linear(h)) is the feature itself and not a gate on h;
    * the loss between representations in the shared space is computed, but not charged; that in the private space
      pushes apart;
    * padding is a step like any other; the last step is read even if it is padding.

Differences from the authors' code, and why:
    * orthogonality: it takes the cosine over the batch axis, by a mistake of axes that newer torch refuses; "features"
      (default) is over the features as meant, "batch" as computed;
    * lengths come from the data and not from the data set's name; with a convolution that is skipped (width d already)
      the heads have the right length;
    * linear maps for a cosine loss, which no loss uses, and the bias of the edges, which their softmax cancels, are not
      built;
    * heads of one modality have as many outputs as the task and are charged its loss; labels are compared by their
      differences;
    * two modalities work: one edge a direction, the prior over those left;
    * the heads that only losses need, and the last layer of an encoder but for its last step, are computed in training
      only or not at all; that changes no number;
    * batches that do not fill the ten whose gradients are summed are not thrown away;
    * several processes: the margin loss and the means of edges are those of the samples of each.

Reproduction: outputs to 1e-5 + 1e-4 and losses to 1e-5 of the released code's, see tests; scores not yet run. The
published dropouts were
not known to us: ours.

References:
    Li, Wang, Cui, "Decoupled Multimodal Distilling for Emotion Recognition", CVPR 2023.
    Released code: mdswyz/DMD (MIT); nothing copied.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.dmd.graph_distillation import GraphDistillation
from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.disentanglement import cosine_orthogonality
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.decoupling import (
    Decoupled,
    Decoupling,
    Prediction,
    PredictionHead,
    SharedFusion,
    ShrinkingProjection,
    in_order,
    read_end,
)
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.mlp import ResidualBlock
from mer_zoo.layers.positions import embed_positions
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.transformer import TransformerEncoder
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["DMD"]

Orthogonality = Literal["features", "batch"]

_SHARED_PRIOR = [("vision", "text"), ("audio", "text")]
_PRIVATE_PRIOR = [*_SHARED_PRIOR, ("audio", "vision")]


class State(NamedTuple):
    """What the losses need: projected sequences, their parts, shared features (B, n d), private ones (B, (n - 1) d)."""

    projected: dict[str, Tensor]
    parts: Decoupled
    common: Tensor
    private: dict[str, Tensor]


class Auxiliary(NamedTuple):
    """Predictions from the shared and the reinforced private part of each modality, and from all shared parts."""

    shared: dict[str, Prediction]
    private: dict[str, Prediction]
    common: Prediction


class DMD(Backbone):
    """Decoupled Multimodal Distilling of Li et al. (2023); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d of each sequence, at least 4.
        heads: Heads of every encoder; divides d.
        depth: Layers of an encoder; a memory has max(depth, 3).
        kernels: Convolution kernels of text, audio and vision, in steps.
        causal: Whether to hide keys j > i + |Tk - Tq|.
        orthogonality: Whether private and shared vectors are compared over "features" or, as the released code does,
            over the samples of a "batch".
        shared_hidden: Width inside the distillation kernel of the shared space.
        private_hidden: Width inside that of the private space.
        distillation_weight: Weight of the losses of both kernels.
        reconstruction_weight: Weight of reconstruction and cycle losses.
        disentanglement_weight: Weight of margin and orthogonality losses.
        text_dropout: Dropout of the text input, which comes before the projection and has a share of its own.
        attn_dropout: Attention dropout where text is the source, and of the memories.
        attn_dropout_audio: Attention dropout where audio is the source.
        attn_dropout_vision: Attention dropout where vision is the source.
        relu_dropout: Dropout behind the ReLU of each layer.
        res_dropout: Dropout of what a layer adds to its input.
        embed_dropout: Dropout of every embedded sequence.
        out_dropout: Dropout inside the residual heads.

    Raises:
        MERError: For one modality, an unknown option, heads that do not divide the width, a width below 4, no layers,
            or a kernel below 1 or longer than its sequence; when called, for a batch that is not padded to the lengths
            of the spec.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> model = DMD(spec, task, dim=8, heads=2, depth=1, kernels=(3, 3, 3))
        >>> batch = Batch.random(spec, task, size=3)
        >>> output = model(batch)
        >>> output.logits.shape, output.features.shape
        (torch.Size([3, 1]), torch.Size([3, 72]))
        >>> list(model.losses(output, batch))[:3]
        ['dmd/shared', 'dmd/private', 'dmd/common']
    """

    fixed_length = reads_padding = True

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 50,
        heads: int = 10,
        depth: int = 4,
        kernels: tuple[int, int, int] = (5, 5, 5),
        causal: bool = True,
        orthogonality: Orthogonality = "features",
        shared_hidden: int = 64,
        private_hidden: int = 32,
        distillation_weight: float = 0.05,
        reconstruction_weight: float = 0.1,
        disentanglement_weight: float = 0.01,
        text_dropout: float = 0.1,
        attn_dropout: float = 0.1,
        attn_dropout_audio: float = 0.0,
        attn_dropout_vision: float = 0.0,
        relu_dropout: float = 0.1,
        res_dropout: float = 0.1,
        embed_dropout: float = 0.1,
        out_dropout: float = 0.1,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        used = spec.modalities
        if len(used) < 2:
            raise MERError(
                f"DMD distils between modalities, but the data is used with {used[0]} only; use at least two"
            )
        if dim < 4 or depth < 1:
            raise MERError(f"DMD is given width {dim} and {depth} layers; it needs a width of at least 4 and a layer")
        check_choice("DMD", "orthogonality", orthogonality, get_args(Orthogonality))
        self.weights = (distillation_weight, reconstruction_weight, disentanglement_weight)
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout, embed_dropout)
        by_source = dropouts.by_source(attn_dropout_audio, attn_dropout_vision)

        def encoder(source: str, width: int = dim, layers: int = depth) -> TransformerEncoder:
            return TransformerEncoder(width, heads, layers, by_source[source], causal)

        self.project = ShrinkingProjection("DMD", spec, self.input_dims, dim, kernels, text_dropout)
        lengths = self.project.lengths
        apart = partial(cosine_orthogonality, dim=-1 if orthogonality == "features" else 0)
        self.decouple = Decoupling(lengths, dim, lambda _: TemporalConv(dim, dim, kernel=1), apart)
        self.common = SharedFusion(used, encoder)
        self.sources = {name: [other for other in used if other != name] for name in used}
        self.crossmodal = nn.ModuleDict({f"{a}_from_{b}": encoder(b) for a in used for b in self.sources[a]})
        n, outputs, width = len(used), task.num_outputs, (len(used) - 1) * dim
        self.memory = nn.ModuleDict({name: encoder("text", width, max(depth, 3)) for name in used})
        self.shared_heads = nn.ModuleDict(
            {name: PredictionHead(dim * steps, outputs, dim, out_dropout) for name, steps in lengths.items()}
        )
        self.private_heads = nn.ModuleDict({name: PredictionHead(width, outputs, None, out_dropout) for name in used})
        self.common_head = PredictionHead(n * dim, outputs, None, out_dropout)
        self.shared_graph = GraphDistillation(used, outputs, dim, shared_hidden, _SHARED_PRIOR)
        self.private_graph = GraphDistillation(used, outputs, width, private_hidden, _PRIVATE_PRIOR, "contrast")
        self.gates = nn.ModuleDict({name: nn.Linear(width, width) for name in used})
        self.gates["common"] = nn.Linear(n * dim, n * dim)
        self.feature_dim = n * width + n * dim
        self.joint = ResidualBlock(self.feature_dim, None, out_dropout)
        self.head = nn.Linear(self.feature_dim, outputs)
        self.hidden_shape = {name: (lengths[name], width) for name in used}

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        projected = self.project({name: modality.x for name, modality in given.items()})
        parts = self.decouple(projected)
        common = self.common(parts.shared)
        reinforced = self._reinforce(parts.private)
        private = {name: read_end(self.memory[name], x) for name, x in reinforced.items()}
        gated = [self.gates[name](private[name]) for name in in_order(self.spec.modalities)]
        z = self.joint(torch.cat([*gated, self.gates["common"](common)], 1).sigmoid())
        return Output(self.classify(z), z, reinforced, aux=State(projected, parts, common, private))

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        state: State = output.aux
        distillation, reconstruction, disentanglement = self.weights
        said = self.auxiliary(state)
        split = self.decouple.losses(state.projected, state.parts, batch.target)
        shared = self.shared_graph(_logits(said.shared), {name: p.inner for name, p in said.shared.items()})
        private = self.private_graph(_logits(said.private), {name: p.joined for name, p in said.private.items()})
        losses = {
            "shared": self._charge(said.shared, batch.target),
            "private": self._charge(said.private, batch.target),
            "common": self._charge({"common": said.common}, batch.target),
            "shared_graph": distillation * (shared.logits + shared.deviation),
            "private_graph": distillation * (private.logits + private.representations + private.deviation),
            "reconstruction": reconstruction * split["reconstruction"],
            "cycle": reconstruction * split["cycle"],
            "margin": disentanglement * split["margin"],
            "orthogonality": disentanglement * split["orthogonality"],
        }
        # Equal to the mean over all samples also where the processes have shares of unequal size.
        share = distributed_mean(state.common.new_ones(len(batch), dtype=torch.float32))
        return {f"dmd/{name}": share * loss for name, loss in losses.items()}

    def auxiliary(self, state: State) -> Auxiliary:
        """Predictions that only losses need."""
        shared = {name: self.shared_heads[name](x.flatten(1)) for name, x in state.parts.shared.items()}
        private = {name: self.private_heads[name](x) for name, x in state.private.items()}
        return Auxiliary(shared, private, self.common_head(state.common))

    def _reinforce(self, private: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the others say to each step of a modality, (B, T'_m, (n - 1) d)."""
        x = {name: embed_positions(sequence, rule="released") for name, sequence in private.items()}
        return {
            name: torch.cat([self.crossmodal[f"{name}_from_{other}"](x[name], x[other]) for other in others], -1)
            for name, others in self.sources.items()
        }

    def _charge(self, said: dict[str, Prediction], target: Tensor) -> Tensor:
        """The task's loss of some predictions, summed over them."""
        return torch.stack(
            [self.task.criterion(self.task.reshape(p.logits), target).mean() for p in said.values()]
        ).sum()


def _logits(said: dict[str, Prediction]) -> dict[str, Tensor]:
    return {name: prediction.logits for name, prediction in said.items()}
