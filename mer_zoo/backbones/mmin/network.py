"""MMIN: what missing modalities would say is imagined from those that are there, and classified by what it takes.

Idea: one vector a modality is learned on complete data. Then modalities are taken away, and a cascade of autoencoders
imagines, of the vectors of what is left, what the frozen encoders of the first stage say of what is gone; a second
cascade leads back from there. The codes of the first cascade are the joint representation.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, e width of a vector, c width
of a code, k autoencoders):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not, two of them or all;
    output.features (B, k c), the codes, in stage 1 the vectors (B, n e); output.aux, an :class:`Imagined` in stage 2.

Where the paper is in the code:
    encoders of the modalities                backbones/mmin/encoders.py
    cascade residual autoencoder              backbones/mmin/cascade.py
    imagination and cycle consistency loss    MMIN.losses
    missing modalities in training            MMIN.steps, data/missing/sets.py, RandomSMM

Two stages, as the authors train it:
    1. MMIN(stage=1), encoders and a classifier on complete data;
    2. MMIN(pretrained=CHECKPOINT), with modalities missing, which starts with these encoders and has frozen copies of
       them for its targets. A text encoder, or embedding, stays as it was then.
Without the first stage the targets are what the network's own encoders say, without gradient.

What is missing in a sample is seen from ``observed``: of a modality of which nothing was observed, zeros are read, also
behind a text encoder. Where nothing at all was observed, and where a part is missing, sequences are read as they are.

Differences from the authors' code, and why; ``variant="released"`` brings its behaviour back:
    * padding runs through its LSTMs and takes part in what is largest over time; here real steps alone;
    * the weights of its attention over time are a softmax over one number each, so that all of them are 1; here over
      the steps;
    * linear maps and convolutions start there normal, for ReLUs; the cascade then begins with numbers so large that the
      ReLUs of the way back die, at a learning rate of 1e-3 within 96 steps; here they start as PyTorch's do;
    * it clips the gradient of each part by itself; here MERModule clips the whole one (fixed);
    * in its tests each sample comes six times, once for each incomplete set; here test conditions name what is missing.
Kept is its target, also where a modality is there: what the first stage says of zeros in its place (`target: full`
takes what it says of the complete sample).

Reproduction: outputs, losses and gradients of both stages to 1e-5, and of the port for CMU-MOSI that reads one vector a
modality (``encoder="utterance"``), whose loss of the task is the squared error; here it is the task's. Scores not yet
run.

References:
    Zhao, Li, Jin, "Missing Modality Imagination Network for Emotion Recognition with Uncertain Missing Modalities", ACL
    2021.
    Released code: AIM3-RUC/MMIN (MIT), zeroQiaoba/GCNet (the port); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.mmin.cascade import Cascade
from mer_zoo.backbones.mmin.encoders import EncoderKind, Encoders, Pool, Stack
from mer_zoo.backbones.mmin.stages import Targets, Teacher, TeacherKind, check_stage, read_teacher, start
from mer_zoo.batch import Batch, BatchSource, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.drop import missing_modalities
from mer_zoo.data.missing.sets import RandomSMM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.distributed import distributed_mean
from mer_zoo.functional.precision import widen
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task
from mer_zoo.training.modes import evaluating

__all__ = ["MMIN", "Imagined"]

Variant = Literal["ours", "released"]


class Imagined(NamedTuple):
    """What was imagined.

    Args:
        given: (B, n e), vectors of what is there.
        imagined: (B, n e), of all modalities.
        missing: (B, n) bool.
        target: (B, n e), what the encoders of the first stage say; None outside of training.
    """

    given: Tensor
    imagined: Tensor
    missing: Tensor
    target: Tensor | None = None


class MMIN(Backbone):
    """Missing modality imagination network of Zhao et al. (2021); see the module's text.

    Args:
        spec: Shapes of the data; two modalities or three.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        stage: 1 for encoders and a classifier on complete data, 2 for the imagination.
        pretrained: Checkpoint of a run of stage 1, whose encoders stage 2 starts with and has for its teacher.
        teacher: What gives the targets, ``frozen`` encoders of stage 1 or the network's ``own``; None for own without
            ``pretrained``.
        drop_rate: Share of the training samples that lose modalities, drawn anew every time.
        dim: Width e of the vector of a modality.
        encoder: ``sequence`` or ``utterance``, see :class:`~mer_zoo.backbones.mmin.encoders.Encoders`.
        pool: How the LSTMs are read: ``max``, ``last`` or ``attention``.
        cascade_dims: Widths of an autoencoder, the last one that of its code.
        blocks: Number k of autoencoders.
        share_cycle: Whether the way back is the same cascade.
        head_dims: Widths between the maps of the classifier, and of encoders of an utterance.
        imagination_weight: Weight of the squared error of what was imagined.
        cycle_weight: Weight of the squared error of the way back.
        target: ``reverse``, what the teacher says of what is missing and of zeros for the rest, or ``full``.
        out_dropout: Dropout of the classifier, and of encoders of an utterance.
        text_dropout: Dropout of what the convolutions found in the text.
        variant: "ours", or "released" for reading padding, and for maps that start as the authors' do.
        seed: Seed of what is missing in training; None for the global one.

    Raises:
        MERError: For options out of range or that do not go together, or a single modality; when trained, if the
            checkpoint does not fit.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> model = MMIN(spec, task, dim=8, cascade_dims=(8, 4), blocks=2, head_dims=(6,), seed=0)
        >>> (step,) = model.steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 8]), ['mmin/cycle', 'mmin/imagination'])
    """

    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"pretrained": ()}

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        stage: int = 2,
        pretrained: str | None = None,
        teacher: TeacherKind | None = None,
        drop_rate: float = 1.0,
        dim: int = 128,
        encoder: EncoderKind = "sequence",
        pool: Pool = "max",
        cascade_dims: Sequence[int] = (256, 128, 64),
        blocks: int = 5,
        share_cycle: bool = False,
        head_dims: Sequence[int] = (128, 128),
        imagination_weight: float = 4.0,
        cycle_weight: float = 2.0,
        target: Targets = "reverse",
        out_dropout: float = 0.5,
        text_dropout: float = 0.5,
        variant: Variant = "ours",
        seed: int | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        self.kind = check_stage(self, stage, pretrained, teacher)
        check_choice("MMIN", "encoder", encoder, get_args(EncoderKind))
        check_choice("MMIN", "pool", pool, get_args(Pool))
        check_choice("MMIN", "target", target, get_args(Targets))
        check_choice("MMIN", "variant", variant, get_args(Variant))
        self.weights = {"imagination": imagination_weight, "cycle": cycle_weight}
        check_weights("MMIN", {f"{name}_weight": weight for name, weight in self.weights.items()})
        self.stage, self.pretrained, self.full_target = stage, pretrained, target == "full"
        released = variant == "released"
        self.fixed_length = self.reads_padding = released

        self.encoders = Encoders(self.input_dims, dim, encoder, pool, head_dims, out_dropout, text_dropout, released)
        width = len(spec.modalities) * dim
        self.feature_dim = width
        self.teacher: Teacher | None = None
        if stage == 2:
            self.views = IncompleteViews(RandomSMM(drop_rate), seed)
            self.cascade = Cascade(width, cascade_dims, blocks)
            self.cycle = None if share_cycle else Cascade(width, cascade_dims, blocks)
            self.feature_dim = self.cascade.latent_dim
        self.head = Stack([self.feature_dim, *head_dims, task.num_outputs], out_dropout)
        start(self, released, self.kind == "frozen")
        if self.kind == "frozen":
            self.teacher = Teacher(encoders=self.encoders)
            self.register_buffer("prepared", torch.tensor(False))

    @override
    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "teacher": self.kind}  # of a file that is not there any more, its copy is

    @override
    def prepare(self, train: BatchSource) -> None:
        if self.pretrained is not None:
            read_teacher(self.pretrained, self)
            self.get_buffer("prepared").fill_(True)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        if self.stage == 1:
            yield from super().steps(batch)
            return
        view: Batch = self.views(batch, self.spec)
        output: Output = self(view)
        with torch.no_grad(), evaluating(self):
            given = self.in_use(self.encode_text(batch.text), batch.audio, batch.vision)
            target = self._target(given, output.aux.missing)
        output = output.replace(aux=output.aux._replace(target=target))
        yield Step(view, output, self.losses(output, view))

    def _target(self, given: Mapping[str, Modality], missing: Tensor) -> Tensor:
        """What is to be imagined (B, n e) of a complete batch, some of which is missing (B, n)."""
        absent = missing_modalities(given, self.spec)
        encoders: nn.Module = self.encoders if self.teacher is None else self.teacher.get_submodule("encoders")
        target: Tensor = encoders(given, absent if self.full_target else absent | ~missing)
        return target

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        missing = missing_modalities(given, self.spec)
        vectors = self.encoders(given, missing)
        if self.stage == 1:
            return Output(self.classify(vectors), vectors)
        imagined, latent = self.cascade(vectors)
        return Output(self.classify(latent), latent, aux=Imagined(vectors, imagined, missing))

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        if output.aux is None or output.aux.target is None:
            return {}
        made: Imagined = output.aux
        assert made.target is not None
        back = (self.cascade if self.cycle is None else self.cycle)(made.imagined)[0]
        errors = {"imagination": (made.imagined, made.target), "cycle": (back, made.given.detach())}
        return {
            f"mmin/{name}": self.weights[name] * distributed_mean((widen(ours) - widen(theirs)).square())
            for name, (ours, theirs) in errors.items()
        }
