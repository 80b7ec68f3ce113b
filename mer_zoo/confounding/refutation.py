"""Refuting propensities: would as much have been found where there is nothing, and does it hold where it should?

As DoWhy refutes an estimated effect. A placebo trace, the words of other samples in place of one's own, must tell
nothing of the labels. A random common cause, a made-up word that half of the samples have by the toss of a coin, must
change neither gain nor weights. In a subset of the recordings both must be what they are in all. None of them can show
that the words are no cause of the label, which is an assumption.

References:
    Sharma and Kiciman, "DoWhy: An End-to-End Library for Causal Inference", arXiv:2011.04216, 2020.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mer_zoo.confounding.propensity import Propensity
from mer_zoo.confounding.trace import LISTED, TrainingSplit, WordRule, group_numbers
from mer_zoo.errors import MERError

__all__ = ["REFUTATIONS", "Refutation", "permuted", "refute", "subset", "with_random_word"]

REFUTATIONS = ("placebo", "random common cause", "subset")
SHARE = 0.8  # of the recordings in a subset
RANDOM_WORD = 2**62 - 1  # the number of a word that no corpus has
CLOSE = 0.9  # correlation of weights that are the same for all that matters
LIKELY = 0.05  # share of placebos that open the gate by chance


class Refutation(NamedTuple):
    """What came of fits to changed data, for one problem of a task.

    Args:
        kind: One of ``REFUTATIONS``.
        problem: Its name, "" for a nameless one.
        gain: Gain over the class shares out of sample in each fit, nats.
        is_open: Whether the gate was open in each.
        words: Biased words found in each.
        correlation: Of log weights with those of the data as they are, over the samples that both have, in each; NaN
            where one of them does not vary.

    Example:
        >>> Refutation("placebo", "", (0.001, -0.002), (False, False), (0, 0), (0.0, 0.0)).holds(0.4, True)
        True
    """

    kind: str
    problem: str
    gain: tuple[float, ...]
    is_open: tuple[bool, ...]
    words: tuple[int, ...]
    correlation: tuple[float, ...]

    def holds(self, gain: float, is_open: bool) -> bool:
        """Whether it speaks for what was found.

        Args:
            gain: The gain on the data as they are.
            is_open: Whether the gate is open there.
        """
        if self.kind == "placebo":
            return sum(self.is_open) <= max(1, round(LIKELY * len(self.is_open))) and max(self.gain) < max(gain, 1e-3)
        if not is_open:
            return not any(self.is_open) or sum(self.is_open) <= max(1, round(LIKELY * len(self.is_open)))
        return all(self.is_open) and statistics.fmean(self.correlation) >= CLOSE


def permuted(split: TrainingSplit, generator: torch.Generator) -> TrainingSplit:
    """The split, each sample with the words of another one.

    Args:
        split: What was read of a training split.
        generator: Of the order.

    Example:
        >>> words = [torch.tensor([7]), torch.tensor([8])]
        >>> split = TrainingSplit(words, True, None, torch.zeros(2, 1), ["a", "b"], [""] * 2)
        >>> sorted(int(row) for row in permuted(split, torch.Generator().manual_seed(0)).words)
        [7, 8]
    """
    order = torch.randperm(len(split.ids), generator=generator)
    words, texts = ([column[place] for place in order.tolist()] for column in (split.words, split.texts))
    return split._replace(words=words, texts=texts)


def with_random_word(split: TrainingSplit, generator: torch.Generator) -> TrainingSplit:
    """The split with a word more that tells nothing: half of the samples have it by chance.

    Args:
        split: What was read of a training split.
        generator: Of the tosses.

    Example:
        >>> split = TrainingSplit([torch.tensor([7])] * 4, True, None, torch.zeros(4, 1), list("abcd"), [])
        >>> 0 < sum(len(row) - 1 for row in with_random_word(split, torch.Generator().manual_seed(0)).words) < 4
        True
    """
    has = torch.rand(len(split.ids), generator=generator) < 0.5
    word = torch.tensor([RANDOM_WORD])
    rows = [torch.cat([row, word.to(row)]) if own else row for row, own in zip(split.words, has.tolist(), strict=True)]
    return split._replace(words=rows)


def subset(split: TrainingSplit, generator: torch.Generator, share: float = SHARE) -> tuple[TrainingSplit, Tensor]:
    """Some of the recordings; of samples, where ids tell none.

    Args:
        split: What was read of a training split.
        generator: Of the choice.
        share: Of the recordings.

    Returns:
        The smaller split, and (N',) places of its samples in the whole.

    Example:
        >>> split = TrainingSplit([torch.tensor([7])] * 4, True, None, torch.zeros(4, 1), list("abcd"), [""] * 4)
        >>> subset(split, torch.Generator().manual_seed(0), 0.5)[1].shape
        torch.Size([2])
    """
    groups = group_numbers(split.ids)
    size = int(groups.max()) + 1
    chosen = torch.randperm(size, generator=generator)[: max(2, round(share * size))]
    rows = torch.isin(groups, chosen).nonzero()[:, 0]
    places = rows.tolist()
    words = [split.words[place] for place in places]
    ids, texts = ([names[place] for place in places] for names in (split.ids, split.texts))
    return split._replace(words=words, classes=split.classes[rows], ids=ids, texts=texts), rows


def refute(fitted: Propensity, split: TrainingSplit, draws: int = 5, seed: int = 0) -> list[Refutation]:
    """Fit again to changed data, several times each.

    Args:
        fitted: Propensities that were fitted on the split; they stay as they are.
        split: What they read; :meth:`~mer_zoo.confounding.Propensity.read` reads it.
        draws: Fits of each kind.
        seed: Equal seeds give equal draws.

    Returns:
        One a kind and problem.

    Raises:
        MERError: For propensities of another trace than words, or no draws.

    Example:
        >>> from mer_zoo.batch import Batch, DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(tokens=True, vocab_size=110, text_len=2), SentimentClassification(2)
        >>> batch = Batch.random(spec, task, size=100)
        >>> batch = batch.replace(target=batch.text.x[:, 0] % 2)  # six words, and the first one is told by the class
        >>> fitted = Propensity(spec, task)
        >>> fitted.fit([batch])
        >>> [(each.kind, each.is_open) for each in refute(fitted, fitted.read([batch]), draws=1)]
        [('placebo', (False,)), ('random common cause', (True,)), ('subset', (True,))]
    """
    if fitted.source != "words":
        raise MERError(f"propensities of source {fitted.source} cannot be refuted; refute those of words")
    if draws < 1:
        raise MERError(f"draws is {draws}; give at least 1")
    found = []
    rule, split = _resolved(fitted, split)
    for number, kind in enumerate(REFUTATIONS):
        fits = [_fit_again(fitted, rule, split, kind, _generator(seed, number, draw)) for draw in range(draws)]
        found += [_gathered(kind, problem, g, fitted, fits) for g, problem in enumerate(fitted.task.problems)]
    return found


def _generator(seed: int, kind: int, draw: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * seed + 1009 * kind + draw)


def _resolved(fitted: Propensity, split: TrainingSplit) -> tuple[WordRule, TrainingSplit]:
    """The words that count, and the rule without their names: a changed split may lack one, or spell it otherwise."""
    rule, counted = fitted.rule, fitted.reader.counted(fitted.rule, split)
    if rule.words == LISTED:
        rule = rule._replace(listed=tuple(f"#{number}" for number in torch.unique(torch.cat(counted.words)).tolist()))
    return rule._replace(keep_words=()), counted


def _fit_again(
    fitted: Propensity, rule: WordRule, split: TrainingSplit, kind: str, generator: torch.Generator
) -> tuple[Propensity, Tensor]:
    """A fit to changed data, and the places of its samples in the whole split."""
    again, rows = copy.deepcopy(fitted), torch.arange(len(split.ids))
    again.rule = rule
    if kind == "placebo":
        changed = permuted(split, generator)
    elif kind == "subset":
        changed, rows = subset(split, generator)
    else:
        changed = with_random_word(split, generator)
        if rule.listed and len(rule.listed) < rule.max_words:  # no rule looks for it there
            again.rule = rule._replace(listed=(*rule.listed, f"#{RANDOM_WORD}"))
    again.fit_split(changed)
    return again, rows


def _gathered(
    kind: str, problem: str, g: int, fitted: Propensity, fits: Sequence[tuple[Propensity, Tensor]]
) -> Refutation:
    gain = tuple(float((each.prior_loss - each.loss).view(-1)[g]) for each, _ in fits)
    is_open = tuple(bool(each.is_open.view(-1)[g]) for each, _ in fits)
    words = tuple(int((each.words.view(-1, each.width)[g] >= 0).sum()) for each, _ in fits)
    own = _log_weights(fitted)[:, g]
    correlation = tuple(_correlation(own[rows], _log_weights(each)[:, g]) for each, rows in fits)
    return Refutation(kind, problem, gain, is_open, words, correlation)


def _log_weights(fitted: Propensity) -> Tensor:
    return fitted.train_weights().view(len(fitted.target), -1).clamp(min=1e-6).log()


def _correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1]) if float(a.std()) and float(b.std()) else float("nan")
