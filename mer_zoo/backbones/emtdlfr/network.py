"""EMT-DLFR: an efficient multimodal transformer, trained to restore what an incomplete view has lost on two levels.

Idea: instead of asking every other modality, each one talks to a few global tokens, one a modality. In training, a
complete and an incomplete view go through the same network; their utterance vectors and global tokens are drawn to one
another (high level), and the lost frames are predicted from the incomplete view (low level).

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, d width, U_m width of an
utterance vector):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v); T_m may differ;
    output.features (B, f); output.hidden[m] (B, T_m, d), zero at padding and at the token that is the utterance vector;
    aux.incomplete.vectors: "tokens" (B, n d) and (B, U_m) of each modality.

Where the paper is in the code:
    unimodal encoders, utterance vectors   EMTDLFR._encode, layers/recurrent.py, LSTMEncoder
    mutual promotion units, pooling        backbones/emtdlfr/emt.py
    high-level attraction (SimSiam)        backbones/emtdlfr/simsiam.py, functional/restoration.py, attraction
    low-level reconstruction               EMTDLFR.decoders, functional/restoration.py, frame_error
    losses of both views                   EMTDLFR.both, EMTDLFR.losses

What is decided here:
    * only a text encoder makes its first token stand for the utterance; elsewhere its vector is the mean of the text
      (text_pool);
    * one or two modalities work; there are then as many global tokens.

Differences from the authors' code, and why:
    * the incomplete view is drawn anew every time, the code's from fixed seeds. rate "per_sample" draws the rate of
      each sample in [0, 1), so that one training serves all rates; the code trains once for every rate, as a number
      does here;
    * each batch norm uses its running statistics where a batch has one sample; the code can't read such a batch;
    * positions are counted from the first real step, so that padding may stand in front, too;
    * where only the separator follows the first token, it is a key; the code then attends to padding, too.
    Kept: the complete view has a task loss, too, weighted as part of the attraction; the last real token is no key.

Reproduction: outputs and losses of the released code in both views to 1e-5 (tests/backbones/emtdlfr/test_network.py);
accuracy not yet run.

References:
    Sun et al., "Efficient Multimodal Transformer with Dual-Level Feature Restoration for Robust Multimodal Sentiment
    Analysis", IEEE Transactions on Affective Computing, 2023, arXiv:2208.07589.
    Released code: sunlicai/EMT-DLFR (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.emtdlfr.emt import EMT
from mer_zoo.backbones.emtdlfr.packing import Packing
from mer_zoo.backbones.emtdlfr.simsiam import SimSiam
from mer_zoo.backbones.emtdlfr.views import Restoration, View, stack
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.frames import RMFM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.distributed import distributed_mean
from mer_zoo.functional.dropout import dropout
from mer_zoo.functional.restoration import FrameLoss, attraction, frame_error
from mer_zoo.layers.positions import interleaved_positions
from mer_zoo.layers.recurrent import LSTMEncoder
from mer_zoo.layers.sequence import TextPool, pool_text
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task

__all__ = ["EMTDLFR"]

Activation = Literal["tanh", "relu"]


class EMTDLFR(Backbone):
    """EMT-DLFR of Sun et al. (2023); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d of steps and global tokens.
        depth: Layers of the transformer.
        heads: Heads of its attentions; divides d.
        lstm_dims: Width of the state of the LSTMs of audio and vision.
        utterance_dims: Width of the utterance vectors of audio and vision.
        ff_expansion: Hidden width of the feed-forward parts, in multiples of d.
        share_directions: Whether steps and tokens are promoted by the same unit.
        share_modalities: Whether all modalities have the same units.
        share_layers: Whether all layers have the same units and pooling.
        pool_activation: Of the attention that pools the global tokens.
        text_pool: The utterance vector of the text: its "first" token, or the "mean"; None for the first token, [CLS],
            with a text encoder, and the mean without, where [CLS] is the same in every text.
        attn_dropout: Dropout of the attention weights.
        res_dropout: Dropout of what the feed-forward parts add.
        lstm_dropout: Dropout of the last state of the LSTMs, between an LSTM and its map to the utterance vector.
        fusion_dim: Width f of the joint representation.
        out_dropout: Dropout of what enters the layers before the classifier.
        predictor_dims: Hidden widths of SimSiam's predictors for the global tokens, text, audio and vision.
        frame_loss: Error of predicted frames, "smooth_l1" or "mse".
        attraction_weight: Weight of the attractions and of the complete view's task loss.
        reconstruction_weight: Weight of the errors of predicted frames.
        rate: Share of frames missing from the training views, a number or, drawn for each sample, "per_sample".
        seed: Seed of the views; None for the global one.

    Raises:
        MERError: For heads that do not divide the width, no layer, or an option out of range.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> model = EMTDLFR(DataSpec(), SentimentRegression(), dim=8, heads=2)
        >>> (step,) = model.steps(Batch.random(model.spec, model.task, size=4))
        >>> len(step.losses)
        8
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 128,
        depth: int = 3,
        heads: int = 4,
        lstm_dims: tuple[int, int] = (32, 64),
        utterance_dims: tuple[int, int] = (16, 32),
        ff_expansion: int = 4,
        share_directions: bool = True,
        share_modalities: bool = True,
        share_layers: bool = True,
        pool_activation: Activation = "tanh",
        text_pool: TextPool | None = None,
        attn_dropout: float = 0.3,
        res_dropout: float = 0.1,
        lstm_dropout: float = 0.0,
        fusion_dim: int = 256,
        out_dropout: float = 0.3,
        predictor_dims: tuple[int, int, int, int] = (128, 256, 8, 16),
        frame_loss: FrameLoss = "smooth_l1",
        attraction_weight: float = 1.0,
        reconstruction_weight: float = 1.0,
        rate: float | Literal["per_sample"] = "per_sample",
        seed: int | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        used = spec.modalities
        self.text_pool: TextPool = text_pool or ("mean" if self.text_encoder is None else "first")
        check_choice("EMTDLFR", "text_pool", self.text_pool, ("first", "mean"))
        check_choice("EMTDLFR", "frame_loss", frame_loss, ("smooth_l1", "mse"))
        self.attraction_weight, self.reconstruction_weight = attraction_weight, reconstruction_weight
        weights = {"attraction_weight": attraction_weight, "reconstruction_weight": reconstruction_weight}
        check_weights("EMTDLFR", weights)
        self.frame_loss, self.out_dropout = frame_loss, out_dropout
        self.views = IncompleteViews(RMFM(rate), seed)
        sizes = {"audio": (lstm_dims[0], utterance_dims[0]), "vision": (lstm_dims[1], utterance_dims[1])}
        self.encoders = nn.ModuleDict(
            {name: LSTMEncoder(self.input_dims[name], *sizes[name], lstm_dropout) for name in used if name != "text"}
        )
        widths = {name: sizes[name][1] if name in sizes else self.input_dims[name] for name in used}
        self.project = nn.ModuleDict(
            {name: nn.Linear(width, dim, bias=False) for name, width in widths.items() if width != dim}
        )
        sharing = (share_directions, share_modalities, share_layers)
        self.fusion = EMT(used, dim, heads, depth, ff_expansion, *sharing, pool_activation, attn_dropout, res_dropout)
        widths = {"tokens": len(used) * dim} | widths
        hidden = dict(zip(("tokens", *MODALITIES), predictor_dims, strict=True))
        self.simsiam = nn.ModuleDict({name: SimSiam(width, hidden[name]) for name, width in widths.items()})
        self.decoders = nn.ModuleDict({name: nn.Linear(dim, self.input_dims[name]) for name in used})
        self.fc1, self.fc2 = nn.Linear(sum(widths.values()), fusion_dim), nn.Linear(fusion_dim, fusion_dim)
        self.feature_dim = fusion_dim
        self.head = nn.Linear(fusion_dim, task.num_outputs)
        self.hidden_shape = {name: (spec.length(name), dim) for name in used}

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        (features, _), hidden = self._view(self.in_use(text, audio, vision))
        return Output(self.classify(features), features, hidden)

    @override
    def forward(self, batch: Batch, incomplete: Batch | None = None) -> Output:
        return super().forward(batch) if incomplete is None else self.both(batch, incomplete)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        incomplete: Batch = self.views(batch, self.spec)
        output: Output = self(batch, incomplete)
        yield Step(incomplete, output, self.losses(output, incomplete))

    def both(self, complete: Batch, incomplete: Batch) -> Output:
        """Pass two views of the same samples through the network, side by side.

        Args:
            complete: The complete view.
            incomplete: The view with missing frames, with the same masks.

        Returns:
            The output on the incomplete view, with a :class:`Restoration` in place of hidden sequences.
        """
        size, used = len(complete), self.spec.modalities
        given = {name: stack(complete.modality(name), incomplete.modality(name)) for name in used}
        if "text" in given:
            given["text"] = self.encode_text(given["text"])
        lost = {name: self._lost(name, complete.modality(name), incomplete.modality(name)) for name in used}
        both, hidden = self._view(given, size, lost)
        rows = (slice(size), slice(size, None))
        first, second = (View(both.features[i], {name: x[i] for name, x in both.vectors.items()}) for i in rows)
        frames = {name: modality.x[:size].detach() for name, modality in given.items()}
        inputs = {name: modality.x[size:] for name, modality in given.items()}
        aux = Restoration(first, second, hidden, frames, lost)
        return Output(self.classify(second.features), second.features, inputs=inputs, aux=aux)

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        if output.aux is None:
            return {}
        aux: Restoration = output.aux
        losses = {}
        for name, simsiam in self.simsiam.items():
            # One view after the other: each has its own batch statistics.
            z, p = simsiam(aux.complete.vectors[name])
            error = attraction(z, p, *simsiam(aux.incomplete.vectors[name]))
            losses[f"attraction_{name}"] = self.attraction_weight * distributed_mean(error)
        if self.has_head:  # a wrapper's own head scores the incomplete view alone
            error = self.task.criterion(self.classify(aux.complete.features), batch.target)
            losses["complete"] = self.attraction_weight * distributed_mean(error)
        for name, decode in self.decoders.items():
            error = frame_error(decode(aux.hidden[name]), aux.frames[name], self.frame_loss)
            error = distributed_mean(error, aux.lost[name].to(error.dtype))
            losses[f"reconstruction_{name}"] = self.reconstruction_weight * error
        return {f"emtdlfr/{name}": loss for name, loss in losses.items()}

    def _view(
        self, given: Mapping[str, Modality], start: int = 0, wanted: Mapping[str, Tensor] | None = None
    ) -> tuple[View, dict[str, Tensor]]:
        """Run the network; its steps are the wanted ones of the samples from ``start`` on."""
        utterances, x, packings = {}, {}, {}
        for name in self.spec.modalities:
            mask, keys = self._steps(name, given[name])
            packings[name] = Packing(mask, keys)
            utterances[name], states = self._encode(name, given[name])
            states = self._equalise(name, states)
            x[name] = packings[name].pack(states + interleaved_positions(states, mask))
        tokens = torch.stack([self._equalise(name, vector) for name, vector in utterances.items()], 1)
        hidden, tokens = self.fusion(x, tokens, packings, start, wanted)
        vectors = {"tokens": tokens.flatten(1)} | utterances
        joint = dropout(torch.cat([*utterances.values(), vectors["tokens"]], 1), self.out_dropout, self.training)
        features = F.relu(self.fc2(F.relu(self.fc1(joint))))
        return View(features, vectors), hidden

    def _encode(self, name: str, modality: Modality) -> tuple[Tensor, Tensor]:
        """Utterance vector and steps of a modality."""
        if name in self.encoders:
            states, utterance = self.encoders[name](modality.x, modality.mask)
            return utterance, states
        return pool_text(modality.x, modality.mask, self.text_pool), modality.x

    def _equalise(self, name: str, x: Tensor) -> Tensor:
        equal: Tensor = self.project[name](x) if name in self.project else x
        return equal

    def _steps(self, name: str, modality: Modality) -> tuple[Tensor, Tensor]:
        """Which steps (B, T) of a modality are fused beside its utterance vector, and which of them are keys."""
        mask = modality.mask
        if name != "text":
            return mask, mask
        place = mask.cumsum(1)
        if self.text_pool == "first":
            mask = mask & (place > 1)
        return mask, mask & (place < place[:, -1:]) if self.spec.tokens else mask

    def _lost(self, name: str, complete: Modality, incomplete: Modality) -> Tensor:
        return self._steps(name, complete)[0] & complete.observed & ~incomplete.observed
