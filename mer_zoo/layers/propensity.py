"""How likely each class is by the biased words of a text alone: fitted on the training split, for its own samples out of sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.batch import Batch, DataSpec
from mer_zoo.data.overlap import recordings
from mer_zoo.errors import MERError
from mer_zoo.functional.deconfounding import deconfounding_weights, effective_sample_size
from mer_zoo.functional.language_bias import bias_words, split_words
from mer_zoo.functional.propensity import CrossFit, assign_folds, cross_fit, word_counts
from mer_zoo.functional.sentiment import to_classes
from mer_zoo.layers.language_bias import token_ids
from mer_zoo.model import BatchSource
from mer_zoo.task import Task

__all__ = ["Propensity"]

LARGEST_WEIGHT = 10.0
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
SCORE_CLASSES = 7  # a single real-valued output is rounded to these
_LEAST = float(torch.finfo(torch.float32).tiny)


class _Split(NamedTuple):
    """What is read of the training split: M tokens of N samples."""

    ids: Tensor
    sample: Tensor
    classes: Tensor
    places: Tensor
    names: list[str]
    texts: list[str]


class Propensity(nn.Module):
    """p_b(y | biased words), for each problem of a task.

    The biased words are MACI's: frequent, and uneven over the classes. Token ids where there are any, else the words of the transcripts.

    Args:
        spec: The ids of special tokens.
        task: Whose classes; a single real-valued output is rounded to seven.
        max_words: Most biased words.
        min_cv: Least coefficient of variation of a biased word's counts over the classes.
        folds: Folds of the cross-fit; whole recordings where the ids tell them.

    Attributes:
        words: (*problems, max_words) ids of the biased words, -1 where there are fewer.
        prior: (*problems, C) shares of the classes in the training split.
        loss: (*problems,) log-loss out of sample, in nats.
        prior_loss: (*problems,) the same of the class shares.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(tokens=True, vocab_size=200), SentimentClassification(3)
        >>> propensity, batch = Propensity(spec, task), Batch.random(spec, task, size=30)
        >>> propensity.fit([batch])
        >>> propensity.log_p(batch).shape, propensity.out_of_fold.shape, propensity.train_weights().mean().item()
        (torch.Size([30, 3]), torch.Size([30, 3]), 1.0)
    """

    words: Tensor
    coefficients: Tensor
    intercept: Tensor
    prior: Tensor
    loss: Tensor
    prior_loss: Tensor
    by_token: Tensor
    fitted: Tensor

    def __init__(self, spec: DataSpec, task: Task, max_words: int = 100, min_cv: float = 0.1, folds: int = 5) -> None:
        super().__init__()
        self.task, self.max_words, self.min_cv, self.folds = task, max_words, min_cv, folds
        self.special = (spec.pad_id, spec.unk_id, spec.cls_id, spec.sep_id, spec.mask_id)
        self.shape = task.shape if task.is_classification else (SCORE_CLASSES,)
        *problems, num_classes = self.shape
        self.register_buffer("words", torch.full((*problems, max_words), -1))
        self.register_buffer("coefficients", torch.zeros(*problems, max_words, num_classes))
        self.register_buffer("intercept", torch.zeros(*problems, num_classes))
        self.register_buffer("prior", torch.zeros(*problems, num_classes))
        self.register_buffer("loss", torch.zeros(tuple(problems)))
        self.register_buffer("prior_loss", torch.zeros(tuple(problems)))
        self.register_buffer("by_token", torch.tensor(True))
        self.register_buffer("fitted", torch.tensor(False))
        # No buffers: their size is not known at construction, DDP would send them around, and no prediction needs them.
        self.out_of_fold = torch.zeros(0, *self.shape)
        self.target = torch.zeros(0, *problems, dtype=torch.long)

    def classes(self, target: Tensor) -> Tensor:
        """Classes (B, *problems) of labels as they stand in a Batch."""
        encoded = self.task.encode(target)
        return encoded if self.task.is_classification else to_classes(encoded, SCORE_CLASSES)

    @torch.no_grad()
    def fit(self, train: BatchSource) -> None:
        """Fit on the training split.

        Raises:
            MERError: If it has neither token ids nor transcripts.
        """
        split = self._read(train)
        fold = assign_folds(_groups(split.names), self.folds)
        fits = [self._fit_problem(g, split, fold) for g in range(split.classes.shape[1])]
        table = torch.stack([fit.log_p for fit in fits], 1).view(-1, *self.shape)
        self.target = torch.zeros(int(split.places.max()) + 1, *self.shape[:-1], dtype=torch.long)
        self.target[split.places] = split.classes.view(-1, *self.shape[:-1])
        self.out_of_fold = torch.zeros(*self.target.shape, self.shape[-1], dtype=torch.float64)
        self.out_of_fold[split.places] = table
        self.fitted.fill_(True)

    def _fit_problem(self, g: int, split: _Split, fold: Tensor) -> CrossFit:
        num_classes, size = self.shape[-1], len(split.places)
        y = split.classes[:, g]

        def words(rows: Tensor) -> Tensor:
            kept = torch.zeros(size, dtype=torch.bool).index_fill(0, rows, True)[split.sample]
            ids, classes = split.ids[kept], y[split.sample[kept]]
            found = bias_words(ids, classes, num_classes, self.max_words, self.min_cv).ids
            return F.pad(found, (0, self.max_words - len(found)), value=-1)

        fit = cross_fit(lambda rows: word_counts(split.ids, split.sample, words(rows), size), y, num_classes, fold)
        values = {
            "words": words(torch.arange(size)),
            "coefficients": fit.full.weight,
            "intercept": fit.full.bias,
            "prior": F.one_hot(y, num_classes).double().mean(0),
            "loss": torch.tensor(fit.loss),
            "prior_loss": torch.tensor(fit.prior_loss),
        }
        for name, value in values.items():
            buffer = self.get_buffer(name)
            rows = buffer.view(-1, *value.shape)
            rows[g] = value.to(buffer)
        return fit

    def _read(self, train: BatchSource) -> _Split:
        tokens: list[Tensor] = []
        spelled: list[Tensor] = []
        parts: dict[str, list[Any]] = {"classes": [], "index": [], "names": [], "texts": []}
        for batch in train:
            found = token_ids(batch.text)
            if found is not None:
                tokens.append(torch.where(batch.text.mask, found, -1).cpu())
            spelled.append(_spell(batch.raw_text))
            parts["classes"].append(self.classes(batch.target).view(len(batch), -1).cpu())
            parts["index"].append(batch.index.cpu())
            parts["names"] += batch.ids
            parts["texts"] += batch.raw_text
        by_token = len(tokens) == len(spelled)
        rows = [row for table in (tokens if by_token else spelled) for row in table]
        sample = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(row) for row in rows], dtype=torch.long))
        ids = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.long)
        real = (ids >= 0) & ~(torch.isin(ids, ids.new_tensor(self.special)) & by_token)
        if not real.any():
            raise MERError(
                "the training split has neither token ids nor transcripts, so there are no biased words to weigh by; give a file"
                " that has them"
            )
        self.by_token.fill_(by_token)
        classes, index = torch.cat(parts["classes"]), torch.cat(parts["index"])
        return _Split(ids[real], sample[real], classes, index, parts["names"], parts["texts"])

    def log_p(self, batch: Batch) -> Tensor:
        """(B, *problems, C) log-probabilities of samples that are not of the training split.

        Raises:
            MERError: If the batch lacks the words that the fit goes by.
        """
        ids = self._ids(batch)
        counts = (ids[:, :, None, None] == self.words.view(-1, self.max_words)).sum(1)
        coefficients = self.coefficients.view(-1, self.max_words, self.shape[-1])
        scores = torch.einsum("bgv,gvc->bgc", counts.to(coefficients), coefficients)
        return (scores.view(-1, *self.shape) + self.intercept).log_softmax(-1)

    def _ids(self, batch: Batch) -> Tensor:
        if not self.by_token:
            return _spell(batch.raw_text).to(self.words.device)
        found = token_ids(batch.text)
        if found is None:
            raise MERError(
                "this batch has no token ids, but the propensities were fitted with them; give a file with both"
            )
        return torch.where(batch.text.mask, found, -2)

    def weights(self, log_p: Tensor, target: Tensor, strength: float = 1.0, largest: float = LARGEST_WEIGHT) -> Tensor:
        """Weights of samples, not normalised.

        Args:
            log_p: (N, *problems, C).
            target: Labels as they stand in a Batch.
            strength: See :func:`~mer_zoo.functional.deconfounding.deconfounding_weights`.
            largest: Largest weight.

        Returns:
            (N, *problems) float64.
        """
        prior = self.prior.to(log_p.device)
        return deconfounding_weights(log_p, self.classes(target), prior, strength=strength, largest=largest)

    def train_weights(self, strength: float = 1.0, largest: float = LARGEST_WEIGHT) -> Tensor:
        """(N, *problems) float64 weights of the training samples by their index, with mean 1."""
        weights = deconfounding_weights(
            self.out_of_fold, self.target, self.prior.cpu(), strength=strength, largest=largest
        )
        return weights / weights.mean(0).clamp(min=_LEAST)

    def train_offsets(self) -> Tensor:
        """(N, *problems, C) log p_b - log P(y) of the training samples by their index."""
        return self.out_of_fold.clamp(min=-80.0) - self.prior.cpu().double().log().clamp(min=-80.0)

    @property
    def gain(self) -> Tensor:
        """(*problems,) by how much the words lower the log-loss out of sample; not above 0 where no confounding is seen."""
        return self.prior_loss - self.loss

    @property
    def num_words(self) -> Tensor:
        """(*problems,) number of biased words."""
        return (self.words >= 0).sum(-1)

    def diagnostics(self) -> dict[str, float]:
        """Number of words and gain out of sample, by the name of each problem."""
        numbers = {"words": self.num_words, "gain": self.gain}
        return {
            f"propensity/{kind}_{name}" if name else f"propensity/{kind}": round(float(value), 6)
            for kind, values in numbers.items()
            for name, value in zip(self.task.problems, values.flatten().tolist(), strict=True)
        }

    def effective_sizes(self, strength: float = 1.0, largest: float = LARGEST_WEIGHT) -> list[float]:
        """Effective number of training samples of each problem."""
        weights = self.train_weights(strength, largest).view(len(self.target), -1)
        return [effective_sample_size(column) for column in weights.T]


def _spell(texts: Sequence[str]) -> Tensor:
    """(B, T) a number for each word of a transcript that depends on the word alone, padded with -2."""
    rows = [[_number(word) for word in split_words(text)] for text in texts]
    longest = max([len(row) for row in rows], default=0)
    return torch.tensor([row + [-2] * (longest - len(row)) for row in rows], dtype=torch.long).view(len(rows), longest)


def _number(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big") >> 1


def _groups(names: Sequence[str]) -> Tensor:
    """(N,) the recording of each sample, or its own number where the ids do not tell."""
    found = recordings(names)
    if found is None:
        return torch.arange(len(names))
    place = {name: at for at, name in enumerate(dict.fromkeys(found))}
    return torch.tensor([place[name] for name in found])
