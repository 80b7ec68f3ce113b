"""IMDer: a missing modality is drawn by a diffusion that what is there leads, and the draw is refined.

Idea: a score network of each modality learns to take noise away from its sequence, given the others. So from noise
alone, led by what is there, it makes a sequence of what is missing; a network refines it, and MulT reads all three.

Input and shapes (B batch, T_m steps and D_m features of modality m, d width):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), padded to the lengths of the spec;
    output.features (B, 6d), the joint representation; output.hidden[m] (B, T'_m, 2d), what the memory of m says, where
    T'_m is T_m, or shorter by the kernel in the released variant; output.aux, a Drawn of recovery.py.

Where the paper is in the code:
    diffusion, its way back, the error of a score   functional/diffusion.py
    score network with its condition                backbones/imder/score.py
    condition, samples, refinement                  backbones/imder/recovery.py, layers/channel_attention.py
    fusion, which is MulT's                         layers/crossmodal.py

Two stages, as the authors train it:
    1. IMDer(drop_rate=0) on complete data;
    2. IMDer(pretrained=CHECKPOINT), with modalities missing in training.

What is missing in a sample is seen from ``observed``, as in DiCMoR: a modality of which nothing was observed is drawn,
by `sampler_steps` passes of a score network, in training too; other sequences are read as they are.

What is decided here:
    * in evaluation the noise of a draw is a function of the seed and of the sample's place in its split, so that a
      prediction does not hang on the batch; the seed is saved with the model. In training it is the global one;
    * a condition of another length is averaged or repeated, and a length that can't be halved three times filled up;
    * losses are means over samples, 0 for those that do not miss the modality.

Differences from the authors' code, and why; ``variant="released"`` brings its behaviour back:
    * a score learns there with the same noise on sequence and condition, though the sampler draws two; here two;
    * with two modalities missing the recovery loss is a sum there; here their mean, as in DiCMoR;
    * a norm of a score network has groups of one channel there, and the time is lost; here they have two or more;
    * convolutions and text encoder are never trained there; here they are, by the loss of the task;
    * its convolutions shorten the sequences, and a width that is d already has none; here lengths stay;
    * which modalities are missing it draws for a whole batch, by shares of an epoch, and in tests, where it samples
      with the global random state, too; here for each sample by a seed, and test conditions name it (`drop_by: batches`
      draws these shares in training).
Kept are: padding that takes part, the causal mask, positions that miss where the first channel is 0, and errors of
scores that are sums over channels and steps.

Reproduction: with complete data, and where vision is left, alone or beside one other, samples with given noise, losses
and gradients of the released code to 1e-5 (and 1e-4 of the largest entry). Scores not yet run.

References:
    Wang, Li, Cui, "Incomplete Multimodality-Diffused Emotion Recognition", NeurIPS 2023.
    Released code: mdswyz/IMDer (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.dicmor.recovery import Recovered, projected_targets, recovery_error
from mer_zoo.backbones.imder.recovery import Drawn, Recovery, check_sizes
from mer_zoo.batch import MODALITIES, Batch, BatchSource, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.drop import missing_modalities
from mer_zoo.data.missing.pattern import derive_key
from mer_zoo.data.missing.sets import BatchShares, DropBy, RandomSMM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.distributed import distributed_mean
from mer_zoo.functional.diffusion import score_error
from mer_zoo.functional.draws import normal, uniform
from mer_zoo.layers.crossmodal import CrossmodalBody
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.projection import Projections, check_recoverable
from mer_zoo.layers.sequence import check_lengths
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task
from mer_zoo.training.stage_one import continue_stage_one

__all__ = ["IMDer"]

Variant = Literal["ours", "released"]


class IMDer(Backbone):
    """Incomplete multimodality-diffused emotion recognition of Wang et al. (2023); see the module's text.

    Args:
        spec: Shapes of the data: text, audio and vision, whose lengths are part of the network.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        pretrained: Checkpoint of a run of IMDer on complete data, whose weights training starts with.
        drop_rate: Share of the training samples that lose one or two modalities, drawn anew every time.
        drop_by: Whether each of the "samples" loses them by itself, or all of the "batches", by shares of an epoch; see
            :class:`~mer_zoo.data.missing.sets.BatchShares`.
        dim: Width d, at least 8.
        heads: Heads of every encoder but the score networks'.
        depth: Layers of a cross-modal encoder; 4 for MOSI, 6 for MOSEI in the paper.
        kernels: Steps that the convolutions of text, audio and vision see.
        sampler_steps: Passes of a score network that a draw takes, at least 2.
        channels: Widths of a score network below its first level.
        time_dim: Width of its embedded time, even.
        score_heads: Heads of its attention.
        score_depth: Layers of its attention.
        groups: Most groups of channels of its norms, and of the first norm.
        refinement_depth: Blocks of the refinement of what was drawn.
        score_weight: Weight of the errors of the scores.
        recovery_weight: Weight of the recovery loss.
        attn_dropout: Attention dropout where text is the source, and of the memories.
        attn_dropout_audio: Attention dropout where audio is the source.
        attn_dropout_vision: Attention dropout where vision is the source.
        relu_dropout: Dropout behind the ReLU of each layer.
        res_dropout: Dropout of what a layer adds to its input.
        embed_dropout: Dropout of every embedded sequence.
        text_dropout: Dropout of the text input.
        out_dropout: Dropout inside the block before the classifier.
        variant: "ours", or "released" for what the released code does.
        seed: Seed of what is missing in training, and of all draws; None for the global one.

    Raises:
        MERError: If a modality is not in use, for an option out of range, heads that do not divide a width; when
            called, for a batch that is not padded to the lengths of the spec; when trained, if the checkpoint does not
            fit.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> small = {"dim": 8, "heads": 2, "depth": 1, "channels": (8, 8, 8), "time_dim": 4, "score_heads": 2}
        >>> model = IMDer(spec, task, **small, sampler_steps=2, refinement_depth=1, seed=0)
        >>> (step,) = model.steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 48]), ['imder/recovery', 'imder/score'])
    """

    prepared: Tensor
    fixed_length = True
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"pretrained": ()}

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        pretrained: str | None = None,
        drop_rate: float = 0.7,
        drop_by: DropBy = "samples",
        dim: int = 32,
        heads: int = 8,
        depth: int = 4,
        kernels: tuple[int, int, int] = (3, 3, 3),
        sampler_steps: int = 100,
        channels: tuple[int, int, int] = (64, 128, 256),
        time_dim: int = 256,
        score_heads: int = 8,
        score_depth: int = 2,
        groups: tuple[int, int] = (32, 4),
        refinement_depth: int = 20,
        score_weight: float = 0.1,
        recovery_weight: float = 0.1,
        attn_dropout: float = 0.0,
        attn_dropout_audio: float = 0.2,
        attn_dropout_vision: float = 0.0,
        relu_dropout: float = 0.0,
        res_dropout: float = 0.0,
        embed_dropout: float = 0.2,
        text_dropout: float = 0.0,
        out_dropout: float = 0.0,
        variant: Variant = "ours",
        seed: int | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("IMDer", "drop_by", drop_by, get_args(DropBy))
        check_choice("IMDer", "variant", variant, get_args(Variant))
        check_weights("IMDer", {"score_weight": score_weight, "recovery_weight": recovery_weight})
        self.pretrained, self.released = pretrained, variant == "released"
        check_recoverable("IMDer", spec, kernels, shorter=self.released)
        check_sizes(dim, sampler_steps, time_dim, groups)
        self.reads_padding = True
        self.weights = {"score": score_weight, "recovery": recovery_weight}
        self.lengths = {name: spec.length(name) for name in MODALITIES}
        self.views = IncompleteViews(BatchShares(drop_rate) if drop_by == "batches" else RandomSMM(drop_rate), seed)

        self.project = Projections(self.input_dims, dim, kernels, text_dropout, same_length=not self.released)
        sizes = (dim, channels, time_dim, score_heads, score_depth, groups)
        self.recovery = Recovery(*sizes, self.released, sampler_steps, refinement_depth)
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout, embed_dropout)
        by_source = dropouts.by_source(attn_dropout_audio, attn_dropout_vision)
        self.body = CrossmodalBody(list(MODALITIES), dim, heads, depth, by_source, dropouts, out_dropout)
        self.feature_dim = self.body.feature_dim
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        shorter = self.project.shorter
        self.hidden_shape = {name: (length - shorter(name), 2 * dim) for name, length in self.lengths.items()}
        self.register_buffer("prepared", torch.tensor(False))
        if self.released:
            self.project.requires_grad_(False)
            if self.text_encoder is not None:
                self.text_encoder.requires_grad_(False)

    @override
    def prepare(self, train: BatchSource) -> None:
        if self.prepared:
            return
        self.views.learn(train)
        # Not at construction: a trained model has all its weights and predicts without the file of stage 1.
        if self.pretrained is not None:
            continue_stage_one(self.pretrained, self, "drop_rate: 0")
        self.prepared.fill_(True)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        view: Batch = self.views(batch, self.spec)
        output: Output = self(view)
        given = self.in_use(self.encode_text(batch.text), batch.audio, batch.vision)
        complete = projected_targets(self.project, given)
        aux: Drawn = output.aux
        output = output.replace(aux=aux._replace(recovered=aux.recovered._replace(complete=complete)))
        yield Step(view, output, self.losses(output, view))

    @override
    def forward(self, batch: Batch) -> Output:
        encoded = {"text": self.encode_text(batch.text), "audio": batch.audio, "vision": batch.vision}
        output = self.fuse(encoded["text"], batch.audio, batch.vision, batch.index)
        return output.replace(inputs={name: encoded[name].x for name in self.spec.modalities})

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality, index: Tensor | None = None) -> Output:
        given = self.in_use(text, audio, vision)
        x, missing = {name: modality.x for name, modality in given.items()}, missing_modalities(given, self.spec)
        check_lengths("IMDer", x, self.lengths)
        p = self.project(x)
        gone = dict(zip(MODALITIES, missing.unbind(1), strict=True))
        samples: dict[str, Tensor] = {}
        recovered: dict[str, Tensor] = {}
        conditions: dict[str, Tensor] = {}
        # In training always, so that every parameter is in the graph of every batch.
        if self.training or bool(missing.any()):
            conditions = self.recovery(p, gone)
            samples = {name: self._draw(name, conditions[name], rows, index) for name, rows in gone.items()}
            recovered = {name: self.recovery.refine[name](drawn) for name, drawn in samples.items()}
        sequences = {
            name: torch.where(gone[name][:, None, None], recovered[name].to(s.dtype), s) if recovered else s
            for name, s in p.items()
        }
        joint, hidden = self.body({name: sequence.transpose(1, 2) for name, sequence in sequences.items()})
        aux = Drawn(samples, Recovered(recovered, missing), conditions)
        return Output(self.classify(joint), joint, hidden, aux=aux)

    def _draw(self, name: str, condition: Tensor, missing: Tensor, index: Tensor | None) -> Tensor:
        """Samples (B, d, T') of a modality where it is missing, zeros elsewhere."""
        drawn = torch.zeros_like(condition, requires_grad=False)
        rows = missing.nonzero().squeeze(1)
        if len(rows) == 0:
            return drawn
        wanted = condition.detach()[rows]
        places = torch.zeros_like(rows) if index is None else index[rows]
        return drawn.index_copy(0, rows, self.recovery.sample(name, wanted, self.noise(name, wanted, places)).to(drawn))

    def noise(self, name: str, like: Tensor, index: Tensor) -> Iterator[Tensor]:
        """Normal draws of the shape of sequences (B, d, T') for samples at some places (B,) of their split."""
        for number in count():
            yield self._normal(f"{name} {number}", like, index)

    def _key(self, what: str) -> int:
        """Of draws, which are others in each training step, and alike however samples are dealt out to processes."""
        step = f", step {self.views.count}" if self.training else ""
        return derive_key(self.views.seed, f"{what}{step}", "IMDer")

    def _normal(self, what: str, like: Tensor, index: Tensor) -> Tensor:
        counter = torch.arange(like[0].numel(), device=like.device)
        return normal(self._key(what), index, counter).view_as(like).to(like.dtype)

    def score_draws(self, name: str, like: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the error of a score needs: (B,) uniform, and the normal draws of sequences and of conditions."""
        first = torch.zeros(1, dtype=torch.long, device=like.device)
        t = uniform(self._key(f"time of {name}"), index, first).squeeze(1).to(like.dtype)
        noise = self._normal(f"noise of {name}", like, index)
        return t, noise, noise if self.released else self._normal(f"noise of the condition of {name}", like, index)

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        drawn: Drawn = output.aux
        complete = drawn.recovered.complete
        if complete is None:
            return {}
        missing = drawn.recovered.missing
        recovery = recovery_error(drawn.recovered)
        if self.released:
            recovery = recovery * missing.sum(1)
        losses = {"recovery": distributed_mean(recovery)}
        errors = []
        for i, (name, condition) in enumerate(drawn.conditions.items()):
            draws = self.score_draws(name, complete[name], batch.index)
            rows = missing[:, i].nonzero().squeeze(1)
            # One at least, so that every parameter is in the graph of every batch.
            rows = rows if len(rows) else rows.new_zeros(1)
            given = (x[rows] for x in (complete[name], condition, *draws))
            error = score_error(self.recovery.scores[name], *given)
            errors.append(distributed_mean(error.new_zeros(len(missing)).index_copy(0, rows, error) * missing[:, i]))
        losses["score"] = torch.stack(errors).sum() if errors else torch.zeros_like(losses["recovery"])
        return {f"imder/{name}": self.weights[name] * loss for name, loss in losses.items()}
