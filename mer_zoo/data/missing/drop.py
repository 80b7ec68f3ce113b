"""The incomplete view of a batch: what is put where a pattern keeps nothing, and what no pattern takes away."""

from __future__ import annotations

from collections.abc import Container, Mapping

import torch
from torch import Tensor

from mer_zoo.batch import Batch, DataSpec, Modality

__all__ = ["blanked", "drop", "missing_modalities", "protected", "steps", "unobserved"]


def steps(modality: Modality) -> Tensor:
    """Number the real positions of each sample from 0, for the counter of :func:`mer_zoo.functional.draws.uniform`.

    Counted so, a draw belongs to the same frame whether the batch is padded, in front or behind, or trimmed.

    Returns:
        (B, T) int64; padding has the number of the real position before it.

    Example:
        >>> mask = torch.tensor([[False, True, True, False]])
        >>> steps(Modality(torch.zeros(1, 4, 2), mask)).tolist()
        [[0, 0, 1, 1]]
    """
    return (modality.mask.cumsum(1) - 1).clamp(min=0)


def protected(text: Modality, spec: DataSpec) -> Tensor:
    """Find the positions that no pattern drops: [CLS] first and [SEP] last, in text that is token ids.

    Float features of these two tokens come from a text encoder that has read the whole sentence; keeping them would
    give away what is missing. So text features have no protected position, nor have token ids without the two tokens.

    Args:
        text: The text of a batch.
        spec: Says which ids the two tokens have.

    Returns:
        (B, T) bool.

    Example:
        >>> ids = torch.tensor([[101, 7, 8, 102, 0]])
        >>> protected(Modality(ids, ids != 0), DataSpec(tokens=True)).long().tolist()
        [[1, 0, 0, 1, 0]]
    """
    return _frame(text, text.x, spec) if text.is_tokens else torch.zeros_like(text.mask)


def _frame(text: Modality, ids: Tensor, spec: DataSpec) -> Tensor:
    step, last = steps(text), text.lengths[:, None] - 1
    first_is_cls = (step == 0) & (ids == spec.cls_id)
    last_is_sep = (step == last) & (ids == spec.sep_id)
    return text.mask & (first_is_cls | last_is_sep)


def missing_modalities(given: Mapping[str, Modality], spec: DataSpec) -> Tensor:
    """Find the modalities of which nothing was observed, where [CLS] and [SEP] of token text count for nothing.

    Args:
        given: The modalities in use, token ids, or as a network is given them: encoded text has its ids beside it.
        spec: Ids of special tokens.

    Returns:
        (B, n) bool; of a sample of which nothing at all was observed, none is missing.

    Example:
        >>> there = torch.tensor([[True], [False], [False]])
        >>> audio = Modality(torch.zeros(3, 1, 2), torch.ones_like(there), there)
        >>> vision = Modality(torch.zeros(3, 1, 2), torch.ones_like(there), torch.tensor([[True], [True], [False]]))
        >>> missing_modalities({"audio": audio, "vision": vision}, DataSpec()).tolist()
        [[False, False], [True, False], [False, False]]
    """
    missing = unobserved(given, spec)
    return missing & ~missing.all(1, keepdim=True)


def unobserved(given: Mapping[str, Modality], spec: DataSpec) -> Tensor:
    """The same where a sample of which nothing at all was observed lacks every modality.

    Args:
        given: As for :func:`missing_modalities`.
        spec: Ids of special tokens.

    Returns:
        (B, n) bool.

    Example:
        >>> nothing = Modality(torch.zeros(1, 1, 2), torch.tensor([[True]]), torch.tensor([[False]]))
        >>> unobserved({"audio": nothing}, DataSpec()).tolist()
        [[True]]
    """
    observed = {name: modality.observed for name, modality in given.items()}
    ids = given["text"].ids if "text" in given else None
    if spec.tokens and ids is not None:
        observed["text"] = observed["text"] & ~protected(Modality(ids, given["text"].mask), spec)
    return ~torch.stack([seen.any(1) for seen in observed.values()], 1)


def drop(batch: Batch, kept: Mapping[str, Tensor], spec: DataSpec) -> Batch:
    """Make the incomplete view of a batch; the batch itself is not written to.

    Tokens that are dropped become [UNK], feature vectors zero, ``observed`` False. ``mask`` stays, padding is not
    touched, and :func:`protected` tokens stay whatever ``kept`` says. Ids beside features go with these, but for those
    of [CLS] and [SEP]: that no word stands there is nothing that could be missing.

    Args:
        batch: The batch.
        kept: For modalities of which something is dropped: bool, True at positions to keep, (B, T) or broadcasting to
            it.
        spec: Ids of special tokens.

    Returns:
        The view; it shares what is unchanged.

    Example:
        >>> from mer_zoo.task import build_task
        >>> batch = Batch.random(DataSpec(), build_task("seven"))
        >>> view = drop(batch, {"audio": torch.tensor([[True], [False]])}, DataSpec())
        >>> view.audio.observed.any(1).tolist(), view.audio.x[1].abs().sum().item()
        ([True, False], 0.0)
    """
    return batch.replace(**{name: _drop(batch.modality(name), keep, name, spec) for name, keep in kept.items()})


def blanked(batch: Batch, keep: Container[str], spec: DataSpec) -> Batch:
    """Take whole modalities away from every sample; what is missing already stays so.

    Args:
        batch: The batch.
        keep: The modalities that stay; it may be none.
        spec: Modalities in use, and ids of special tokens.

    Returns:
        The view; it shares what is unchanged.

    Example:
        >>> from mer_zoo.task import build_task
        >>> view = blanked(Batch.random(DataSpec(), build_task("seven")), {"text"}, DataSpec())
        >>> [bool(view.modality(name).observed.any()) for name in DataSpec().modalities]
        [True, False, False]
    """
    missing = [name for name in spec.modalities if name not in keep]
    return drop(batch, {name: torch.zeros_like(batch.modality(name).mask) for name in missing}, spec)


def _drop(modality: Modality, keep: Tensor, name: str, spec: DataSpec) -> Modality:
    missing = modality.mask & ~keep
    if name == "text":
        missing = missing & ~protected(modality, spec)
    if modality.is_tokens:
        x = modality.x.masked_fill(missing, spec.unk_id)
    else:
        x = modality.x.masked_fill(missing[..., None], 0.0)
    ids = modality.token_ids
    if ids is not None:
        ids = ids.masked_fill(missing & ~_frame(modality, ids, spec), spec.unk_id)
    return modality.replace(x=x, observed=modality.observed & ~missing, token_ids=ids)
