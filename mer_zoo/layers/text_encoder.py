"""Text encoders: any Hugging Face encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig
from typing_extensions import Self, override

from mer_zoo.batch import DataSpec
from mer_zoo.errors import MERError
from mer_zoo.functional.padding import left_align, undo_left_align
from mer_zoo.layers.text_states import TextStates

__all__ = ["EMBEDDING_DIM", "TextEncoder", "TextEncoderSpec", "build_text_encoder", "remember_texts"]

EMBEDDING_DIM = 64  # width of the trained embedding of token ids where no encoder is asked for
TextEncoderSpec = str | dict[str, Any] | PretrainedConfig | None


class TextEncoder(nn.Module):
    """A Hugging Face encoder that turns token ids into one vector a token.

    Args:
        path: Name or folder of a pretrained encoder. Nothing is downloaded in offline mode.
        config: Instead of ``path``: ``model_type`` and sizes of a randomly initialised encoder.
        frozen: Keep the encoder as it is, in evaluation mode.

    Raises:
        MERError: If neither or both of path and config are given, or the encoder can't be built.

    Example:
        >>> tiny = {"model_type": "bert", "vocab_size": 120, "hidden_size": 8, "num_hidden_layers": 1,
        ...         "num_attention_heads": 2, "intermediate_size": 16}
        >>> encoder = TextEncoder(config=tiny)
        >>> encoder(torch.tensor([[101, 110, 102, 0]]), torch.tensor([[True, True, True, False]])).shape
        torch.Size([1, 4, 8])
    """

    def __init__(self, path: str | None = None, config: dict[str, Any] | None = None, frozen: bool = False) -> None:
        super().__init__()
        if (path is None) == (config is None):
            raise MERError("text_encoder needs either a path (name or folder) or a config (model_type and sizes)")
        try:
            if path is not None:
                self.model = AutoModel.from_pretrained(
                    path
                ).float()  # newer versions of the library keep a file's half precision
            else:
                self.model = AutoModel.from_config(AutoConfig.for_model(**dict(config or {})))  # type: ignore[no-untyped-call]
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise MERError(
                f"text_encoder {path or config} can't be built ({reason}); give a local folder or a config"
            ) from error
        if self.model.config.is_encoder_decoder:
            raise MERError(
                f"text_encoder {path or config} is an encoder with a decoder; choose an encoder such as BERT"
            )
        # Only the token states are used; a pooler would be a set of parameters that never gets a gradient.
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None
        self.embedding_dim = int(self.model.config.hidden_size)
        self.states: TextStates | None = None  # of texts read before, while the weights stay as they are
        self.frozen = frozen
        if frozen:
            self.model.requires_grad_(False).eval()
        else:
            self.model.train()  # pretrained files come in evaluation mode, and Lightning keeps the mode it finds

    @override
    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    @property
    def vocab_size(self) -> int:
        """How many token ids it knows."""
        return int(self.model.get_input_embeddings().num_embeddings)

    def embed(self, ids: Tensor, mask: Tensor) -> Tensor:
        """What enters the first layer for ids and mask (B, T): words and positions, (B, T, d), zero at padding."""
        ids, _, order = left_align(ids, mask)
        return undo_left_align(self.model.embeddings(ids), order) * mask[..., None]

    @override
    def forward(
        self,
        ids: Tensor,
        mask: Tensor,
        embedded: Tensor | None = None,
        keep_padding: bool = False,
        layers: int = 1,
    ) -> Tensor:
        """Encode (B, T) ids with a (B, T) mask into (B, T, d), zero at padding unless that is kept.

        Where ``embedded`` (B, T, d) is given, it enters the first layer in place of what :meth:`embed` gives. Of
        several ``layers`` the states stand side by side, (B, T, layers d), the last layer first.
        """
        # The encoder counts positions from the first column, padding or not.
        ids, real, order = left_align(ids, mask)
        entering = nullcontext() if embedded is None else self._entering(left_align(embedded, mask)[0])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not (self.frozen and embedded is None)), entering:
            if self.states is not None and embedded is None and self._repeats():
                states = self.states(ids, real, partial(self._read, layers=layers), keep_padding, layers)
            else:
                states = self._read(ids, real, layers)
        states = undo_left_align(states, order)
        return states if keep_padding else states * mask[..., None]

    def _read(self, ids: Tensor, real: Tensor, layers: int) -> Tensor:
        found = self.model(input_ids=ids, attention_mask=real.long(), output_hidden_states=layers > 1)
        states: Tensor = found.last_hidden_state
        return states if layers == 1 else torch.cat([states, *reversed(found.hidden_states[-layers:-1])], -1)

    def _repeats(self) -> bool:
        """Whether a text that is read twice has the same states, which nobody wants a gradient of."""
        return not (torch.is_grad_enabled() or self.model.training or torch.compiler.is_compiling())

    @contextmanager
    def _entering(self, embedded: Tensor) -> Iterator[None]:
        # By a hook, because every version and model of the library prepares masks for its layers in its own way.
        handle = self.model.embeddings.register_forward_hook(lambda *_: embedded)
        try:
            yield
        finally:
            handle.remove()


def remember_texts(model: nn.Module, wanted: bool = True, trained: bool = True) -> None:
    """Let text encoders keep the states of the texts that they read, or forget them.

    Args:
        model: Whatever contains the encoders.
        wanted: Whether states are kept from now on; those of before are forgotten in any case.
        trained: Whether encoders whose weights are trained keep them, too, which is right while nobody trains them.

    Example:
        >>> remember_texts(torch.nn.Linear(1, 1))
    """
    for part in model.modules():
        if isinstance(part, TextEncoder):
            part.states = TextStates() if wanted and (trained or part.frozen) else None


def build_text_encoder(spec: DataSpec, options: TextEncoderSpec) -> TextEncoder | None:
    """Build the encoder that a Backbone asks for.

    Args:
        spec: Tells whether text is token ids.
        options: None, a name or folder, a configuration, or the arguments of :class:`TextEncoder`.

    Returns:
        The encoder, or None where none is asked for.

    Raises:
        MERError: If an encoder is asked for but the text is features or not in use.

    Example:
        >>> build_text_encoder(DataSpec(), "bert-base-uncased")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: text_encoder bert-base-uncased needs token ids, but ...
    """
    if options is None:
        return None
    if not spec.tokens or "text" not in spec.modalities:
        raise MERError(f"text_encoder {options} needs token ids, but the data gives none; set data.text: tokens")
    if isinstance(options, PretrainedConfig):
        options = {"config": options.to_dict()}
    elif isinstance(options, str):
        options = {"path": options}
    elif "model_type" in options:
        options = {"config": options}
    unknown = sorted(set(options) - {"path", "config", "frozen"})
    if unknown:
        raise MERError(f"text_encoder has no option {unknown[0]!r}; give path or config, and frozen")
    encoder = TextEncoder(**options)
    limit = getattr(encoder.model.config, "max_position_embeddings", None)
    if limit is not None and 0 < limit < spec.text_len:  # negative: none
        raise MERError(
            f"text_encoder reads {limit} tokens, the text has {spec.text_len}; choose an encoder for longer texts"
        )
    return encoder
