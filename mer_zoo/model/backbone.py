"""Backbone: a network that encodes the text where it comes as token ids, then fuses the modalities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output, Step
from mer_zoo.errors import MERError
from mer_zoo.layers.encoder_config import check_encoder_config, encoder_sizes
from mer_zoo.layers.text_encoder import EMBEDDING_DIM, TextEncoderSpec, build_text_encoder
from mer_zoo.model.model import Model
from mer_zoo.options import check_numbers
from mer_zoo.task import Task

__all__ = ["Backbone"]


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
        text_layers: Of how many layers of a text encoder, the last first, :meth:`fuse` is given the states, side by
            side.

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
    text_layers: int = 1

    def __init__(self, spec: DataSpec, task: Task, text_encoder: TextEncoderSpec = None) -> None:
        super().__init__()
        check_numbers(type(self).__name__, self.given)
        self.spec, self.task = spec, task
        self.text_encoder = build_text_encoder(spec, text_encoder)
        self.input_dims = {name: spec.dim(name) for name in spec.modalities}
        # Another name than text_encoder: the small learning rate of pretrained encoders must not catch it.
        self.text_embedding: nn.Embedding | None = None
        if self.text_encoder is not None:
            self.input_dims["text"] = self.text_layers * self.text_encoder.embedding_dim
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
            x = self.text_encoder(text.x, text.mask, keep_padding=self.reads_padding, layers=self.text_layers)
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
