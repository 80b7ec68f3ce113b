"""What was heard in place of the text: as the text of a test condition, and of a share of the training samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.data.corpus.corpus import SplitData
from mer_zoo.data.dataset import SplitDataset
from mer_zoo.data.missing.pattern import derive_key
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import dropped_at, uniform

__all__ = ["HeardInTraining", "check_share", "with_heard"]


def with_heard(split: SplitData, spec: DataSpec, place: str) -> SplitData:
    """A split whose text is what was heard.

    Where its features come without token ids and the text has both, the ids are those of unknown tokens.

    Args:
        split: The split.
        spec: Modalities and form of the text.
        place: What to call the split in messages, such as ``test of corpus.pkl``.

    Raises:
        MERError: If the file does not tell what was heard, or text is not in use or has the time axis of the others.

    Example:
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> corpus = generate(SyntheticConfig(train=4, valid=4, test=4))
        >>> with_heard(corpus.split("train"), corpus.spec(tokens=True), "train of SyntheticMER")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: train of SyntheticMER does not tell what was heard; give a file with heard_text and ...
    """
    heard, by_tokenizer = split.heard, "data.tokenizer the name or folder of a tokenizer that makes them"
    if "text" not in spec.modalities:
        raise MERError("what was heard is text, which is not in use; add it to data.modalities")
    if heard is None:
        needed = f"set {by_tokenizer} of it" if spec.tokens else "heard_text_features"
        raise MERError(f"{place} does not tell what was heard; give a file with heard_text and {needed}")
    if spec.aligned and len(spec.modalities) > 1:
        raise MERError(
            f"{place} has audio and vision at the words of its text, not at those that were heard; give a file whose"
            " modalities are not aligned, or set data.modalities: [text]"
        )
    if spec.tokens and heard.token_ids is None:
        raise MERError(f"{place} has no token ids of heard_text; give heard_text_bert, or set {by_tokenizer}")
    if not spec.tokens and heard.features is None:
        raise MERError(f"{place} has no features of heard_text; give heard_text_features, or set data.text: tokens")
    features, token_ids = dict(split.features), heard.token_ids
    if heard.features is not None:
        features["text"] = heard.features
        if token_ids is None and split.token_ids is not None:
            token_ids = np.full(heard.features.shape[:2], spec.unk_id, np.int32)
    return replace(
        split,
        features=features,
        spans={**split.spans, "text": heard.span},
        token_ids=token_ids,
        raw_text=heard.raw_text,
    )


def check_share(share: float) -> float:
    """Return the share of training samples whose text is what was heard, or refuse it.

    Raises:
        MERError: If it lies outside [0, 1].

    Example:
        >>> check_share(0.5)
        0.5
    """
    if not 0 <= share <= 1:
        raise MERError(f"heard_share is {share}; give the share of training samples that take heard_text, from 0 to 1")
    return share


class HeardInTraining:
    """Gives some samples of a training batch what was heard as their text, drawn anew for each sample and epoch.

    Args:
        dataset: The training split with what was heard as its text.
        share: With which probability a sample takes it.
        seed: Keys the draws.
    """

    def __init__(self, dataset: SplitDataset, share: float, seed: int) -> None:
        self.dataset, self.share, self.seed = dataset, share, seed

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """Make the view of a batch, which is on the CPU and not written to."""
        key = derive_key(self.seed, epoch, "heard")
        chosen = dropped_at(self.share, uniform(key, batch.index, torch.zeros(1, dtype=torch.long))).flatten()
        if not chosen.any():
            return batch
        rows = chosen.nonzero().flatten()
        heard = self.dataset.text(batch.index[rows].numpy())
        texts = list(batch.raw_text)
        for row, place in zip(rows.tolist(), batch.index[rows].tolist(), strict=True):
            texts[row] = self.dataset.split.raw_text[place]
        return batch.replace(text=_put(batch.text, heard, rows), raw_text=texts)


def _put(text: Modality, heard: Modality, rows: torch.Tensor) -> Modality:
    mask = text.mask.index_copy(0, rows, heard.mask)
    ids = text.token_ids
    if ids is not None and heard.token_ids is not None:
        ids = ids.index_copy(0, rows, heard.token_ids)
    observed = text.observed.index_copy(0, rows, heard.observed)
    return Modality(text.x.index_copy(0, rows, heard.x), mask, observed, ids)
