"""One split as a dataset that fetches a whole batch at once, and what it refuses."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.data.corpus.conversation import Conversation
from mer_zoo.data.corpus.corpus import SplitData
from mer_zoo.data.scaler import Scaler, inside
from mer_zoo.errors import MERError
from mer_zoo.task import Task

__all__ = ["SplitDataset", "check_labels", "check_tokens"]


def check_labels(split: SplitData, task: Task, source: str) -> None:
    """Refuse labels that do not suit the task.

    Args:
        split: The arrays.
        task: The task.
        source: Name of the file, for the message.

    Raises:
        MERError: If emotions meet a sentiment task, sentiment meets the emotion task, or a class is out of range.
    """
    labels = split.labels
    if labels is None:
        return
    is_single = len(task.shape) == 1
    if is_single != (labels.ndim == 1):
        kind = f"{labels.shape[1]} emotions" if labels.ndim == 2 else "one label"
        raise MERError(f"{source} has {kind} a sample, which does not suit this task; set data.task accordingly")
    if labels.ndim == 2 and labels.shape[1] != task.shape[0]:
        raise MERError(
            f"{source} has {labels.shape[1]} emotions a sample, the task {task.shape[0]}; name those that it has in"
            " data.label_names, or give the task as many"
        )
    if is_single and labels.dtype.kind in "iu":
        if not task.is_classification:
            raise MERError(f"{source} has classes, not scores, as labels; set data.task to a classification")
        wrong = np.flatnonzero((np.asarray(labels) < 0) | (np.asarray(labels) >= task.shape[0]))
        if len(wrong):
            raise MERError(
                f"{source}: {len(wrong)} labels lie outside the {task.shape[0]} classes of the task"
                f" (first id {split.ids[wrong[0]]}); set data.task to one with more classes, or mend the file"
            )


def check_tokens(split: SplitData, vocabulary: int, source: str) -> None:
    """Refuse token ids that the model does not know.

    Args:
        split: The arrays.
        vocabulary: How many ids it knows.
        source: Name of the file, for the message.

    Raises:
        MERError: Naming the largest id and a sample that has it.
    """
    if split.token_ids is None:
        return
    there = inside(np.asarray(split.spans["text"]), split.token_ids.shape[1])
    largest = np.where(there, split.token_ids, 0).max(axis=1)
    wrong = np.flatnonzero(largest >= vocabulary)
    if len(wrong):
        raise MERError(
            f"{source} has token ids up to {largest.max()} (first id {split.ids[wrong[0]]}), but the text encoder knows"
            f" {vocabulary}; choose the encoder whose tokenizer made them, or make them again with its own"
        )


class SplitDataset(Dataset[Batch]):
    """One split; an index list gives one Batch, without per-sample Python.

    Args:
        split: The arrays, in memory or mapped.
        spec: Which modalities to hand out, and whether text is token ids.
        task: Gives samples without labels a target of the right shape.
        scaler: Applied to audio and vision, or None.
        fit_lengths: Pad or cut sequences to the lengths of ``spec``, where these are not the corpus' own.
        gaps: Modalities whose steps that are wholly zero were not observed, also between others.

    Example:
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> from mer_zoo.task import build_task
        >>> corpus = generate(SyntheticConfig(train=4, valid=4, test=4))
        >>> data = SplitDataset(corpus.split("train"), corpus.spec(tokens=True), build_task("binary"))
        >>> data.__getitems__([2, 0]).index.tolist()
        [2, 0]
    """

    def __init__(
        self,
        split: SplitData,
        spec: DataSpec,
        task: Task,
        scaler: Scaler | None = None,
        fit_lengths: bool = False,
        gaps: Collection[str] = (),
    ) -> None:
        self.split, self.spec, self.task = split, spec, task
        self.scaler, self.fit_lengths, self.gaps = scaler, fit_lengths, frozenset(gaps)

    def __len__(self) -> int:
        return len(self.split)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample in a batch, without its target and words."""
        total = 0
        for name in self.spec.modalities:
            tokens = self.split.token_ids if name == "text" else None
            length, dim = self.spec.length(name), 0 if name == "text" and self.spec.tokens else self.spec.dim(name)
            total += length * (4 * dim + (0 if tokens is None else 8) + 1)  # features, ids, mask
        return total

    @override
    def __getitem__(self, index: int | Sequence[int]) -> Batch:
        return self.__getitems__([index] if isinstance(index, int) else index)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Fetch the samples at ``indices`` as one Batch."""
        rows = np.asarray(indices, dtype=np.int64)
        places = rows.tolist()
        return Batch(
            text=self._modality("text", rows),
            audio=self._modality("audio", rows),
            vision=self._modality("vision", rows),
            target=self._target(rows),
            index=torch.from_numpy(rows),
            ids=[self.split.ids[i] for i in places],
            raw_text=[self.split.raw_text[i] for i in places],
            unimodal={
                name: torch.from_numpy(np.asarray(values[rows]))
                for name, values in self.split.unimodal.items()
                if name in self.spec.modalities
            },
            **{name: torch.from_numpy(column[rows]) for name, column in self._spoken.items()},
            names={name: [column[i] for i in places] for name, column in self.conversation.names().items()},
        )

    def text(self, rows: npt.NDArray[np.int64]) -> Modality:
        """The text of the samples at ``rows`` alone."""
        return self._modality("text", rows)

    @cached_property
    def conversation(self) -> Conversation:
        """Who says each sample, in which dialogue and turn, as the file tells, and where it does not, its ids."""
        return self.split.conversation.completed(self.split.ids)

    @cached_property
    def _spoken(self) -> dict[str, npt.NDArray[np.int64]]:
        numbers = self.conversation.numbers()
        if (dialogue := numbers.get("dialogue")) is not None:
            numbers["dialogue_size"] = np.bincount(dialogue)[dialogue].astype(np.int64)
        return numbers

    def _target(self, rows: npt.NDArray[np.int64]) -> Tensor:
        if self.split.labels is not None:
            return torch.from_numpy(np.asarray(self.split.labels[rows]))
        return self.task.unknown_target(len(rows))

    def _modality(self, name: str, rows: npt.NDArray[np.int64]) -> Modality:
        if name not in self.spec.modalities:
            empty = torch.zeros(len(rows), 1, self.spec.dim(name))
            return Modality(empty, torch.zeros(len(rows), 1, dtype=torch.bool))
        ids = self.split.token_ids if name == "text" else None
        token_ids = None if ids is None else torch.from_numpy(np.asarray(ids[rows], dtype=np.int64))
        spans = self.split.spans[name][rows]
        observed = None
        if name == "text" and self.spec.tokens:
            assert token_ids is not None
            mask = inside(spans, token_ids.shape[1])
            x, token_ids = self._padded(token_ids, mask), None
        else:
            features = self.split.features[name]
            if self.split.token_steps is None or name == "text":
                mask = inside(spans, features.shape[1])
                observed = mask & np.asarray(features[rows]).any(2) if name in self.gaps else None
                x = torch.from_numpy(self._features(name, features, rows, mask if observed is None else observed))
            else:
                steps = np.asarray(self.split.token_steps[rows])
                mask = (steps >= spans[:, :1]) & (steps < spans[:, 1:])
                at_pieces = np.take_along_axis(np.asarray(features[rows]), np.maximum(steps, 0)[..., None], axis=1)
                x = torch.from_numpy(self._features(name, at_pieces, np.arange(len(rows)), mask))
            token_ids = None if token_ids is None else self._padded(token_ids, mask)
        modality = Modality(x, torch.from_numpy(mask), token_ids=token_ids)
        if observed is not None:
            modality = modality.replace(observed=torch.from_numpy(observed))
        length = self.spec.length(name)
        is_other = self.fit_lengths or mask.shape[1] != length  # as what was heard may be longer than any text
        return _fit_length(modality, length, self.spec.pad_id) if is_other else modality

    def _padded(self, ids: Tensor, mask: npt.NDArray[np.bool_]) -> Tensor:
        # Whatever a file has outside the text is padding: networks that look there would be moved by it.
        return ids.masked_fill_(torch.from_numpy(~mask), self.spec.pad_id)

    def _features(
        self, name: str, features: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], mask: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        if self.scaler is None or mask.all():
            x = np.asarray(features[rows], dtype=np.float32)
            if not mask.all():
                x[~mask] = 0
            return x if self.scaler is None else self.scaler(name, torch.from_numpy(x)).numpy()
        # Most of a corpus is padding, and scaling passes over its numbers several times: only real steps take part.
        sample, step = mask.nonzero()
        real = torch.from_numpy(np.asarray(features[rows[sample], step], dtype=np.float32))
        x = np.zeros((*mask.shape, features.shape[2]), dtype=np.float32)
        x[sample, step] = self.scaler(name, real).numpy()
        return x


def _fit_length(modality: Modality, length: int, pad: int) -> Modality:
    """Move the real steps to the front, then pad or cut behind, so that the time axis has ``length`` steps."""
    order = (~modality.mask).to(torch.uint8).argsort(dim=1, stable=True)
    missing = length - modality.mask.shape[1]

    def fit(value: Tensor) -> Tensor:
        value = value.gather(1, order.view(*order.shape, *[1] * (value.dim() - 2)).expand_as(value))
        if missing <= 0:
            if value.dtype == torch.int64:  # token ids that are cut still end with their last one, [SEP]
                last = modality.lengths.clamp(min=1)[:, None] - 1
                ending = value.gather(1, last)
                value = value.scatter(1, last.clamp(max=length - 1), ending)
            return value[:, :length]
        padding = pad if value.dtype == torch.int64 else 0
        return torch.cat([value, value.new_full((len(value), missing, *value.shape[2:]), padding)], 1)

    ids = None if modality.token_ids is None else fit(modality.token_ids)
    fitted = Modality(fit(modality.x), fit(modality.mask), token_ids=ids)
    return fitted if modality.observed is modality.mask else fitted.replace(observed=fit(modality.observed))
