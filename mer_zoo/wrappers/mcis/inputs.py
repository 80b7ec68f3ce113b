"""MCIS's counterfactual inputs: the mean of the training inputs, texts without words, texts without content."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.confounding.spelling import spellings
from mer_zoo.errors import MERError
from mer_zoo.foreign import read_regular
from mer_zoo.functional.language_bias import split_words
from mer_zoo.functional.padding import left_align, undo_left_align
from mer_zoo.layers.sequence import zero_padding
from mer_zoo.task import Task
from mer_zoo.wrappers.kept_words import KeptWords, TrainTokens, biased_words, special_ids, with_ids

__all__ = ["RULES", "ContextWords", "MeanInputs", "read_lexicon"]

RULES = ("not_biased", "rare")
LARGEST_LEXICON = 2**22  # bytes
MOST_WORDS = 4096
WORD_THRESHOLD = 0.1  # MACI's


class MeanInputs(nn.Module):
    """The mean of the training inputs, step by step and feature by feature, padded to the length of the spec.

    Real steps are moved to the front before, and padding counts as zeros, as in Corsair. Of token ids there is no
    mean; in their place stands a text of [MASK] alone.

    Args:
        spec: Shapes of the data.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec = DataSpec(audio_dim=2, audio_len=1, modalities=["audio"])
        >>> batch = Batch.random(spec, SentimentRegression(), size=2)
        >>> x = torch.tensor([[[1.0, 3.0]], [[3.0, 5.0]]])
        >>> means = MeanInputs(spec)
        >>> means.fit([batch.replace(audio=Modality(x, torch.ones(2, 1, dtype=torch.bool)))])
        >>> means.batch(batch).audio.x.tolist()
        [[[2.0, 4.0]]]
    """

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        for name in spec.modalities:
            length, tokens = spec.length(name), name == "text" and spec.tokens
            self.register_buffer(f"x_{name}", torch.zeros(length, 1 if tokens else spec.dim(name)))
            self.register_buffer(f"real_{name}", torch.zeros(length, dtype=torch.bool))

    def fit(self, train: Iterable[Batch]) -> None:
        """Take the means of a split."""
        sums = {name: self.get_buffer(f"x_{name}").double().cpu() * 0 for name in self.spec.modalities}
        real = {name: torch.zeros(self.spec.length(name), dtype=torch.bool) for name in sums}
        count = 0
        for batch in train:
            count += len(batch)
            for name, total in sums.items():
                modality = batch.modality(name)
                steps = modality.mask.shape[1]
                if not modality.is_tokens:
                    x, mask, _ = left_align(zero_padding(modality.x, modality.mask), modality.mask)
                    total[:steps] += x.double().sum(0).cpu()
                else:
                    mask = left_align(modality.mask, modality.mask)[1]
                real[name][:steps] |= mask.any(0).cpu()
        for name, total in sums.items():
            self.get_buffer(f"x_{name}").copy_(total / max(count, 1))
            self.get_buffer(f"real_{name}").copy_(real[name])

    def batch(self, like: Batch) -> Batch:
        """The mean as a batch of one sample, without a label.

        Args:
            like: Tells the type of labels, and what stands for a modality that is not in use.
        """
        given = {name: like.modality(name).take(torch.zeros(1, dtype=torch.long)) for name in MODALITIES}
        for name in self.spec.modalities:
            mask = self.get_buffer(f"real_{name}")[None]
            if name == "text" and self.spec.tokens:
                given[name] = Modality(self._masks(mask), mask)
            else:
                given[name] = Modality(self.get_buffer(f"x_{name}")[None], mask)
        target, index = like.target[:1], torch.zeros_like(like.index[:1])
        return Batch(given["text"], given["audio"], given["vision"], target, index, ids=[""], raw_text=[""])

    def _masks(self, mask: Tensor) -> Tensor:
        """[CLS] [MASK] ... [SEP] at the real steps."""
        spec = self.spec
        last = int(mask.sum()) - 1
        ids = torch.where(mask, spec.mask_id, spec.pad_id)
        ids[:, 0] = spec.cls_id
        ids[:, max(last, 0)] = spec.sep_id
        return ids

    def without_words(self, batch: Batch) -> Batch:
        """Each sample with every word masked, and the mean in place of what was heard and seen."""
        text, changed = batch.text, {}
        if "text" in self.spec.modalities:
            ids, special = text.ids, torch.tensor(special_ids(self.spec), device=text.mask.device)
            if ids is not None:
                masked = ids.masked_fill(~torch.isin(ids, special), self.spec.mask_id)
                changed["text"] = with_ids(text, ids, masked)
            else:
                changed["text"] = text.replace(x=torch.zeros_like(text.x))
        for name in self.spec.modalities:
            if name != "text":
                changed[name] = self._spread(batch.modality(name), name)
        return batch.replace(**changed)

    def _spread(self, modality: Modality, name: str) -> Modality:
        """The mean at the steps that each sample has, so that modalities that share a time axis still do."""
        size, steps = modality.mask.shape
        x = self.get_buffer(f"x_{name}")[:steps].expand(size, -1, -1)
        _, _, order = left_align(modality.mask, modality.mask)
        return Modality(zero_padding(undo_left_align(x, order), modality.mask).to(modality.x), modality.mask)


def read_lexicon(path: str) -> frozenset[str]:
    r"""Read the words of a lexicon.

    Args:
        path: A text file with a word a line.

    Raises:
        MERError: If it cannot be read, or has no words.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "words.txt"
        >>> _ = path.write_text("Good\nbad\n")
        >>> sorted(read_lexicon(str(path)))
        ['bad', 'good']
    """
    try:
        text = read_regular(Path(path), LARGEST_LEXICON).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MERError(
            f"content: {path} can't be read as a lexicon ({error}); give {' or '.join(RULES)}, or a text file with a"
            " word a line"
        ) from error
    words = frozenset(split_words(text))
    if not words:
        raise MERError(f"content: {path} has no words; give a text file with a word a line")
    return words


class ContextWords(KeptWords):
    """The words of a text that count as its context; the others, its content, are masked.

    Args:
        spec: The ids of special tokens, which are always kept.
        content: ``not_biased``, ``rare``, or a lexicon's file, whose words are content; None for no context.
        num_words: How many words the first two leave at most.
        problems: Of how many problems ``not_biased`` leaves biased words.

    Attributes:
        hides: Whether ``words`` are those that are masked, as of a lexicon, and not those that are left.
    """

    hides: Tensor

    def __init__(self, spec: DataSpec, content: str | None, num_words: int, problems: int) -> None:
        # one size for all, since whoever loads a model has no lexicon
        super().__init__("MCIS", spec, max(MOST_WORDS, num_words * problems))
        self.spec, self.content, self.num_words = spec, content, num_words
        self.lexicon = None if content is None or content in RULES else read_lexicon(content)
        self.register_buffer("hides", torch.tensor(False))

    def read(self, train: Iterable[Batch], task: Task) -> None:
        """Find the words in a training split; nothing without token ids.

        Raises:
            MERError: If none of a lexicon's words is in it.
        """
        if self.content is None:
            return
        tokens = TrainTokens.read(train, task, self.spec)
        if tokens is None:
            return
        if self.lexicon is not None:
            self.fit(self._spelt(train, tokens))
            self.hides.fill_(True)
        elif self.content == "rare":
            self.fit(_by_frequency(tokens.ids)[: self.num_words])
        else:
            self.fit(biased_words(tokens, task.graded_shape[-1], "maci", self.num_words, WORD_THRESHOLD, 1))

    def _spelt(self, train: Iterable[Batch], tokens: TrainTokens) -> Tensor:
        """Tokens that are words of the lexicon, as far as the transcripts tell."""
        rows, texts = [], []
        for batch in train:
            assert batch.text.ids is not None
            special = torch.tensor(self.special, device=batch.text.ids.device)
            real = batch.text.mask & ~torch.isin(batch.text.ids, special)
            rows += [ids[kept].cpu() for ids, kept in zip(batch.text.ids, real, strict=True)]
            texts += batch.raw_text or [""] * len(batch)
        words = _by_frequency(tokens.ids)
        names = spellings(words, rows, texts)
        assert self.lexicon is not None
        found = words[torch.tensor([name in self.lexicon for name in names], dtype=torch.bool)]
        if not len(found):
            raise MERError(
                f"content: no word of {self.content} is known in the training split, whose transcripts tell how tokens"
                f" are spelt; give another lexicon, or {' or '.join(RULES)}"
            )
        return found

    def view(self, batch: Batch) -> Batch:
        """The batch with the content of its text masked."""
        ids = batch.text.ids
        if ids is None or not self.hides:
            return super().view(batch)
        masked = ids.masked_fill(torch.isin(ids, self.words), self.mask_id)
        return batch.replace(text=with_ids(batch.text, ids, masked))


def _by_frequency(ids: Tensor) -> Tensor:
    """Each id once, the most frequent first; of equal counts the smaller one."""
    words, counts = torch.unique(ids, return_counts=True)
    ordered: Tensor = words[counts.argsort(descending=True, stable=True)]
    return ordered
