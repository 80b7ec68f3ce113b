"""Model: what networks and wrappers have in common, and what the outside asks of either."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.arguments import Recorded
from mer_zoo.batch import Batch, BatchSource, DataSpec, Output, Step
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec
from mer_zoo.model.effects import Shown
from mer_zoo.scores import Scores
from mer_zoo.task import Task
from mer_zoo.uncertainty import Uncertainty

__all__ = ["Model", "check_model", "from_inside"]

T = TypeVar("T")
_MISSING = object()
_AS_IT_IS = "; what a LightningModule can have without that is in mer_zoo.callbacks"


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

    The attributes from ``spec`` to ``reads_gradients`` are, for a wrapper, those of the model inside it, until the
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
        refits_logits: Whether test-time logits are of a layer that is fitted on validation data.
        blanks_modalities: Whether training steps take whole modalities away from a batch.
        changes_gradients: Whether gradients of whole parameters are changed between backward and optimiser.
        reads_gradients: Whether training steps compute with gradients themselves, before any loss is scaled.
        reweighs: Whether training samples are weighed or drawn so that a label goes along with a bias less.
        weighs_validation: Whether :meth:`calibrate` needs ``Scores.weights``.
        calibrating: Off while a split is tested or predicted: what only :meth:`calibrate` needs may then be left out.
        explaining: On while a split is predicted: effects that the scores do not need are then given too.
        mark: What a reader of a table must know of this model, shown behind its class name.
        file_options: Options of the constructor that may name a file of training's, with the words that name none.
        for_prediction: Options of the constructor without which parts are left out that only training needs, with the
            values that leave them out; none where there are no such parts.
        shown_effects: Effects of :meth:`predict` that readers are shown, and how; others are for the model's own use.
        scaler_state: Statistics by which the data of a model from :func:`mer_zoo.load_pretrained` are to be
            standardised, for :meth:`~mer_zoo.data.MERDataModule.load_scaler_state`.
        uncertainty: What validation data told of how sure its predictions are; None while the weights are trained on.
        made_by: What made the features, by modality, that a model of a checkpoint or of an export was trained on, where
            that is told, for :meth:`~mer_zoo.data.MERDataModule.check_features`.

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
    refits_logits: bool = from_inside(False)
    blanks_modalities: bool = from_inside(False)
    changes_gradients: bool = from_inside(False)
    reads_gradients: bool = from_inside(False)
    reweighs: bool = False
    weighs_validation: bool = False
    calibrating: bool = True
    explaining: bool = False
    mark: str = ""
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    for_prediction: ClassVar[Mapping[str, Any]] = {}
    shown_effects: ClassVar[Mapping[str, Shown]] = {}
    scaler_state: dict[str, dict[str, Tensor]] | None = None
    uncertainty: Uncertainty | None = None
    made_by: Mapping[str, FeatureSpec] = MappingProxyType({})

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
        return type(self).calibrate is not Model.calibrate

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


def check_model(given: object, owner: str) -> None:
    """Refuse what is no Model, as a network of plain torch is none.

    Args:
        given: What stands for the model.
        owner: Who takes it, for the message.

    Raises:
        MERError: Saying how to make it one.

    Example:
        >>> check_model(nn.Linear(2, 1), "CausalMER")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: CausalMER takes a Backbone, which Linear is not; make it one by mer_zoo.adapt(...
    """
    if not isinstance(given, Model):
        raise MERError(
            f"{owner} takes a Backbone, which {type(given).__name__} is not; make it one by mer_zoo.adapt(network,"
            " spec, task, feature_dim=...), spec and task being those of the datamodule, and feature_dim the width of"
            f" what the network returns{_AS_IT_IS if isinstance(given, LightningModule) else ''}"
        )
