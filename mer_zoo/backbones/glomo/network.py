"""GLoMo: what each modality says as a whole, and in parts of which experts choose; six tokens attend to each other.

Idea: a modality is read at two scales. Globally it is one vector. Locally its sequence is cut into a few chunks, of
which the largest value of each channel is kept, and a sparse mixture of experts makes one vector of them. Global and
local vectors of all modalities are tokens of one short sequence, over which a transformer runs; sums of its outputs,
weighted by an attention over modalities, are what is classified.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, d width):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v); T_m may differ. Behind a text
    encoder, text is its last two layers, side by side: (B, T_t, 2 D_t);
    output.features (B, 2d); output.hidden[m] (B, T_m, d), audio and vision encoded, text its last layer convolved;
    output.aux, a :class:`Routing`: the mixtures' gates and penalties, and the weights of the modalities.

Where the paper is in the code:
    chunks of the local representation        layers/sequence.py, masked_chunks
    mixture of experts                        backbones/glomo/experts.py, functional/mixture.py
    fusion of global and local tokens         GLoMo.fusion, AttentionSum, GLoMo.fuse

Missing modalities have no protocol of their own: incomplete views come in as zeros and [UNK].

What is decided here:
    * one or two modalities work: 2n tokens, attention over n modalities, for one none;
    * text features, of which there is one layer, have the mean of their steps for a global vector, and chunks of that
      layer; behind an encoder it is [CLS];
    * gate_noise: the gates of training can do without noise.

Differences from the authors' code, and why; ``variant="released"`` brings its behaviour back:
    * padding takes part there in convolutions, attention, chunks and maxima; here it is hidden from all;
    * the last two layers of BERT follow each other in time there and are convolved over the seam; here each is
      convolved by itself;
    * no position is given there where the first channel is 0; here real steps are counted;
    * experts are mixed there in log space, which is no mean and overflows beyond 88; here by the weighted sum;
    * the expected load has a normal distribution of mean 0.1 there; here 0, that of the noise.
The optimiser there is made anew in each epoch, and the test split is looked at in each; here neither is done.

Reproduction: outputs, losses and gradients of the released code to 1e-5. Scores not yet run.

References:
    Zhuang et al., "GLoMo: Global-Local Modal Fusion for Multimodal Sentiment Analysis", ACM MM 2024.
    Released code: YetZzzzzz/GLoMo (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.glomo.experts import AttentionSum, MixtureOfExperts, Routed, weighted_sum
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.positions import PositionRule, embed_positions
from mer_zoo.layers.sequence import TextPool, masked_chunks, pool_text, zero_padding
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.transformer import TransformerEncoder
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["GLoMo", "Routing"]

Variant = Literal["ours", "released"]


class Routing(NamedTuple):
    """What the losses need and what can be looked at.

    Args:
        mixtures: What the mixture of experts of each modality says, with its gates and its penalty.
        weights: (B, n) of the modalities' global and local tokens.
    """

    mixtures: dict[str, Routed]
    weights: dict[str, Tensor]


class GLoMo(Backbone):
    """Global-local modal fusion of Zhuang et al. (2024); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; any modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d; 48 for MOSI, 192 for MOSEI in the paper.
        heads: Heads of the encoders and of the fusion; divides d.
        depth: Layers of the encoders of audio and vision; 4 for MOSI, 3 for MOSEI in the paper.
        chunks: Chunks of text, audio and vision.
        experts: Experts of text, audio and vision.
        k: How many experts a sample goes to.
        gate_noise: Whether the gates are noisy in training, where k is less than the number of experts.
        fusion_depth: Layers of the fusion.
        ffn_dim: Width of its feed-forward parts.
        attn_dropout: Dropout of the attention weights of the encoders.
        relu_dropout: Dropout behind their ReLUs.
        res_dropout: Dropout of what they add.
        embed_dropout: Dropout of what they read.
        fusion_dropout: Dropout of the fusion.
        pool_dropout: Dropout inside the attention over modalities.
        variant: "ours", or "released" for what the released code does.

    Raises:
        MERError: For an unknown variant, heads that do not divide the width, a width below 4, or k beyond the experts.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> (step,) = GLoMo(spec, task, dim=8, heads=2, depth=1, ffn_dim=16).steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, list(step.losses)
        (torch.Size([3, 16]), ['glomo/balance'])
    """

    text_layers = 2

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 48,
        heads: int = 16,
        depth: int = 4,
        chunks: tuple[int, int, int] = (3, 3, 3),
        experts: tuple[int, int, int] = (3, 3, 3),
        k: int = 2,
        gate_noise: bool = True,
        fusion_depth: int = 2,
        ffn_dim: int = 2048,
        attn_dropout: float = 0.5,
        relu_dropout: float = 0.3,
        res_dropout: float = 0.3,
        embed_dropout: float = 0.2,
        fusion_dropout: float = 0.1,
        pool_dropout: float = 0.3,
        variant: Variant = "ours",
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("GLoMo", "variant", variant, get_args(Variant))
        _check_sizes(dim, heads, chunks, ffn_dim)
        self.released = variant == "released"
        self.fixed_length = self.reads_padding = self.released
        self.positions: PositionRule = "released" if self.released else "time"
        self.text_pool: TextPool = "mean" if self.text_encoder is None and not self.released else "first"
        self.layers_read = 1 if self.text_encoder is None else self.text_layers
        self.chunks = dict(zip(MODALITIES, chunks, strict=True))
        number = dict(zip(MODALITIES, experts, strict=True))
        read = {name: d // self.layers_read if name == "text" else d for name, d in self.input_dims.items()}
        count = len(read)

        self.project = nn.ModuleDict({name: TemporalConv(d, dim, 3) for name, d in read.items()})
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout, embed_dropout)
        self.encoders = nn.ModuleDict(
            {name: TransformerEncoder(dim, heads, depth, dropouts) for name in read if name != "text"}
        )
        self.summary = nn.Linear(read["text"], dim) if "text" in read else None
        self.mixtures = nn.ModuleDict(
            {
                name: MixtureOfExperts(self.chunks[name] * dim, dim, number[name], k, gate_noise, self.released)
                for name in read
            }
        )
        self.fusion = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, ffn_dim, fusion_dropout, batch_first=True)
            for _ in range(fusion_depth)
        )
        self.sums = nn.ModuleDict({scale: AttentionSum(count, dim, pool_dropout) for scale in ("global", "local")})
        self.join_scales = nn.Linear(2 * dim, dim)
        self.join = nn.ModuleDict({name: nn.Linear(2 * dim, dim) for name in read})
        self.feature_dim = 2 * dim
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        self.hidden_shape = {name: (spec.length(name), dim) for name in read}
        _start(self)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        tokens: list[Tensor] = []
        hidden: dict[str, Tensor] = {}
        mixtures: dict[str, Routed] = {}
        for name, modality in self.in_use(text, audio, vision).items():
            whole, sequence, mask = self._read_text(modality) if name == "text" else self._read(name, modality)
            chunked = masked_chunks(sequence, mask, self.chunks[name])
            mixtures[name] = self.mixtures[name](chunked.transpose(1, 2).flatten(1))
            tokens += [whole, mixtures[name].said]
            hidden[name] = sequence[:, : modality.x.shape[1]]
        h = torch.stack(tokens, 1)
        for layer in self.fusion:
            h = layer(h)
        wholes, parts = h[:, ::2], h[:, 1::2]
        of_wholes, weights = self.sums["global"](wholes)
        of_parts, local_weights = self.sums["local"](parts)
        by_scale = self.join_scales(torch.cat([of_wholes, of_parts], 1))
        pairs = torch.cat([wholes, parts], 2)
        joined = torch.stack([join(pairs[:, i]) for i, join in enumerate(self.join.values())], 1)
        features = torch.cat([by_scale, weighted_sum(joined, weights)], 1)
        routing = Routing(mixtures, {"global": weights, "local": local_weights})
        return Output(self.classify(features), features, hidden, aux=routing)

    def _seen(self, modality: Modality) -> Tensor:
        return torch.ones_like(modality.mask) if self.released else modality.mask

    def _read_text(self, text: Modality) -> tuple[Tensor, Tensor, Tensor]:
        """Global vector (B, d), and the sequence (B, layers T, d) of all layers with its mask, the last layer first."""
        mask = self._seen(text)
        layers = zero_padding(text.x, mask).chunk(self.layers_read, -1)
        assert self.summary is not None
        whole: Tensor = self.summary(pool_text(layers[0], mask, self.text_pool))
        project = self.project["text"]
        sequence = project(torch.cat(layers, 1)) if self.released else torch.cat([project(x) for x in layers], 1)
        mask = mask.repeat(1, len(layers))
        return whole, zero_padding(sequence, mask), mask

    def _read(self, name: str, modality: Modality) -> tuple[Tensor, Tensor, Tensor]:
        """Global vector (B, d), and the encoded sequence (B, T, d) with its mask."""
        mask = self._seen(modality)
        x = zero_padding(self.project[name](zero_padding(modality.x, mask)), mask)
        sequence = self.encoders[name](embed_positions(x, mask, self.positions), mask=mask)
        return masked_chunks(sequence, mask, 1).squeeze(1), zero_padding(sequence, mask), mask

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        mixtures: Mapping[str, Routed] = output.aux.mixtures
        return {"glomo/balance": torch.stack([routed.balance for routed in mixtures.values()]).sum()}


def _check_sizes(dim: int, heads: int, chunks: tuple[int, int, int], ffn_dim: int) -> None:
    if dim < 4 or heads < 1 or dim % heads:
        raise MERError(f"dim of GLoMo is {dim} with {heads} heads; give a dim of at least 4 that the heads divide")
    if min(chunks) < 1 or ffn_dim < 1:
        raise MERError(f"chunks {list(chunks)} and ffn_dim {ffn_dim} of GLoMo must be at least 1")


def _start(model: GLoMo) -> None:
    """Weights as BERT's start, in all of the network but the text encoder."""
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear) and not name.startswith("text_encoder."):
            nn.init.normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
