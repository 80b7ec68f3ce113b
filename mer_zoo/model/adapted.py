"""A network of the user's as a Backbone, in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model.backbone import Backbone
from mer_zoo.task import Task

__all__ = ["AdaptedBackbone", "AdaptedFactory", "adapt"]

Answer = Tensor | tuple[Tensor, dict[str, Tensor]] | Output
Call = Callable[[nn.Module, Modality, Modality, Modality], Answer]


class AdaptedBackbone(Backbone):
    """Any network of the user's as a Backbone; made by :func:`adapt`.

    Attributes:
        factory: Name and options of the factory that made it, by which an export names it; None where it has no name.
    """

    factory: tuple[str, dict[str, Any]] | None = None

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


@dataclass(frozen=True)
class AdaptedFactory:
    """A network of the user's that waits for the data's shapes; made by :func:`adapt`.

    Attributes:
        module: The network.
        options: Options of :class:`AdaptedBackbone`.
    """

    module: nn.Module
    options: Mapping[str, Any]

    def __call__(self, spec: DataSpec, task: Task) -> AdaptedBackbone:
        """Make the Backbone."""
        return AdaptedBackbone(self.module, spec, task, **self.options)


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
        >>> from mer_zoo import Batch, SentimentClassification
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
        return AdaptedFactory(module, options)
    return AdaptedBackbone(module, spec, task, **options)
