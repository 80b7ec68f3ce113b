"""Where the trace of a bias is read from: words, the group of a sample, or the mean of a modality's frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from mer_zoo.batch import Batch, BatchSource, DataSpec
from mer_zoo.confounding.groups import Groups
from mer_zoo.confounding.spelling import PADDING, holders, name_number, spell, spellings
from mer_zoo.confounding.trace import LISTED, TrainingSplit, WordRule, read_split
from mer_zoo.errors import MERError
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.options import check_choice

__all__ = ["BiasSource", "GroupOption", "TraceReader"]

BiasSource = Literal["words", "audio", "vision", "recording", "groups"]
GroupOption = str | Mapping[str, str] | None


class TraceReader:
    """Reads a trace of the bias.

    Args:
        spec: Shapes of the data and ids of special tokens.
        source: Where the trace is.
        groups: For ``groups``, which group each sample is of; see :class:`~mer_zoo.confounding.groups.Groups`.
        option: What the option is called by which groups are given, for messages; None where it is ``groups`` and goes
            by an option ``source``.

    Attributes:
        pools: Whether it is one vector a sample, and no numbers of words or groups.

    Raises:
        MERError: If the source is none, or not in use.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> batch = Batch.random(DataSpec(), SentimentClassification(3), size=2).replace(ids=["a$_$1", "b$_$1"])
        >>> reader = TraceReader(DataSpec(), "recording")
        >>> reader.read([batch], lambda batch: batch.target).texts, reader.numbers(batch, by_token=False).shape
        (['a', 'b'], torch.Size([2, 1]))
    """

    def __init__(
        self, spec: DataSpec, source: BiasSource = "words", groups: GroupOption = None, option: str | None = None
    ) -> None:
        check_choice("Propensity", "source", source, get_args(BiasSource))
        self.pools = source in ("audio", "vision")
        if self.pools and source not in spec.modalities:
            raise MERError(
                f"source is {source}, but the model reads {', '.join(spec.modalities)} only; set source: words"
            )
        self.source, self.dim = source, spec.dim(source) if self.pools else 0
        by_source = "source: groups, and groups" if source == "recording" else "groups"
        self.groups = Groups(groups, option or by_source) if source in ("recording", "groups") else None
        self.special = (spec.pad_id, spec.unk_id, spec.cls_id, spec.sep_id, spec.mask_id)

    def read(self, train: BatchSource, classes: Callable[[Batch], Tensor]) -> TrainingSplit:
        """Read the training split; where groups are read, ``words`` are their numbers and ``texts`` their names.

        Args:
            train: Its batches.
            classes: Gives the (B, *problems) classes of a batch.

        Raises:
            MERError: If there is nothing to read.
        """
        if self.groups is None:
            return read_split(train, classes, self._tokens, self.pool if self.pools else None)
        if self.source == "groups" and self.groups.of is None and self.groups.field is None:
            raise MERError(
                "source is groups, but groups is not given; give a CSV file with the columns id and group, or speaker"
                " or dialogue where the data tell it"
            )
        found: dict[int, str] = {}
        split = read_split(self._noting(train, found), classes, self._tokens, lambda batch: torch.zeros(len(batch), 0))
        names = self.groups.check(split.ids, [found[place] for place in range(len(split.ids))] if found else None)
        words = [torch.tensor([name_number(name)]) for name in names]
        return split._replace(words=words, by_token=False, pooled=None, texts=names)

    def _noting(self, train: BatchSource, found: dict[int, str]) -> Iterator[Batch]:
        """The batches, of which the groups that they tell are noted on the way."""
        for batch in train:
            if self.groups is not None and self.groups.field is not None:
                found.update(zip(batch.index.tolist(), self.groups.of_batch(batch), strict=True))
            yield batch

    def counted(self, rule: WordRule, split: TrainingSplit) -> TrainingSplit:
        """The training split with the words that a rule lets count.

        Raises:
            MERError: If words that it names are not there.
        """
        counted = self.without(rule.keep_words, split)
        return self.only(rule.listed, counted) if rule.words == LISTED else counted

    def without(self, names: Sequence[str], split: TrainingSplit) -> TrainingSplit:
        """The training split less some words.

        Args:
            names: Words as they are spelt, or #N for the token of number N.
            split: What was read.

        Returns:
            The split with rows of what is left of their numbers.

        Raises:
            MERError: If one of them is not in it.
        """
        if not names:
            return split
        numbers = self._named(split)
        lacking = [name for name in names if name.lower() not in numbers]
        if lacking:
            raise MERError(
                f"keep_words of PropensityWeighting names {', '.join(map(repr, lacking[:3]))}, which the model does not"
                f" read as a word of the"
                " training split; name words as propensity.json of a run spells them, pieces of words by their '#' and"
                " number"
            )
        dropped = torch.tensor([number for name in names for number in numbers[name.lower()]])
        return split._replace(words=[row[~torch.isin(row, dropped)] for row in split.words])

    def only(self, names: Sequence[str] | None, split: TrainingSplit) -> TrainingSplit:
        """The training split with some words alone; those that it lacks are passed over.

        Args:
            names: Words as they are spelt, or #N for the token of number N; None where the list is not at hand.
            split: What was read.

        Raises:
            MERError: If it has none of them.
        """
        if names is None:
            raise MERError("the list of biased words is not at hand; set words to the file that names them")
        numbers = self._named(split)
        kept = [number for name in names for number in numbers.get(name.lower(), [])]
        if names and not kept:
            raise MERError(
                f"none of the {len(names)} words that are listed as biased is in the training split, {names[0]!r} for"
                " one; list the words of these data by mer-zoo words"
            )
        return split._replace(words=[row[torch.isin(row, row.new_tensor(kept))] for row in split.words])

    def _named(self, split: TrainingSplit) -> dict[str, list[int]]:
        """Numbers of words by their spelling, and by # and number."""
        numbers: dict[str, list[int]] = {}
        vocabulary = torch.unique(torch.cat(split.words))
        for number, name in zip(vocabulary.tolist(), self.spellings(vocabulary, split), strict=True):
            for known in filter(None, (name, f"#{number}")):
                numbers.setdefault(known, []).append(number)
        return numbers

    def numbers(self, batch: Batch, by_token: bool) -> Tensor:
        """(B, T) numbers of words, or (B, 1) of groups; negative for none.

        Args:
            batch: The samples.
            by_token: Whether words are token ids, and not spelt.

        Returns:
            int64 numbers on the device of the batch.

        Raises:
            MERError: If the batch lacks the words.
        """
        if self.groups is not None:
            found = [name_number(name) if name else PADDING for name in self.groups.of_batch(batch)]
            return torch.tensor(found, device=batch.index.device)[:, None]
        if by_token:
            tokens = self._tokens(batch)
            if tokens is None:
                raise MERError(
                    "this batch has no token ids, but the propensities were fitted with them; give a file with both"
                )
            return tokens
        if len(batch.raw_text) != len(batch):
            raise MERError(
                "this batch has no transcripts, but the propensities were fitted with them; give a file with both"
            )
        return spell(batch.raw_text).to(batch.index.device)

    def spellings(self, numbers: Tensor, split: TrainingSplit) -> list[str]:
        """How words are spelt, or groups called.

        Args:
            numbers: (V,) of words or groups.
            split: What was read.

        Returns:
            V names, empty where nothing tells.
        """
        if self.groups is None:
            return spellings(numbers, split.words, split.texts)
        names = {int(word): name for word, name in zip(split.words, split.texts, strict=True)}
        return [names.get(number, "") for number in numbers.tolist()]

    def holders(self, number: int, split: TrainingSplit) -> list[str]:
        """Words that a token without a spelling is a piece of; none where words are read whole."""
        return holders(number, split.words, split.texts) if split.by_token else []

    def pool(self, batch: Batch) -> Tensor:
        """(B, d) mean of the frames of the modality."""
        modality = batch.modality(self.source)
        return masked_mean(modality.x.float(), modality.mask)

    def _tokens(self, batch: Batch) -> Tensor | None:
        ids = batch.text.ids
        if ids is None:
            return None
        return ids.masked_fill(~batch.text.mask | torch.isin(ids, ids.new_tensor(self.special)), PADDING)
