"""Integrated gradients of the words of a sample, by captum, which is imported when they are asked for.

They run from the text whose words are all missing, as a missing pattern leaves it, to the text; so what they give to
the words adds up to what the answer loses without text.

References:
    Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    Kokhlikyan et al., "Captum: A unified and generic model interpretability library for PyTorch", arXiv:2009.07896,
    2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mer_zoo.batch import Batch
from mer_zoo.data.missing.drop import drop
from mer_zoo.errors import MERError
from mer_zoo.functional.attribution import class_probability
from mer_zoo.layers.text_encoder import TextEncoder
from mer_zoo.model import Backbone, Model

__all__ = ["INSTALL", "STEPS", "word_gradients"]

INSTALL = "pip install 'mer-zoo[explain]'"
STEPS = 64
_AT_ONCE = 64  # views of the sample in a batch


def word_gradients(model: Model, batch: Batch, classes: Tensor, steps: int = STEPS) -> Tensor:
    """How much of the answer each step of the text is owed.

    Args:
        model: The model, in evaluation mode.
        batch: One sample.
        classes: (1,) or (1, E), the class whose probability is explained; of a regression the score is.
        steps: Points of the integral.

    Returns:
        (T,), zero at padding.

    Raises:
        MERError: Without captum, or if the model has no way from the words to the answer.
    """
    integrated = _integrated_gradients()
    if "text" not in model.spec.modalities:
        raise MERError("integrated gradients are of words, and this model reads no text; leave --words out")
    blank = drop(batch, {"text": torch.zeros_like(batch.text.mask)}, model.spec).text
    embedding = _embedding(model) if batch.text.is_tokens else nn.Identity()
    with torch.no_grad():
        x, start = embedding(batch.text.x), embedding(blank.x)

    def answer(given: Tensor) -> Tensor:
        views = _repeated(batch, len(given))
        if batch.text.is_tokens:
            with _entering(embedding, views.text.x, given):
                logits = model.predict(views).logits
        else:
            logits = model.predict(views.replace(text=views.text.replace(x=given))).logits
        return class_probability(logits, classes.expand(len(given), *classes.shape[1:]))

    try:
        with _thawed(model):
            found: Tensor = integrated(answer).attribute(
                x, baselines=start, n_steps=steps, internal_batch_size=_AT_ONCE
            )
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise MERError(
            f"the answer of {model.name} has no gradient of its words ({reason}); leave --words out"
        ) from error
    return found[0].sum(-1) * batch.text.mask[0]


def _integrated_gradients() -> Any:
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise MERError(f"integrated gradients are captum's, which is not installed; {INSTALL}") from None
    return IntegratedGradients


def _embedding(model: Model) -> nn.Module:
    """What turns token ids into vectors."""
    backbone = model.nest[-1]
    if isinstance(backbone, Backbone):
        if backbone.text_encoder is not None:
            found: nn.Module = backbone.text_encoder.model.get_input_embeddings()
            return found
        if backbone.text_embedding is not None:
            return backbone.text_embedding
    raise MERError(f"{backbone.name} has no embedding of words that could be followed; leave --words out")


@contextmanager
def _entering(embedding: nn.Module, ids: Tensor, given: Tensor) -> Iterator[None]:
    """Let ``given`` stand for the vectors of ``ids``; other tokens, as of a counterfactual text, keep theirs."""

    def replace(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return torch.where((args[0] == ids)[..., None], given, output) if args[0].shape == ids.shape else output

    handle = embedding.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _thawed(model: Model) -> Iterator[None]:
    """A frozen text encoder runs without gradients, which here are wanted of its input."""
    frozen = [part for part in model.modules() if isinstance(part, TextEncoder) and part.frozen]
    for part in frozen:
        part.frozen = False
    try:
        yield
    finally:
        for part in frozen:
            part.frozen = True


def _repeated(batch: Batch, times: int) -> Batch:
    """A batch of one sample with that sample several times."""
    return batch.take([0] * times)
