"""What MACI keeps of the language: the bias words, and how strongly their effect is subtracted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, DataSpec
from mer_zoo.confounding.reader import TraceReader
from mer_zoo.confounding.strength import Selection, Strength
from mer_zoo.confounding.word_rule import listed_words
from mer_zoo.errors import MERError
from mer_zoo.functional.deconfounding import TAUS
from mer_zoo.functional.language_bias import bias_words, counterfactual_ids
from mer_zoo.functional.variants import Variant
from mer_zoo.wrappers.kept_words import special_ids, with_ids

__all__ = ["LanguageBias", "listed_ids", "words_of"]


class LanguageBias(Strength):
    """Bias words, beside the strength tau, for each problem of a task, in buffers of fixed shape.

    Args:
        spec: The ids of special tokens.
        problems: () for one problem, (E,) for E emotions; the buffers lead with it.
        num_words: Most bias words.
        selection: How tau is chosen; see :mod:`mer_zoo.wrappers.maci.wrapper`.
        fixed_tau: The strength if it is not chosen.

    Attributes:
        on: Whether the language is debiased at all.
        words: Bias words, -1 where there are fewer.

    Example:
        >>> bias = LanguageBias(DataSpec(tokens=True), (), num_words=2, selection="fixed", fixed_tau=0.5)
        >>> bias.fit(torch.tensor([101, 7, 7, 8, 102]), torch.tensor([[0], [0], [0], [2], [2]]), num_classes=3)
        >>> bias.words.tolist(), bias.tau_in_use.item()
        ([7, 8], 0.5)
    """

    on: Tensor
    words: Tensor

    def __init__(
        self, spec: DataSpec, problems: Sequence[int], num_words: int, selection: Selection, fixed_tau: float
    ) -> None:
        super().__init__("MACI", "tau", problems, selection, fixed_tau, TAUS)
        self.special, self.mask_id, self.num_words = special_ids(spec), spec.mask_id, num_words
        self.register_buffer("on", torch.tensor(False))
        self.register_buffer("words", torch.full((*problems, num_words), -1))

    def fit(
        self, ids: Tensor, classes: Tensor, num_classes: int, threshold: float = 0.1, variant: Variant = "released"
    ) -> None:
        """Find the bias words and switch on.

        Args:
            ids: (M,) token ids of the training split in its order.
            classes: (M, G) class in each problem of the sample that each token stands in.
            num_classes: Number of classes.
            threshold: See :func:`~mer_zoo.functional.language_bias.bias_words`.
            variant: See :func:`~mer_zoo.functional.language_bias.bias_words`.
        """
        words = self.words.view(-1, self.num_words)
        real = ~torch.isin(ids, ids.new_tensor(self.special))
        for row, column in zip(words, classes[real].T, strict=True):
            found = bias_words(ids[real], column, num_classes, self.num_words, threshold, variant).ids
            row[: len(found)] = found.to(row)
        self.on.fill_(True)

    def set_words(self, words: Tensor) -> None:
        """Take the same words for every problem, and switch on.

        Args:
            words: (V,) token ids, at most as many as there is room for.
        """
        rows = self.words.view(-1, self.num_words)
        rows.fill_(-1)
        rows[:, : len(words)] = words.to(rows)
        self.on.fill_(True)

    def views(self, batch: Batch) -> tuple[list[Batch], list[int]]:
        """The batch with each distinct counterfactual text, and which of them is that of each problem.

        Raises:
            MERError: If the batch has no token ids.
        """
        ids = batch.text.ids
        if ids is None:
            raise MERError(
                "this batch has text features without token ids, but MACI was prepared with them; give a file with both"
            )
        rows = self.words.view(-1, self.num_words)
        texts = torch.stack([counterfactual_ids(ids, row, self.special, self.mask_id) for row in rows])
        if len(texts) == 1:  # looking for equal texts would make a GPU wait
            return [batch.replace(text=with_ids(batch.text, ids, texts[0]))], [0]
        distinct, which = torch.unique(texts, dim=0, return_inverse=True)
        return [batch.replace(text=with_ids(batch.text, ids, changed)) for changed in distinct], which.tolist()

    @property
    @override
    def is_on(self) -> bool:
        return bool(self.on)

    @override
    def notes(self) -> list[str]:
        if not self.is_on:
            return ["MACI removed the label bias only: the language was switched off, or there were no token ids"]
        return super().notes()


def words_of(file: str | None, most: int, language: bool | None) -> tuple[str, ...] | None:
    """The bias words that a file names, None without one.

    Args:
        file: MACI's option ``words``.
        most: Its option ``num_words``.
        language: Its option ``language``.

    Raises:
        MERError: If the file can't be read, or would not be used.
    """
    if file is not None and language is False:
        raise MERError(f"words is {file}, but language false of MACI does not use it; leave one of them out")
    return None if file is None else listed_words("MACI", file, most)


def listed_ids(spec: DataSpec, train: BatchSource, words: Sequence[str]) -> Tensor:
    """Token ids of words in the training split.

    Args:
        spec: The ids of special tokens.
        train: The training split.
        words: As they are spelt, or #N for the token of number N.

    Raises:
        MERError: If the split has no token ids, or none of the words.
    """
    reader = TraceReader(spec)
    split = reader.read(train, lambda batch: torch.zeros(len(batch), 1))
    if not split.by_token:
        raise MERError("words of MACI need token ids, which the training split does not have; leave words out")
    found: Tensor = torch.unique(torch.cat(reader.only(words, split).words))
    return found
