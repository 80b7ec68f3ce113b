"""The scores of each sample that a test keeps, scores.safetensors, and how they are read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.conversation import NAMED, Conversation, beyond_ids
from mer_zoo.data.files.labels import check_labels
from mer_zoo.errors import MERError
from mer_zoo.foreign import open_regular
from mer_zoo.runs.files import whole_file
from mer_zoo.text import told

if TYPE_CHECKING:
    from mer_zoo.scores import Scores

__all__ = ["SCORES", "KeptScores", "packed", "read_scores", "save_scores", "stored", "unpacked"]

SCORES = "scores.safetensors"
_PARTS = ("logits", "target", "index")
_IDS, _AVAILABLE, _FACTS, _NAMES, _ADDITIVE = "ids", "available", "facts", "fact_names", "additive"
_ALL = (*_PARTS, _IDS, _AVAILABLE, _FACTS, _NAMES, _ADDITIVE, *NAMED)
_BETWEEN = "\0"
_SETS = 2 ** (len(MODALITIES) + 1)  # of modalities, in whole or in part
_REMEDY = "delete it or write it anew with mer-zoo test"


@dataclass(frozen=True)
class KeptScores:
    """Scores of a run under one condition.

    Attributes:
        logits: (N, *task shape).
        target: (N,) or (N, E) labels.
        index: (N,) place of each sample in its split.
        ids: The samples' ids; None where an earlier version has not kept them.
        available: (N,) what each sample has, as :meth:`mer_zoo.batch.Batch.available`; None where not kept.
        facts: Numbers that tell of each sample, (N,) each, NaN where one is not known; none of an earlier version.
        additive: (N, *task shape) logits of the model's additive approximation, NaN for samples that it was not made
            for; None where it was not asked for.
        names: Names of the samples' speakers and dialogues, as far as the data tell them.
    """

    logits: Tensor
    target: Tensor
    index: Tensor
    ids: list[str] | None = None
    available: Tensor | None = None
    facts: dict[str, Tensor] = field(default_factory=dict)
    additive: Tensor | None = None
    names: dict[str, list[str]] = field(default_factory=dict)


def read_scores(folder: Path, condition: str, shape: tuple[int, ...]) -> KeptScores | None:
    """Read the scores of a condition.

    Args:
        folder: A run's folder.
        condition: Name of the condition.
        shape: Shape of the logits of one sample.

    Returns:
        None where the run has kept none.

    Raises:
        MERError: If the file can't be read, or what it holds of the condition is none; the message names the entry.

    Example:
        >>> read_scores(Path("nowhere"), "iid", (1,)) is None
        True
    """
    path = folder / SCORES
    found = stored(path, {f"{condition}.{part}" for part in _ALL})
    ids, available, facts, names, additive = (
        found.pop(f"{condition}.{part}", None) for part in (_IDS, _AVAILABLE, _FACTS, _NAMES, _ADDITIVE)
    )
    names_of = {name: unpacked(found.pop(f"{condition}.{name}")) for name in NAMED if f"{condition}.{name}" in found}
    if len(found) < len(_PARTS):
        return None
    logits, target, index = (found[f"{condition}.{part}"] for part in _PARTS)
    scores = KeptScores(logits, target, index, None if ids is None else unpacked(ids), available, additive=additive)
    fault = _fault(scores, shape)
    if not fault and additive is not None and (additive.shape != logits.shape or not additive.is_floating_point()):
        fault = f"have an additive approximation of shape {tuple(additive.shape)} for {tuple(logits.shape)}"
    if not fault and facts is not None:
        named = [] if names is None else unpacked(names)
        if facts.shape != (len(scores.index), len(named)) or not facts.is_floating_point():
            fault = f"have {len(named)} names for facts of shape {tuple(facts.shape)}"
        scores = replace(scores, facts=dict(zip(named, facts.T, strict=False)))
    if not fault:
        wrong = [name for name, values in names_of.items() if len(values) != len(scores.index)]
        fault = (
            f"have {len(names_of[wrong[0]])} names for the {wrong[0]} of {len(scores.index)} samples" if wrong else ""
        )
        told_by_ids = Conversation().completed(scores.ids or []).names()
        scores = replace(scores, names={**told_by_ids, **names_of})
    if fault:
        raise MERError(f"{path}: the scores of {told(condition)} {fault}; {_REMEDY}")
    return scores


def save_scores(folder: Path, scores: Mapping[str, Scores], kept: Set[str]) -> None:
    """Write scores.safetensors, whole or not at all.

    Args:
        folder: The run's folder.
        scores: Scores of each condition that was tested now.
        kept: Names of the conditions whose scores stay as they are.
    """
    path = folder / SCORES
    tensors = stored(path, {f"{name}.{part}" for name in kept for part in _ALL}) if kept else {}
    for name, score in scores.items():
        for key in (*_PARTS, *([] if score.available is None else [_AVAILABLE])):
            # clones, because the file format refuses tensors that share memory
            tensors[f"{name}.{key}"] = getattr(score, key).detach().cpu().clone().contiguous()
        if score.ids and not any(_BETWEEN in each for each in score.ids):
            tensors[f"{name}.{_IDS}"] = packed(score.ids)
        for key, values in beyond_ids(score.names, score.ids or []).items():
            if not any(_BETWEEN in each for each in values):
                tensors[f"{name}.{key}"] = packed(values)
        if score.additive is not None:
            tensors[f"{name}.{_ADDITIVE}"] = score.additive.float().cpu().contiguous()
        if score.facts:
            tensors[f"{name}.{_FACTS}"] = torch.stack([fact.float().cpu() for fact in score.facts.values()], 1)
            tensors[f"{name}.{_NAMES}"] = packed(score.facts)
    if tensors:
        with whole_file(path) as part:
            # by way of bytes: the library's own writer makes files that only their owner may read
            part.write_bytes(save(tensors))


def stored(path: Path, names: Set[str]) -> dict[str, Tensor]:
    """Those of the named tensors that a file holds; none where there is no file.

    Raises:
        MERError: If it can't be read.
    """
    try:
        open_regular(path).close()
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in names & set(file.keys())}
    except FileNotFoundError:
        return {}
    except (OSError, SafetensorError, RuntimeError, TypeError, OverflowError, AttributeError) as error:
        # the last four from types and shapes that torch has no form for
        raise MERError(f"{path} can't be read ({error}); {_REMEDY}") from None


def packed(names: Iterable[str]) -> Tensor:
    """Names as the bytes that such a file holds."""
    return torch.frombuffer(bytearray(_BETWEEN.join(names).encode("utf-8", "surrogatepass")), dtype=torch.uint8)


def unpacked(stored: Tensor) -> list[str]:
    """Ids as they were written; one that fits no sample where the bytes are not text."""
    try:
        return bytes(stored.flatten().tolist()).decode("utf-8", "surrogatepass").split(_BETWEEN)
    except (TypeError, ValueError):
        return []


def _fault(scores: KeptScores, shape: tuple[int, ...]) -> str:
    """What is wrong with scores; empty where they are sound."""
    logits, target, index = scores.logits, scores.target, scores.index
    labels = (len(logits), *shape[:-1]) if logits.dim() else ()
    if logits.shape != (len(index) if index.dim() == 1 else -1, *shape) or target.shape != labels:
        shapes = [tuple(tensor.shape) for tensor in (logits, target, index)]
        return f"have shapes {', '.join(map(str, shapes))}, not those of samples of one task"
    if not len(index):
        return "are of no sample"
    if scores.ids is not None and len(scores.ids) != len(index):
        return f"have {len(scores.ids)} ids for {len(index)} samples"
    if scores.available is not None and (
        scores.available.dtype is not torch.int64
        or scores.available.shape != index.shape
        or not ((scores.available >= 0) & (scores.available < _SETS)).all()
    ):
        return f"say what {told(tuple(scores.available.shape))} samples have, not which modalities each has"
    plain = [not (tensor.is_complex() or tensor.element_size() < 2) for tensor in (logits, target)]
    if not all(plain) or not logits.is_floating_point() or index.is_floating_point() or index.is_complex():
        return f"are of types {logits.dtype}, {target.dtype}, {index.dtype}, not logits, labels and places"
    if not logits.isfinite().all():
        return "hold logits that are not finite"
    key = "labels" if target.is_floating_point() else "classification_labels"
    faults = check_labels(key, target.float().numpy() if target.is_floating_point() else target.numpy()).faults
    if faults:
        return f"hold {faults[0][0]}"
    largest = 3 if target.is_floating_point() else shape[-1] - 1
    is_beyond = shape[-1] > 1 and bool((target.double().abs() > largest).any())
    return f"hold labels beyond {largest}, where there are {shape[-1]} classes" if is_beyond else ""
