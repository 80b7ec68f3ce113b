"""Whose parameter it is: one modality's that alone goes through it, the fusion's, or nobody's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from mer_zoo.batch import MODALITIES, Batch, Modality
from mer_zoo.functional.ownership import reached
from mer_zoo.model import Backbone, Model
from mer_zoo.training.modes import evaluating

__all__ = ["FUSION", "UNUSED", "owners", "shares_of"]

FUSION = "fusion"
UNUSED = "not in the logits"
_ENCODERS = ("text_encoder.", "text_embedding.")


def owners(model: Model, batch: Batch | None = None) -> dict[str, str]:
    """Find whose each trained parameter is that the scores of :meth:`Model.forward` hang on.

    Names of parameters do not tell it for any network, and hooks of modules miss weights that are used without theirs;
    the autograd graph of one forward pass does, see :func:`mer_zoo.functional.ownership.reached`.

    Args:
        model: The model, prepared; it is evaluated, then put back into its modes.
        batch: A few samples; None for random ones, since what they say does not matter.

    Returns:
        By parameter name: the modality that it belongs to alone, ``fusion`` where it meets several, or ``not in the
        logits``. What encodes the text is the text's.

    Example:
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentClassification
        >>> found = owners(LFLSTM(DataSpec(), SentimentClassification(3), dim=4))
        >>> found["lstms.audio.weight_ih_l0"], found["linear.weight"]
        ('audio', 'fusion')
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if batch is None:
        batch = Batch.random(model.spec, model.task).to(next(iter(trained.values())).device)
    dtype = next((parameter.dtype for parameter in trained.values()), torch.float32)
    leaves: dict[str, list[Tensor]] = {name: [] for name in MODALITIES}
    given = {name: batch.modality(name) for name in model.spec.modalities}
    given = {name: x if x.is_tokens else _leaf(x, leaves[name], dtype) for name, x in given.items()}
    with torch.enable_grad(), torch.random.fork_rng(devices=[]), evaluating(model), _followed(model, leaves["text"]):
        logits = model(batch.replace(**given)).logits
    found = reached(logits, leaves, trained)
    return {name: _owner(name, modalities) for name, modalities in found.items()}


def _owner(name: str, modalities: set[str]) -> str:
    if not modalities:  # the graph begins behind what encodes the text
        return "text" if any(f".{encoder}" in f".{name}" for encoder in _ENCODERS) else UNUSED
    return next(iter(modalities)) if len(modalities) == 1 else FUSION


def _leaf(modality: Modality, kept: list[Tensor], dtype: torch.dtype) -> Modality:
    x = modality.x.detach().to(dtype, copy=True).requires_grad_()
    kept.append(x)
    return modality.replace(x=x)


@contextmanager
def _followed(model: Model, text: list[Tensor]) -> Iterator[None]:
    """Run networks as they are written where they are compiled, and let the graph begin at encoded token ids."""
    compiled = {part: part._compiled_call_impl for part in model.modules()}
    for part in compiled:
        part._compiled_call_impl = None
    backbone = model.nest[-1]
    encode = backbone.encode_text if isinstance(backbone, Backbone) and model.spec.tokens else None
    if encode is not None:  # the encoder may be frozen, and without a graph

        def entering(given: Modality) -> Modality:
            encoded = encode(given)
            return encoded if encoded.is_tokens else _leaf(encoded, text, encoded.x.dtype)

        vars(backbone)["encode_text"] = entering
    try:
        yield
    finally:
        for part, call in compiled.items():
            part._compiled_call_impl = call
        if encode is not None:
            del vars(backbone)["encode_text"]


def shares_of(model: Model, found: Mapping[str, str]) -> dict[str, float]:
    """What share of the trained parameters belongs to each modality, to the fusion, and is not in the logits.

    Args:
        model: The model.
        found: Of :func:`owners`.

    Returns:
        Shares by owner, of every modality in use first; their sum is 1.

    Example:
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentClassification
        >>> model = LFLSTM(DataSpec(), SentimentClassification(3))
        >>> shares = shares_of(model, owners(model))
        >>> {owner: round(100 * share) for owner, share in shares.items()}
        {'text': 27, 'audio': 27, 'vision': 27, 'fusion': 19, 'not in the logits': 0}
    """
    counts = dict.fromkeys((*model.spec.modalities, FUSION, UNUSED), 0)
    for name, parameter in model.named_parameters():
        if name in found:
            counts[found[name]] += parameter.numel()
    total = max(sum(counts.values()), 1)
    return {owner: count / total for owner, count in counts.items()}
