"""TFR-Net: an incomplete sample is read by cross-modal transformers, and training makes the lost frames of it.

Idea: frames and words of all modalities are missing at random. Each modality attends to itself and to the others; of
that a generator makes the frames which the view has lost, so that what the encoders say holds them, and a gated
recurrent pooling makes one vector of each modality, of which the score comes.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, d width, u_m width of a pooled
vector):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v); T_m may differ, and a generator is
    built for the lengths of the spec;
    output.features (B, sum of u_m); output.hidden[m] (B, T_m, n d), what the encoders say; output.aux, a
    :class:`Lost`, in training.

Where the paper is in the code:
    encoders within and between modalities   TFRNet.encode, layers/transformer.py
    feature reconstruction                   backbones/tfrnet/generator.py
    gated fusion                             backbones/tfrnet/pooling.py

Missing modalities: the view of training has positions missing at random, each modality by itself, at a rate drawn for
each sample; test conditions name theirs. Whole modalities missing are zeros and [UNK], and a prediction never runs the
generator.

What is decided here:
    * one or two modalities work: as many parts of what the encoders say;
    * a generator's heads are the largest number up to 25 that divides the length;
    * reconstruct_after: the authors leave the reconstruction out of the first epoch; here it counts from the first
      batch on, or after so many.

Differences from the authors' code, and why; ``variant="released"`` brings its behaviour back:
    * the second encoder, of the generator, takes the batch for the sequence: a channel of a sample attends to the same
      channel of the samples before it. Here the channels of a sample attend to each other, as printed;
    * padding takes part there in encoders, moments and the pooling's maximum; here it is hidden, and sequences are as
      long as a batch needs;
    * what the generator is to make of the text learns there too; here it is given;
    * no position is given there where the first channel is 0, and a width that is d already has no convolution;
    * a sample without a real step stops its code; here its vector is zero.
Its own repository has no distance of moments (`similarity_weight: 0`), MMSA has; both divide it by the number of lost
values, which is kept. What is missing it draws once, at loading, at one rate for training and tests; here anew for each
batch. It adds gradients up over four batches while it steps after each; here a step has the gradient of its batch.

Reproduction: outputs, losses and gradients of the usual code (MMSA) to 1e-5. Scores not yet run.

References:
    Yuan, Li, Xu, Yu, "Transformer-based Feature Reconstruction Network for Robust Multimodal Sentiment Analysis", ACM
    MM 2021.
    Released code: thuiar/TFR-Net, thuiar/MMSA (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.tfrnet.generator import Generator, reconstruction_loss
from mer_zoo.backbones.tfrnet.pooling import GatedPooling
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.frames import RMFM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.batch_norm import BatchNorm
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.positions import PositionRule, embed_positions
from mer_zoo.layers.sequence import zero_padding
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.transformer import TransformerEncoder
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task

__all__ = ["Lost", "TFRNet"]

Variant = Literal["ours", "released"]


class Lost(NamedTuple):
    """What the generators are to make.

    Args:
        frames: Modality to (B, T, D) of the complete batch, text encoded.
        positions: Modality to (B, T) bool, which of them the view has lost.
        counts: Whether the reconstruction is learnt already.
    """

    frames: dict[str, Tensor]
    positions: dict[str, Tensor]
    counts: bool = True


class TFRNet(Backbone):
    """Transformer-based feature reconstruction network of Yuan et al. (2021); see the module's text.

    Args:
        spec: Shapes of the data, whose lengths are part of the network; any modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d.
        heads: Heads of the encoders; divides d.
        depth: Layers of an encoder between modalities; one within a modality, and the generators', has max(depth, 3).
        kernels: Steps that the convolutions of text, audio and vision see.
        generator_heads: Most heads of a generator, see :class:`~mer_zoo.backbones.tfrnet.generator.Generator`.
        fusion_dims: Widths u of the pooled text, audio and vision.
        gru_depth: Layers of the GRUs of the pooling.
        hidden_dim: Width of the layer before the last.
        reconstruction_weights: Weights of the reconstruction of text, audio and vision.
        similarity_weight: Weight of the distance of moments within them.
        reconstruct_after: Batches of training before the reconstruction is learnt.
        text_dropout: Dropout of the text input.
        attn_dropout: Attention dropout where text is the source, within modalities and of the generators.
        attn_dropout_audio: Attention dropout where audio is the source.
        attn_dropout_vision: Attention dropout where vision is the source.
        relu_dropout: Dropout behind the ReLU of each layer.
        res_dropout: Dropout of what a layer adds to its input.
        embed_dropout: Dropout of every embedded sequence.
        fusion_dropout: Dropout of the pooled vectors.
        out_dropout: Dropout before the last layer.
        rate: Share of positions missing from the training views, a number or, drawn for each sample, "per_sample".
        variant: "ours", or "released" for what the released code does.
        seed: Seed of the views; None for the global one.

    Raises:
        MERError: For an option out of range, heads that do not divide the width, a width below 4.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> model = TFRNet(spec, task, dim=8, heads=2, depth=1, rate=0.5, seed=0)
        >>> (step,) = model.steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 104]), ['tfrnet/audio', 'tfrnet/text', 'tfrnet/vision'])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 30,
        heads: int = 6,
        depth: int = 3,
        kernels: tuple[int, int, int] = (1, 5, 3),
        generator_heads: int = 25,
        fusion_dims: tuple[int, int, int] = (36, 20, 48),
        gru_depth: int = 3,
        hidden_dim: int = 128,
        reconstruction_weights: tuple[float, float, float] = (5.0, 2.0, 20.0),
        similarity_weight: float = 5.0,
        reconstruct_after: int = 0,
        text_dropout: float = 0.2,
        attn_dropout: float = 0.2,
        attn_dropout_audio: float = 0.1,
        attn_dropout_vision: float = 0.0,
        relu_dropout: float = 0.2,
        res_dropout: float = 0.2,
        embed_dropout: float = 0.2,
        fusion_dropout: float = 0.2,
        out_dropout: float = 0.0,
        rate: float | Literal["per_sample"] = "per_sample",
        variant: Variant = "ours",
        seed: int | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("TFRNet", "variant", variant, get_args(Variant))
        self.weights = dict(zip(MODALITIES, reconstruction_weights, strict=True))
        check_weights("TFRNet", {f"reconstruction_weights of {name}": weight for name, weight in self.weights.items()})
        check_weights("TFRNet", {"similarity_weight": similarity_weight})
        _check_sizes(kernels, generator_heads, reconstruct_after)
        self.released = self.fixed_length = self.reads_padding = variant == "released"
        self.positions: PositionRule = "released" if self.released else "time"
        self.similarity_weight, self.reconstruct_after = similarity_weight, reconstruct_after
        self.text_dropout, self.fusion_dropout = text_dropout, fusion_dropout
        self.views = IncompleteViews(RMFM(rate), seed)
        used = spec.modalities
        self.sources = {name: [other for other in used if other != name] for name in used}

        self.project = nn.ModuleDict(
            {
                name: TemporalConv(self.input_dims[name], dim, kernel)
                for name, kernel in zip(MODALITIES, kernels, strict=True)
                if name in used and not (self.released and self.input_dims[name] == dim)
            }
        )
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout, embed_dropout)
        by_source = dropouts.by_source(attn_dropout_audio, attn_dropout_vision)
        deeper = max(depth, 3)
        self.memory = nn.ModuleDict(
            {name: TransformerEncoder(dim, heads, deeper, dropouts, causal=True) for name in used}
        )
        self.crossmodal = nn.ModuleDict(
            {
                f"{a}_from_{b}": TransformerEncoder(dim, heads, depth, by_source[b], causal=True)
                for a in used
                for b in self.sources[a]
            }
        )
        width = len(used) * dim
        self.generators = nn.ModuleDict(
            {
                name: Generator(
                    width, self.input_dims[name], spec.length(name), generator_heads, deeper, dropouts, self.released
                )
                for name in used
            }
        )
        sizes = {name: size for name, size in zip(MODALITIES, fusion_dims, strict=True) if name in used}
        self.pooling = nn.ModuleDict(
            {name: GatedPooling(width, size, gru_depth, self.released) for name, size in sizes.items()}
        )
        self.feature_dim = sum(sizes.values())
        self.head = nn.Sequential(
            BatchNorm(self.feature_dim),
            nn.Linear(self.feature_dim, hidden_dim),
            nn.LeakyReLU(),
            nn.Dropout(out_dropout),
            nn.Linear(hidden_dim, task.num_outputs),
        )
        self.hidden_shape = {name: (spec.length(name), width) for name in used}

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        counts = self.views.count >= self.reconstruct_after
        view: Batch = self.views(batch, self.spec)
        output: Output = self(view)
        # The complete text is encoded only to be aimed at, which needs no gradient.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.released):
            complete = self.in_use(self.encode_text(batch.text), batch.audio, batch.vision)
        positions = {
            name: given.mask & given.observed & ~view.modality(name).observed for name, given in complete.items()
        }
        output = output.replace(aux=Lost({name: given.x for name, given in complete.items()}, positions, counts))
        yield Step(view, output, self.losses(output, view))

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        hidden = self.encode(given)
        pooled = [self.pooling[name](hidden[name], modality.mask) for name, modality in given.items()]
        features = torch.cat([dropout(vector, self.fusion_dropout, self.training) for vector in pooled], 1)
        return Output(self.classify(features), features, hidden)

    def encode(self, given: Mapping[str, Modality]) -> dict[str, Tensor]:
        """What each modality says of itself and asks of the others, (B, T_m, n d)."""
        masks = {name: None if self.released else modality.mask for name, modality in given.items()}
        embedded = {}
        for name, modality in given.items():
            x = modality.x if self.released else zero_padding(modality.x, modality.mask)
            if name == "text":
                x = dropout(x, self.text_dropout, self.training)
            x = self.project[name](x) if name in self.project else x
            embedded[name] = embed_positions(x, masks[name], self.positions)
        hidden = {}
        for name, sources in self.sources.items():
            said = [self.memory[name](embedded[name], mask=masks[name])]
            for other in sources:
                encoder = self.crossmodal[f"{name}_from_{other}"]
                said.append(encoder(embedded[name], embedded[other], masks[name], masks[other]))
            hidden[name] = torch.cat(said, 2)
            if not self.released:
                hidden[name] = zero_padding(hidden[name], given[name].mask)
        return hidden

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        lost: Lost | None = output.aux
        if lost is None or output.hidden is None:
            return {}
        losses = {}
        for name, generate in self.generators.items():
            made = generate(output.hidden[name], batch.modality(name).mask)
            error = reconstruction_loss(
                made, lost.frames[name], lost.positions[name], self.similarity_weight, all_rows=self.released
            )
            losses[f"tfrnet/{name}"] = lost.counts * self.weights[name] * error
        return losses


def _check_sizes(kernels: tuple[int, int, int], generator_heads: int, reconstruct_after: int) -> None:
    if min(kernels) < 1 or generator_heads < 1:
        raise MERError(f"kernels {list(kernels)} and generator_heads {generator_heads} of TFRNet must be at least 1")
    if reconstruct_after < 0:
        raise MERError(f"reconstruct_after of TFRNet is {reconstruct_after}; give a number of batches, at least 0")
