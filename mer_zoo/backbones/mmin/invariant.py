"""IF-MMIN: what is missing is imagined with the help of features that all modalities have in common.

Idea: in a first stage, on complete data, one small network reads the vector of each modality, and what it says of them
is to be distributed alike. In the second stage modalities are taken away; what that network says of what is left is to
be what it said of all, and helps the cascade of MMIN to imagine the rest.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, e width of a vector, c width
of a code, k autoencoders):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not, two of them or all;
    output.features (B, k c), the codes, in stage 1 the vectors and their invariant features (B, 2 n e); output.aux, an
    :class:`ImaginedInvariant`.

Where the paper is in the code:
    encoders of the modalities                backbones/mmin/encoders.py
    invariant encoder                         IFMMIN.invariant
    invariant features pulled together        IFMMIN.losses, functional/moments.py
    imagination with invariant features       backbones/mmin/cascade.py

Two stages, and what is missing: as in MMIN.

Differences from the authors' code, and why; ``variant="released"`` brings its behaviour back:
    * cascade: as first released, the autoencoders read the input and more and more of the invariant features, so that
      all outputs but the last are of no use (`cascade: first_release`); here the output of the one before and the
      invariant features, as in the last release;
    * the weight of the invariant features in the second stage is named there as an option that the program does not
      have (100), and else 1; here it is 100;
    * padding and how maps start: as in MMIN; the gradient of each part is clipped by itself there (fixed).

Reproduction: outputs, losses and gradients of both stages and both cascades to 1e-5. Scores not yet run.

References:
    Zuo, Liu, Zhao, Gao, Li, "Exploiting Modality-Invariant Feature for Robust Multimodal Emotion Recognition with
    Missing Modalities", ICASSP 2023, arXiv:2210.15359.
    Released code: ZhuoYulang/IF-MMIN (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import override

from mer_zoo.backbones.mmin.cascade import Cascade
from mer_zoo.backbones.mmin.encoders import EncoderKind, Encoders, Pool, Stack
from mer_zoo.backbones.mmin.stages import Targets, Teacher, TeacherKind, check_stage, read_teacher, start
from mer_zoo.batch import Batch, BatchSource, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.drop import missing_modalities
from mer_zoo.data.missing.sets import RandomSMM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.distributed import distributed_mean
from mer_zoo.functional.moments import central_moment_discrepancy
from mer_zoo.functional.precision import widen
from mer_zoo.layers.mlp import MLP
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task
from mer_zoo.training.modes import evaluating

__all__ = ["IFMMIN", "ImaginedInvariant"]

Variant = Literal["ours", "released"]
InvariantCascade = Literal["paper", "first_release"]


class ImaginedInvariant(NamedTuple):
    """What was imagined, and the invariant features.

    Args:
        given: (B, n e), vectors of what is there.
        invariant: (B, n e), their invariant features.
        missing: (B, n) bool.
        imagined: (B, n e), of all modalities; None in stage 1.
        target: (B, n e), what is to be imagined; None outside of training.
        invariant_target: (B, n e), invariant features of the complete sample; None outside of training.
    """

    given: Tensor
    invariant: Tensor
    missing: Tensor
    imagined: Tensor | None = None
    target: Tensor | None = None
    invariant_target: Tensor | None = None


class IFMMIN(Backbone):
    """IF-MMIN of Zuo et al. (2023); see the module's text.

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
        cascade: What the autoencoders read, ``paper`` or ``first_release``.
        cascade_dims: Widths of an autoencoder, the last one that of its code.
        blocks: Number k of autoencoders.
        head_dims: Widths between the maps of the classifier, and of encoders of an utterance.
        moment_weight: Weight of the distance of the invariant features of the modalities, in stage 1.
        imagination_weight: Weight of the squared error of what was imagined.
        invariant_weight: Weight of the squared error of the invariant features, in stage 2.
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
        >>> model = IFMMIN(spec, task, dim=8, cascade_dims=(8, 4), blocks=2, head_dims=(6,), seed=0)
        >>> (step,) = model.steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 8]), ['ifmmin/imagination', 'ifmmin/invariant'])
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
        cascade: InvariantCascade = "paper",
        cascade_dims: Sequence[int] = (256, 128, 64),
        blocks: int = 5,
        head_dims: Sequence[int] = (128, 128),
        moment_weight: float = 1.0,
        imagination_weight: float = 1.0,
        invariant_weight: float = 100.0,
        target: Targets = "reverse",
        out_dropout: float = 0.5,
        text_dropout: float = 0.5,
        variant: Variant = "ours",
        seed: int | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        self.kind = check_stage(self, stage, pretrained, teacher)
        choices: dict[str, tuple[str, Any]] = {
            "encoder": (encoder, EncoderKind),
            "pool": (pool, Pool),
            "cascade": (cascade, InvariantCascade),
        }
        choices |= {"target": (target, Targets), "variant": (variant, Variant)}
        for name, (given, known) in choices.items():
            check_choice("IFMMIN", name, given, get_args(known))
        self.weights = {"moment": moment_weight, "imagination": imagination_weight, "invariant": invariant_weight}
        check_weights("IFMMIN", {f"{name}_weight": weight for name, weight in self.weights.items()})
        self.stage, self.pretrained, self.full_target = stage, pretrained, target == "full"
        released = variant == "released"
        self.fixed_length = self.reads_padding = released

        self.encoders = Encoders(self.input_dims, dim, encoder, pool, head_dims, out_dropout, text_dropout, released)
        self.invariant = MLP(dim, dim, dim, activation=F.leaky_relu)
        width = len(spec.modalities) * dim
        self.feature_dim = 2 * width
        self.teacher: Teacher | None = None
        if stage == 2:
            self.views = IncompleteViews(RandomSMM(drop_rate), seed)
            self.cascade = Cascade(width, cascade_dims, blocks, cascade)
            self.feature_dim = self.cascade.latent_dim
        self.head = Stack([self.feature_dim, *head_dims, task.num_outputs], out_dropout)
        start(self, released, self.kind == "frozen")
        if self.kind == "frozen":
            self.teacher = Teacher(encoders=self.encoders, invariant=self.invariant)
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
            target, invariant = self._targets(given, output.aux.missing)
        output = output.replace(aux=output.aux._replace(target=target, invariant_target=invariant))
        yield Step(view, output, self.losses(output, view))

    def _targets(self, given: Mapping[str, Modality], missing: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors and invariant features to be found (B, n e), of a complete batch, some of which is missing (B, n)."""
        source = self if self.teacher is None else self.teacher
        encoders, invariant = source.get_submodule("encoders"), source.get_submodule("invariant")
        absent = missing_modalities(given, self.spec)
        full = encoders(given, absent)
        target = full if self.full_target else encoders(given, absent | ~missing)
        return target, self._invariant_of(full, invariant)

    def _invariant_of(self, vectors: Tensor, invariant: Any) -> Tensor:
        """The invariant features (B, n e) of the vectors of all modalities."""
        parts = vectors.view(len(vectors), len(self.spec.modalities), -1)
        return F.leaky_relu(invariant(parts)).flatten(1)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        missing = missing_modalities(given, self.spec)
        vectors = self.encoders(given, missing)
        common = self._invariant_of(vectors, self.invariant)
        made = ImaginedInvariant(vectors, common, missing)
        if self.stage == 1:
            features = torch.cat([vectors, common], 1)
            return Output(self.classify(features), features, aux=made)
        imagined, latent = self.cascade(vectors, common)
        return Output(self.classify(latent), latent, aux=made._replace(imagined=imagined))

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        if output.aux is None:
            return {}
        made: ImaginedInvariant = output.aux
        losses: dict[str, Tensor] = {}
        if self.stage == 1:
            pairs = list(combinations(made.invariant.chunk(len(self.spec.modalities), 1), 2))
            losses["moment"] = torch.stack([central_moment_discrepancy(a, b, 5) for a, b in pairs]).mean()
        elif made.imagined is not None and made.target is not None and made.invariant_target is not None:
            losses["imagination"] = _squared(made.imagined, made.target)
            losses["invariant"] = _squared(made.invariant, made.invariant_target)
        return {f"ifmmin/{name}": self.weights[name] * loss for name, loss in losses.items()}


def _squared(ours: Tensor, theirs: Tensor) -> Tensor:
    return distributed_mean((widen(ours) - widen(theirs)).square())
