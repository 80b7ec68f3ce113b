"""DiCMoR: a missing modality is made of the others by invertible flows that meet in the same class distributions.

Idea: one flow for each modality leads its sequence into a latent space, where all modalities of a class have the same
normal distribution. So a latent sequence of what is there, led back by the flow of what is not, is a first guess of it;
guesses from two modalities are joined, a network refines them, and MulT reads the recovered sequences.

Input and shapes (B batch, T_m steps and D_m features of modality m, d width):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), padded to the lengths of the spec;
    output.features (B, 6d), the joint representation; output.hidden[m] (B, T'_m, 2d), what the memory of m says, where
    T'_m is T_m, or shorter by the kernel in the released variant; output.aux, a Recovered of recovery.py.

Where the paper is in the code:
    flows and class distributions         backbones/dicmor/flow.py
    recovery of a missing modality        backbones/dicmor/recovery.py, layers/channel_attention.py
    fusion, which is MulT's               layers/crossmodal.py

Two stages, as the authors train it:
    1. DiCMoR(drop_rate=0) on complete data;
    2. DiCMoR(pretrained=CHECKPOINT), with modalities missing in training.

What is missing in a sample is seen from ``observed``, as in MPLMM: a modality of which nothing was observed is
recovered; of a sample of which nothing at all was, and where a part is missing, sequences are read as they are.
Recovery targets and likelihoods are of the complete batch; no prediction looks at them. The flows cost most: training
runs each on the complete batch, and both lead back, join and refine only samples that miss the modality.

What is decided here:
    * guesses from a sequence of another length are averaged or repeated to the length of the missing one;
    * classes of a score are those of :meth:`Task.grades <mer_zoo.task.Task.grades>`; several emotions have one
      distribution;
    * the recovery loss is a mean over the missing modalities of each sample, then over samples;
    * what a flow leads back is cut at 100: a latent sequence far from those of its own modality may lead beyond all
      numbers (`flow: couplings` cuts nothing);
    * scalings of the flows start at 1, not at the statistics of a first batch.

Differences from the authors' code, and why; ``variant="released"`` brings its behaviour back:
    * flow: of Glow it runs the couplings alone, so that the first half of the channels never changes; here, as printed,
      each comes behind a scaling and an invertible mixing;
    * convolutions and text encoder are never trained there; here they are, by the loss of the task;
    * its convolutions shorten the sequences, and a width that is d already has none; here lengths stay;
    * which modalities are missing it draws for a whole batch, by shares of an epoch that only add up to the rate for
      many batches, in tests too, from the random state; here for each sample by a seed, and test conditions name it
      (`drop_by: batches` draws these shares in training).
Kept are: padding that takes part, the causal mask, positions that miss where the first channel is 0, and that a
likelihood above 1 is no loss, so that flows whose sequences are that likely learn no more.

Reproduction: all seven sets of modalities, likelihoods, losses and gradients of the released code to 1e-5. Scores not
yet run.

References:
    Wang, Cui, Li, "Distribution-Consistent Modal Recovering for Incomplete Multimodal Learning", ICCV 2023.
    Released code: mdswyz/DiCMoR (Apache-2.0); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.dicmor.flow import FlowKind
from mer_zoo.backbones.dicmor.recovery import Recovered, Recovery, projected_targets, recovery_error
from mer_zoo.batch import MODALITIES, Batch, BatchSource, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.drop import missing_modalities
from mer_zoo.data.missing.sets import BatchShares, DropBy, RandomSMM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.layers.crossmodal import CrossmodalBody
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.projection import Projections, check_recoverable
from mer_zoo.layers.sequence import check_lengths
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task
from mer_zoo.training.stage_one import continue_stage_one

__all__ = ["DiCMoR"]

Variant = Literal["ours", "released"]


class DiCMoR(Backbone):
    """Distribution-consistent modal recovering of Wang et al. (2023); see the module's text.

    Args:
        spec: Shapes of the data: text, audio and vision, whose lengths are part of the network.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        pretrained: Checkpoint of a run of DiCMoR on complete data, whose weights training starts with.
        drop_rate: Share of the training samples that lose one or two modalities, drawn anew every time.
        drop_by: Whether each of the "samples" loses them by itself, or all of the "batches", by shares of an epoch; see
            :class:`~mer_zoo.data.missing.sets.BatchShares`.
        dim: Width d, even, at least 8; 32 for MOSI, 64 for MOSEI in the paper.
        heads: Heads of every encoder.
        depth: Layers of a cross-modal encoder; 4 for MOSI, 6 for MOSEI in the paper.
        kernels: Steps that the convolutions of text, audio and vision see.
        flow_steps: Couplings of a flow.
        flow_dim: Width of the networks inside.
        refinement_depth: Blocks of the refinement of what was recovered.
        likelihood_weight: Weight of the flows' negative log-likelihoods.
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
        flow: "glow" (ours) or "couplings" (released).
        seed: Seed of what is missing in training; None for the global one.

    Raises:
        MERError: If a modality is not in use, for an option out of range, heads that do not divide the width; when
            called, for a batch that is not padded to the lengths of the spec; when trained, if the checkpoint does not
            fit.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> model = DiCMoR(spec, task, dim=8, heads=2, depth=1, flow_steps=2, refinement_depth=1, seed=0)
        >>> (step,) = model.steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 48]), ['dicmor/likelihood', 'dicmor/recovery'])
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
        kernels: tuple[int, int, int] = (5, 5, 5),
        flow_steps: int = 32,
        flow_dim: int = 64,
        refinement_depth: int = 20,
        likelihood_weight: float = 0.1,
        recovery_weight: float = 0.1,
        attn_dropout: float = 0.3,
        attn_dropout_audio: float = 0.2,
        attn_dropout_vision: float = 0.0,
        relu_dropout: float = 0.0,
        res_dropout: float = 0.0,
        embed_dropout: float = 0.2,
        text_dropout: float = 0.5,
        out_dropout: float = 0.5,
        variant: Variant = "ours",
        flow: FlowKind | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("DiCMoR", "drop_by", drop_by, get_args(DropBy))
        check_choice("DiCMoR", "variant", variant, get_args(Variant))
        released = variant == "released"
        kind: FlowKind = ("couplings" if released else "glow") if flow is None else flow
        check_choice("DiCMoR", "flow", kind, get_args(FlowKind))
        check_weights("DiCMoR", {"likelihood_weight": likelihood_weight, "recovery_weight": recovery_weight})
        check_recoverable("DiCMoR", spec, kernels, shorter=released)
        if dim < 8 or dim % 2:
            raise MERError(
                f"dim of DiCMoR is {dim}, but a flow halves it and a refinement needs at least 8; give an even one"
            )
        self.pretrained, self.released = pretrained, released
        self.reads_padding = True
        self.weights = {"likelihood": likelihood_weight, "recovery": recovery_weight}
        self.lengths = {name: spec.length(name) for name in MODALITIES}
        self.views = IncompleteViews(BatchShares(drop_rate) if drop_by == "batches" else RandomSMM(drop_rate), seed)

        self.project = Projections(self.input_dims, dim, kernels, text_dropout, same_length=not released)
        graded = task.graded_shape
        classes = graded[-1] if len(graded) == 1 else 1
        self.recovery = Recovery(dim, classes, flow_steps, flow_dim, kind, refinement_depth)
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout, embed_dropout)
        by_source = dropouts.by_source(attn_dropout_audio, attn_dropout_vision)
        self.body = CrossmodalBody(list(MODALITIES), dim, heads, depth, by_source, dropouts, out_dropout)
        self.feature_dim = self.body.feature_dim
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        self.hidden_shape = {
            name: (length - self.project.shorter(name), 2 * dim) for name, length in self.lengths.items()
        }
        self.register_buffer("prepared", torch.tensor(False))
        if released:
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
        output = output.replace(aux=output.aux._replace(complete=complete))
        yield Step(view, output, self.losses(output, view))

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        check_lengths("DiCMoR", {name: modality.x for name, modality in given.items()}, self.lengths)
        missing = missing_modalities(given, self.spec)
        p = self.project({name: modality.x for name, modality in given.items()})
        recovered: dict[str, Tensor] = {}
        # In training always, so that every parameter is in the graph of every batch.
        if self.training or bool(missing.any()):
            recovered = self.recovery(p, dict(zip(MODALITIES, missing.unbind(1), strict=True)))
        gone = dict(zip(MODALITIES, missing[..., None, None].unbind(1), strict=True))
        sequences = {
            name: torch.where(gone[name], recovered[name].to(x.dtype), x) if recovered else x for name, x in p.items()
        }
        joint, hidden = self.body({name: sequence.transpose(1, 2) for name, sequence in sequences.items()})
        return Output(self.classify(joint), joint, hidden, aux=Recovered(recovered, missing))

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        recovered: Recovered = output.aux
        if recovered.complete is None:
            return {}
        grades = self.task.grades(batch.target)
        classes = grades if grades.dim() == 1 else torch.zeros_like(batch.target[:, 0], dtype=torch.long)
        losses = {
            "likelihood": self.recovery.unlikeliness(recovered.complete, classes),
            "recovery": distributed_mean(recovery_error(recovered)),
        }
        return {f"dicmor/{name}": self.weights[name] * loss for name, loss in losses.items()}
