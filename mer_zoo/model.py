"""Model, Backbone and Wrapper: the contract that every network and every debiasing method of the zoo keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, overload

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.arguments import Recorded
from mer_zoo.batch import MODALITIES, Batch, BatchSource, DataSpec, Modality, Output, Step
from mer_zoo.errors import MERError
from mer_zoo.layers.encoder_config import check_encoder_config, encoder_sizes
from mer_zoo.layers.text_encoder import EMBEDDING_DIM, TextEncoderSpec, build_text_encoder
from mer_zoo.scores import Scores
from mer_zoo.task import Task

__all__ = [
    "AdaptedBackbone",
    "Backbone",
    "Model",
    "Wrapper",
    "WrapperFactory",
    "adapt",
    "check_final_logits",
]

T = TypeVar("T")
_MISSING = object()


class _FromInside:
    """An attribute of a Model: what it or its class has set, else what the model inside it has, else the default."""

    def __init__(self, default: object) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: Model | None, owner: type) -> Any:
        if model is not None and len(model.nest) > 1:
            return getattr(model.nest[1], self.name)
        if self.default is not _MISSING:
            return self.default
        if model is None:
            raise AttributeError(f"{owner.__name__} has no {self.name} before it is built")
        raise MERError(f"{owner.__name__} has no {self.name}; set it in its constructor")


def from_inside(default: object = _MISSING) -> Any:
    """Declare an attribute that a wrapper has from the model inside it; to a type checker it is what is annotated."""
    return _FromInside(default)


class Model(Recorded, nn.Module, ABC):
    """Maps a Batch to an Output; what it offers is known at construction, so that a wrapper can check.

    The attributes from ``spec`` to ``trains_other_logits`` are, for a wrapper, those of the model inside it, until the
    wrapper sets its own, in its constructor or on its class.

    Attributes:
        spec: Shapes of the data.
        task: What the logits mean.
        num_steps: Optimiser steps a batch.
        feature_dim: Width of ``Output.features``.
        input_dims: Width of each modality in use after any text encoder.
        hidden_shape: (T, d) of each hidden sequence, or None where there are none of known shape.
        hidden_axes: The modality whose steps each hidden sequence has; None where each has its own.
        attention_shape: Shape of ``Output.attention`` without the batch, or None.
        replaces_logits: Whether the logits are no longer the final classifier's.
        fixed_length: Whether batches must keep the padding of the spec; otherwise padding that no sample needs is cut.
        accumulates_stages: Whether gradients are kept from one stage of a batch to its next.
        trains_other_logits: Whether training steps have logits that forward does not give.
        weighs_validation: Whether :meth:`calibrate` needs ``Scores.weights``.
        calibrating: Off while a split is tested or predicted: what only :meth:`calibrate` needs may then be left out.
        mark: What a reader of a table must know of this model, shown behind its class name.
        file_options: Options of the constructor that may name a file of training's, with the words that name none.
        for_prediction: Options of the constructor without which parts are left out that only training needs, with the
            values that leave them out; none where there are no such parts.
        scaler_state: Statistics by which the data of a model from :func:`mer_zoo.load_pretrained` are to be
            standardised, for :meth:`~mer_zoo.data.MERDataModule.load_scaler_state`.

    Example:
        >>> from mer_zoo import CLUE, LFLSTM, SentimentClassification
        >>> model = CLUE(LFLSTM(DataSpec(), SentimentClassification(3)))
        >>> model.name, [type(part).__name__ for part in model.nest], model.num_steps
        ('CLUE(LFLSTM)', ['CLUE', 'LFLSTM'], 1)
        >>> output = model.eval().predict(Batch.random(model.spec, model.task, size=4))
        >>> output.logits.shape, output.effects["factual"].shape
        (torch.Size([4, 3]), torch.Size([4, 3]))
    """

    spec: DataSpec = from_inside()
    task: Task = from_inside()
    num_steps: int = from_inside(1)
    feature_dim: int = from_inside()
    input_dims: dict[str, int] = from_inside()
    hidden_shape: dict[str, tuple[int, int]] | None = from_inside(None)
    hidden_axes: dict[str, str] | None = from_inside(None)
    attention_shape: tuple[int, ...] | None = from_inside(None)
    replaces_logits: bool = from_inside(False)
    fixed_length: bool = from_inside(False)
    accumulates_stages: bool = from_inside(False)
    trains_other_logits: bool = from_inside(False)
    weighs_validation: bool = False
    calibrating: bool = True
    mark: str = ""
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    for_prediction: ClassVar[Mapping[str, Any]] = {}
    scaler_state: dict[str, dict[str, Tensor]] | None = None

    @abstractmethod
    @override
    def forward(self, batch: Batch) -> Output:
        """Training-time scores."""

    def arguments(self) -> dict[str, Any]:
        """What builds this model again without any file: arguments beside spec, task and inner model."""
        kept = {name: value for name, value in self.given.items() if not isinstance(value, (DataSpec, Task, Model))}
        return {name: value if self._names_no_file(name, value) else None for name, value in kept.items()}

    @classmethod
    def check_arguments(cls, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return arguments that someone else's file gives, unless they would make the model read another file."""
        for name, value in arguments.items():
            if not cls._names_no_file(name, value):
                raise MERError(f"{name} of {cls.__name__} names a file; only null is allowed")
        return arguments

    @classmethod
    def _names_no_file(cls, name: str, value: object) -> bool:
        return name not in cls.file_options or value is None or value in cls.file_options[name]

    def predict(self, batch: Batch) -> Output:
        """Test-time scores; where they differ from forward's, effects["factual"] holds forward's logits."""
        output: Output = self(batch)
        return output

    def steps(self, batch: Batch) -> Iterator[Step]:
        """Yield ``num_steps`` views to train on; the generator is resumed after each optimiser step."""
        yield Step(batch, self(batch), {})

    @abstractmethod
    def drop_head(self) -> None:
        """Remove the final classifier, so that a wrapper with its own leaves no parameter without gradient."""

    def prepare(self, train: BatchSource) -> None:
        """Fit statistics of the training split into buffers; called once, inner models first."""

    def calibrate(self, valid: Scores) -> None:
        """Choose what is chosen on validation data; called at each validation epoch's end, inner models first."""

    def rescore(self, valid: Scores) -> Tensor:
        """Test-time logits from kept scores after :meth:`calibrate`, without running the network again."""
        return valid.logits

    def oracle(self, test: Scores) -> list[Tensor]:  # noqa: ARG002
        """Test-time logits of every choice that a released code makes on the test split itself; usually none."""
        return []

    def diagnostics(self) -> dict[str, float]:
        """Numbers for the log after each validation epoch and for the run record."""
        return {}

    def notes(self) -> list[str]:
        """Sentences that the run record tells its readers."""
        return []

    def offers(self) -> Sequence[object]:
        """Parts of this model that others may work with, who ask for them by :meth:`offered`; usually none."""
        return ()

    def offered(self, kind: type[T]) -> T | None:
        """The outermost part of a kind that a model of the nest offers.

        Args:
            kind: Its class.

        Returns:
            The part itself; None where no model offers one.

        Example:
            >>> from mer_zoo import CLUE, CUMDFNet, SentimentClassification
            >>> from mer_zoo.layers.label_guided import LGMMT
            >>> net = CUMDFNet(DataSpec(), SentimentClassification(3))
            >>> CLUE(net).offered(LGMMT) is net.fusion, net.offered(nn.Embedding)
            (True, None)
        """
        parts = (part for model in self.nest for part in model.offers())
        return next((part for part in parts if isinstance(part, kind)), None)

    @property
    def nest(self) -> list[Model]:
        """The models from this one inwards."""
        return [self]

    @property
    def calibrates(self) -> bool:
        """Whether a model of the nest overrides :meth:`calibrate`, so that validation scores are kept for it."""
        idle = (Model.calibrate, Wrapper.calibrate)
        return any(type(model).calibrate not in idle for model in self.nest)

    @property
    def needs_preparing(self) -> bool:
        """Whether :meth:`prepare` has still to run: no model of the nest has a buffer ``prepared``, or one is false."""
        flags = [
            bool(model.get_buffer("prepared"))
            for model in self.nest
            if "prepared" in dict(model.named_buffers(recurse=False))
        ]
        return not flags or not all(flags)

    @property
    def name(self) -> str:
        """Readable form of the nest, such as ``CausalMER(MulT)``."""
        return type(self).__name__

    @property
    def label(self) -> str:
        """The name with the mark of each model, for tables."""
        return self.name + self.mark


class Backbone(Model):
    """A network: encodes text where it comes as token ids, then fuses the modalities.

    Subclasses implement :meth:`fuse`, set ``feature_dim`` and keep their final classifier in ``head``; losses beside
    the task's are computed in :meth:`losses` from what ``fuse`` put into ``Output.aux``.

    Args:
        spec: Shapes of the data.
        task: What the logits mean.
        text_encoder: A Hugging Face encoder by name, path or options (see :class:`TextEncoder`); needs token ids.
            Token ids without an encoder go through a trained embedding of width 64.

    Attributes:
        reads_padding: Whether :meth:`fuse` is given what a text encoder says of padding; otherwise zeros.

    Raises:
        MERError: If an encoder is given but the data has text features.

    Example:
        >>> import torch
        >>> from mer_zoo.task import SentimentRegression
        >>> class TextMean(Backbone):
        ...     def __init__(self, spec, task, text_encoder=None):
        ...         super().__init__(spec, task, text_encoder)
        ...         self.feature_dim = self.input_dims["text"]
        ...         self.head = nn.Linear(self.feature_dim, task.num_outputs)
        ...     def fuse(self, text, audio, vision):
        ...         features = (text.x * text.mask[..., None]).sum(1) / text.lengths[:, None]
        ...         return Output(self.classify(features), features)
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> TextMean(spec, task)(Batch.random(spec, task, size=3)).logits.shape
        torch.Size([3, 1])
    """

    head: nn.Module
    reads_padding: bool = False

    def __init__(self, spec: DataSpec, task: Task, text_encoder: TextEncoderSpec = None) -> None:
        super().__init__()
        self.spec, self.task = spec, task
        self.text_encoder = build_text_encoder(spec, text_encoder)
        self.input_dims = {name: spec.dim(name) for name in spec.modalities}
        # Another name than text_encoder: the small learning rate of pretrained encoders must not catch it.
        self.text_embedding: nn.Embedding | None = None
        if self.text_encoder is not None:
            self.input_dims["text"] = self.text_encoder.embedding_dim
        elif spec.tokens and "text" in spec.modalities:
            self.text_embedding = _embedding(spec)
            self.input_dims["text"] = EMBEDDING_DIM

    @override
    def arguments(self) -> dict[str, Any]:
        arguments, encoder = super().arguments(), self.text_encoder
        if encoder is not None:
            arguments["text_encoder"] = {"config": encoder_sizes(encoder.model.config), "frozen": encoder.frozen}
        return arguments

    @classmethod
    @override
    def check_arguments(cls, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        arguments = super().check_arguments(arguments)
        encoder = arguments.get("text_encoder")
        if encoder is not None:
            config = encoder.get("config") if isinstance(encoder, dict) else None
            if not isinstance(config, dict) or encoder.keys() - {"config", "frozen"}:
                raise MERError(f"text_encoder of {cls.__name__} is not given by its config alone")
            check_encoder_config(config)
        return arguments

    def encode_text(self, text: Modality) -> Modality:
        """Turn token ids into (B, T, d) features, zero at padding that is not to be read; features pass through."""
        if not self.spec.tokens or "text" not in self.spec.modalities:
            return text
        if not text.is_tokens:
            raise MERError(
                "this model was built for token ids, but the batch holds text features; set data.text: tokens"
            )
        if self.text_encoder is not None:
            x = self.text_encoder(text.x, text.mask, keep_padding=self.reads_padding)
        else:
            assert self.text_embedding is not None
            x = self.text_embedding(text.x) * text.mask[..., None]
        return text.replace(x=x, token_ids=text.x)

    @override
    def forward(self, batch: Batch) -> Output:
        encoded = {"text": self.encode_text(batch.text), "audio": batch.audio, "vision": batch.vision}
        output = self.fuse(*encoded.values())
        return output.replace(inputs={name: encoded[name].x for name in self.spec.modalities})

    @abstractmethod
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        """Map float sequences to scores; a modality that is not :meth:`in_use` is to be ignored."""

    def in_use(self, text: Modality, audio: Modality, vision: Modality) -> dict[str, Modality]:
        """What :meth:`fuse` is given, by name: the modalities of ``spec.modalities``, in their order."""
        given = dict(zip(MODALITIES, (text, audio, vision), strict=True))
        return {name: given[name] for name in self.spec.modalities}

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002
        """Losses of a training step beside the task's: scalars, already weighted, by name."""
        return {}

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        output: Output = self(batch)
        yield Step(batch, output, self.losses(output, batch))

    @property
    def has_head(self) -> bool:
        """Whether the final classifier is still there."""
        return not isinstance(self.head, nn.Identity)

    def classify(self, features: Tensor) -> Tensor:
        """Logits (B, *task shape) of (B, feature_dim) features; the features themselves once the head is dropped."""
        logits: Tensor = self.head(features)
        return self.task.reshape(logits) if self.has_head else logits

    @override
    def drop_head(self) -> None:
        self.head = nn.Identity()


def _embedding(spec: DataSpec) -> nn.Embedding:
    embedding = nn.Embedding(spec.vocab_size, EMBEDDING_DIM, padding_idx=spec.pad_id)
    with torch.no_grad():
        # [UNK] and [MASK] stand for words that are not there and may never occur in training: they are to say nothing,
        # where a random vector would decide the class.
        for silent in (spec.unk_id, spec.mask_id):
            embedding.weight[silent : silent + 1] = 0
    return embedding


class Wrapper(Model):
    """A model around another model; everything is the inner model's until overridden.

    ``steps`` and ``predict`` are the inner model's too: a wrapper that changes the scores overrides them beside
    ``forward``.

    Args:
        backbone: The inner model: a Backbone or another Wrapper.

    Raises:
        MERError: If the same wrapper already stands inside.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.task import SentimentRegression
        >>> class HalfWeight(Wrapper):
        ...     def steps(self, batch):
        ...         for step in self.backbone.steps(batch):
        ...             step.task_weight = 0.5 * step.task_weight
        ...             yield step
        >>> model = HalfWeight(LFLSTM(DataSpec(), SentimentRegression()))
        >>> model.name, [step.task_weight for step in model.steps(Batch.random(model.spec, model.task))]
        ('HalfWeight(LFLSTM)', [0.5])
    """

    def __init__(self, backbone: Model) -> None:
        super().__init__()
        if type(self) in {type(model) for model in backbone.nest}:
            raise MERError(f"{type(self).__name__} stands twice in the nest {backbone.name}; name each wrapper once")
        self.backbone = backbone

    @override
    def forward(self, batch: Batch) -> Output:
        output: Output = self.backbone(batch)
        return output

    @override
    def predict(self, batch: Batch) -> Output:
        return self.backbone.predict(batch)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield from self.backbone.steps(batch)

    @override
    def drop_head(self) -> None:
        self.backbone.drop_head()

    @override
    def prepare(self, train: BatchSource) -> None:
        self.backbone.prepare(train)

    @override
    def calibrate(self, valid: Scores) -> None:
        self.backbone.calibrate(valid)

    @override
    def rescore(self, valid: Scores) -> Tensor:
        return self.backbone.rescore(valid)

    @override
    def oracle(self, test: Scores) -> list[Tensor]:
        return self.backbone.oracle(test)

    @override
    def diagnostics(self) -> dict[str, float]:
        return self.backbone.diagnostics()

    @override
    def notes(self) -> list[str]:
        return self.backbone.notes()

    @property
    @override
    def nest(self) -> list[Model]:
        return [self, *self.backbone.nest]

    @property
    @override
    def name(self) -> str:
        return f"{type(self).__name__}({self.backbone.name})"

    @property
    @override
    def label(self) -> str:
        return f"{type(self).__name__}{self.mark}({self.backbone.label})"


def check_final_logits(owner: str, backbone: Model) -> None:
    """Refuse an inner model whose training logits are meant for the loss, where a wrapper goes on computing with them.

    Args:
        owner: The wrapper.
        backbone: Its inner model.

    Raises:
        MERError: Naming both.
    """
    if backbone.trains_other_logits:
        inner = next(type(model).__name__ for model in reversed(backbone.nest) if model.trains_other_logits)
        raise MERError(
            f"{owner} fuses the scores of {backbone.name}, but in training {inner} has added to them what only the"
            f" final scores may be"
            f" added; put {inner} outside, as in {inner}({owner}(...))"
        )


WrapperFactory = Callable[[Model], Wrapper]
Answer = Tensor | tuple[Tensor, dict[str, Tensor]] | Output
Call = Callable[[nn.Module, Modality, Modality, Modality], Answer]


class AdaptedBackbone(Backbone):
    """Any network of the user's as a Backbone; made by :func:`adapt`."""

    def __init__(
        self,
        module: nn.Module,
        spec: DataSpec,
        task: Task,
        feature_dim: int,
        call: Call | None = None,
        text_encoder: TextEncoderSpec = None,
        hidden_shape: dict[str, tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        self.module, self.feature_dim, self.call = module, feature_dim, call
        self.hidden_shape = hidden_shape
        self.head = nn.Linear(feature_dim, task.num_outputs)
        # The module sees no masks unless `call` hands them over, so its answer may depend on the padding.
        self.fixed_length = True

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        if self.call is None:
            result = self.module(text.x, audio.x, vision.x)
        else:
            result = self.call(self.module, text, audio, vision)
        if isinstance(result, Output):
            return result
        features, hidden = result if isinstance(result, tuple) else (result, None)
        if features.shape != (len(text.x), self.feature_dim):
            wanted = (len(text.x), self.feature_dim)
            raise MERError(
                f"the adapted module returned shape {tuple(features.shape)}, expected {wanted}: see feature_dim"
            )
        found = None if hidden is None else {name: tuple(states.shape[1:]) for name, states in hidden.items()}
        if found != self.hidden_shape:
            raise MERError(
                f"the adapted module returned hidden sequences {found}, not {self.hidden_shape}: see hidden_shape"
            )
        return Output(self.classify(features), features, hidden)

    @property
    @override
    def name(self) -> str:
        return type(self.module).__name__


@overload
def adapt(
    module: nn.Module,
    spec: DataSpec,
    task: Task,
    *,
    feature_dim: int,
    call: Call | None = ...,
    text_encoder: TextEncoderSpec = ...,
    hidden_shape: dict[str, tuple[int, int]] | None = ...,
) -> AdaptedBackbone: ...
@overload
def adapt(
    module: nn.Module,
    *,
    feature_dim: int,
    call: Call | None = ...,
    text_encoder: TextEncoderSpec = ...,
    hidden_shape: dict[str, tuple[int, int]] | None = ...,
) -> Callable[[DataSpec, Task], AdaptedBackbone]: ...
def adapt(
    module: nn.Module,
    spec: DataSpec | None = None,
    task: Task | None = None,
    *,
    feature_dim: int,
    call: Call | None = None,
    text_encoder: TextEncoderSpec = None,
    hidden_shape: dict[str, tuple[int, int]] | None = None,
) -> AdaptedBackbone | Callable[[DataSpec, Task], AdaptedBackbone]:
    """Turn any network into a Backbone, so that it takes every wrapper of the zoo.

    Args:
        module: Takes (text, audio, vision) tensors, each (B, T_m, d_m), and returns (B, feature_dim) features; the
            classifier of the task is added behind it.
        spec: Shapes of the data, usually ``datamodule.spec``. Without it a factory comes back, to be called with spec
            and task.
        task: What the logits mean, usually ``datamodule.task``.
        feature_dim: Width of the features that the module returns.
        call: How to call the module where it is not ``module(text, audio, vision)``: gets the module and the three
            Modality objects (with masks), returns what the module may return, or a complete Output.
        text_encoder: See :class:`Backbone`.
        hidden_shape: (T, d) of the hidden sequence of each modality, where the module returns (features, hidden) with
            such sequences, name to (B, T, d); wrappers that restore or distil sequences need them.

    Returns:
        A Backbone around the module, or its factory.

    Example:
        >>> import torch
        >>> from mer_zoo.task import SentimentClassification
        >>> class Mean(nn.Module):
        ...     def forward(self, text, audio, vision):
        ...         return torch.cat([text.mean(1), audio.mean(1), vision.mean(1)], dim=1)
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> model = adapt(Mean(), spec, task, feature_dim=15)
        >>> model(Batch.random(spec, task, size=4)).logits.shape
        torch.Size([4, 3])
    """
    options: dict[str, Any] = {"feature_dim": feature_dim, "call": call, "text_encoder": text_encoder}
    options["hidden_shape"] = hidden_shape
    if spec is None or task is None:
        return lambda spec, task: AdaptedBackbone(module, spec, task, **options)
    return AdaptedBackbone(module, spec, task, **options)
