r"""JTT ("just train twice"): what a short first training gets wrong weighs more in the second, around any network.

Idea: what a network learns first is the easy attribute that goes along with the label (biased words, say). The samples
that it still gets wrong then are mostly those where the attribute misleads. Nobody has to name the attribute.

Input and shapes (B batch, N training split, E the error set):
    training split: a copy of the inner model, with its wrappers and its own losses, is trained on it for ``epochs``
    epochs and tested on it;
    each step's task_weight, times :math:`1 + \lambda [i \in E]` with mean 1 over the split; (B,), or (B, E') for E'
    emotions, each of which has an error set of its own. Forward and predict are the inner model's.

Where things are in the code: counts of the second training set in functional/group_robust.py, error_weights; the first
training in wrappers/first_training.py.

Differences from the released code:
    * the error set is that of the network after its last epoch, in evaluation mode; there it is collected while the
      epoch runs, with dropout on and the weights moving;
    * weights in place of repeated samples: an epoch has as many steps as before;
    * the first training is by Adam, on the samples as they come shuffled among 32 batches, with options of its own;
      there it is a run by itself, whose errors ``errors`` takes.
On several processes the error set is that of the first.
Whether the error set is what one hopes for can be looked at where ``groups`` are given: the run's notes then say how
many of the samples whose attribute points elsewhere are in it, and how many of it are such, or for groups other than of
words, in which the share of errors is largest and smallest. The paper chooses epochs, upweight and the epoch that is
kept by the worst group of validation, which ``groups`` has measured.

Nests: anywhere around models that do not weigh samples by themselves, and inside PropensityWeighting in mode
``exchange``, not around it, where words that are exchanged would not mislead the first training. Losses that networks
and wrappers add themselves are as they were. The first training costs ``epochs`` epochs; it is not repeated when
training is resumed.

References:
    Liu et al., "Just Train Twice: Improving Group Robustness without Training Group Information", ICML 2021,
    arXiv:2107.09044, algorithm 1.
    Released code: anniesch/jtt (no licence stated); nothing copied.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Step
from mer_zoo.confounding.partition import NO_FILE, OTHER, Partition
from mer_zoo.confounding.reader import GroupOption
from mer_zoo.confounding.word_rule import RULES
from mer_zoo.data.files.groups import read_ids
from mer_zoo.distributed import of_first
from mer_zoo.errors import MERError
from mer_zoo.functional.group_robust import error_weights
from mer_zoo.model import Model, Wrapper
from mer_zoo.options import check_weights
from mer_zoo.wrappers.first_training import answers_of, train_first
from mer_zoo.wrappers.group_notes import check_weighs_alone, group_parts, group_rule
from mer_zoo.wrappers.propensityweighting import PropensityWeighting

__all__ = ["JTT"]


class JTT(Wrapper):
    """Training twice; see the module's text for the idea.

    Args:
        backbone: The model to train.
        epochs: The paper's T, epochs of the first training.
        upweight: The paper's lambda, how often a sample of the error set is added; None for as many times as make it as
            heavy as the rest, at least 0.
        threshold: For a single real-valued output, the absolute error from which on a sample counts as wrong; None for
            the median of the training split.
        lr: Learning rate of the first training, by Adam.
        weight_decay: Its weight decay.
        groups: What the error set is compared with, which training does not use: biased ``words``, ``recording``,
            ``speaker``, ``dialogue``, a CSV file or a mapping; None for nothing.
        words: Which words count as biased where groups are made of ``words``: ``frequent`` ones whose presence goes
            along with the class, ``maci``'s, or those that a file of ``mer-zoo words`` does not keep.
        errors: A CSV file whose column id names the error set, in place of the first training.

    Raises:
        MERError: If samples are weighted by another wrapper inside, or an option is out of range; in ``prepare`` if
            the first training has no finite loss, or biased words are exchanged in it; when trained before it.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(2)
        >>> batch, model = Batch.random(spec, task, size=8), JTT(LFLSTM(spec, task), epochs=1)
        >>> model.prepare([batch])
        >>> (step,) = model.steps(batch)
        >>> step.task_weight.shape, round(step.task_weight.mean().item(), 4)
        (torch.Size([8]), 1.0)
    """

    prepared: Tensor
    reweighs = True
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"groups": NO_FILE, "errors": (), "words": RULES}

    def __init__(
        self,
        backbone: Model,
        epochs: int = 2,
        upweight: int | None = 20,
        threshold: float | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        groups: GroupOption = None,
        words: str | None = "frequent",
        errors: str | None = None,
    ) -> None:
        super().__init__(backbone)
        check_weighs_alone(self, backbone)
        check_weights("JTT", {"weight_decay": weight_decay})
        if epochs < 1:
            raise MERError(f"epochs of JTT is {epochs}; give the epochs of the first training, at least 1")
        if upweight is not None and upweight < 0:
            raise MERError(f"upweight of JTT is {upweight}; give how often errors are added, or null to even them out")
        if not (math.isfinite(lr) and lr > 0):
            raise MERError(f"lr of JTT is {lr}; give the learning rate of the first training, above 0")
        if threshold is not None and self.task.is_classification:
            raise MERError(
                f"threshold is {threshold}, but {type(self.task).__name__} has classes, which are right or wrong; leave"
                " it out"
            )
        self.epochs, self.upweight, self.threshold = epochs, upweight, threshold
        self.lr, self.weight_decay = lr, weight_decay
        self.errors = None if errors is None else read_ids(errors, "errors of JTT")
        self._labels = torch.zeros(0, len(self.task.problems), dtype=torch.long)  # of the samples in this run
        rule = group_rule("JTT", groups, words)
        self.partition = None if groups is None else Partition(self.spec, self.task, groups, rule=rule)
        self.register_buffer("prepared", torch.tensor(False))
        self.wrong = torch.zeros(0, *self.task.graded_shape[:-1], dtype=torch.bool)  # by index; part of the extra state
        self._weights = torch.zeros(0)

    def get_extra_state(self) -> Tensor:
        """The error set, whose size construction does not know."""
        return self.wrong

    def set_extra_state(self, state: Tensor) -> None:
        """Take an error set over."""
        self.wrong = state.bool().cpu()
        self._weigh()

    @override
    def offers(self) -> Sequence[object]:
        return () if self.partition is None else group_parts(self.partition)

    @override
    def prepare(self, train: BatchSource) -> None:
        trains = not self.prepared and self.errors is None
        if trains:
            _check_errs(self.backbone)
        first = copy.deepcopy(self.backbone) if trains else None  # before anything of it is prepared
        super().prepare(train)
        if self.partition is not None:
            self.partition.fit(train)
        if self.prepared:
            return
        if first is None:
            wrong, target = self._named(train)
        else:
            first.prepare(train)
            train_first("JTT", first, train, self.epochs, self.lr, self.weight_decay)
            logits, target = answers_of(first, train)
            wrong = self._errors(logits, target)
        self.wrong = of_first(wrong, next(self.parameters()).device)  # whose draws may be others than elsewhere
        self._weigh()
        self._labels = self.task.grades(target).view(len(target), -1)
        self.prepared.fill_(True)

    def _named(self, train: BatchSource) -> tuple[Tensor, Tensor]:
        """The error set that a file names, and the labels, by the samples' places."""
        assert self.errors is not None
        wrong = torch.cat([torch.tensor([name in self.errors for name in batch.ids]) for batch in train])
        target, index = (torch.cat([getattr(batch, name).cpu() for batch in train]) for name in ("target", "index"))
        order = index.argsort()
        if not wrong.any():
            raise MERError("errors of JTT names no training sample; give a CSV file with their ids in a column id")
        wrong = wrong[order].view(-1, *[1] * (self.wrong.dim() - 1)).expand(-1, *self.wrong.shape[1:])
        return wrong.contiguous(), target[order]

    def _errors(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.task.is_classification:
            return logits.argmax(-1) != self.task.encode(target)
        error = self.task.losses(logits, target)
        return error > (error.median() if self.threshold is None else self.threshold)

    def _weigh(self) -> None:
        counts = torch.stack([error_weights(column, self.upweight) for column in self._columns()], 1)
        self._weights = (counts / counts.mean(0)).float().view(self.wrong.shape)

    def _columns(self) -> Tensor:
        """(P, N) errors in each problem."""
        return self.wrong.reshape(len(self.wrong), len(self.task.problems)).T

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            yield step.reweigh(self.weights(step.batch.index))

    def weights(self, index: Tensor) -> Tensor:
        """Weights of training samples.

        Args:
            index: (B,) their places in the training split.

        Returns:
            (B,), or (B, E) for E emotions, with mean 1 over the split.

        Raises:
            MERError: Before ``prepare``, or for samples of another split.
        """
        if not len(self._weights):
            raise MERError("JTT has no error set of a training split yet; fit it, or call prepare")
        if index.device.type == "cpu" and int(index.max()) >= len(self._weights):  # a GPU would have to wait for it
            raise MERError(
                f"sample {int(index.max())} is trained on, but JTT was prepared with a training split of"
                f" {len(self._weights)}; train on that split"
            )
        self._weights = self._weights.to(index.device)
        return self._weights[index]

    @override
    def diagnostics(self) -> dict[str, float]:
        names = [f"jtt/errors_{name}" if name else "jtt/errors" for name in self.task.problems]
        shares = self._columns().float().mean(1).nan_to_num().tolist()
        return {**super().diagnostics(), **dict(zip(names, shares, strict=True))}

    @override
    def notes(self) -> list[str]:
        return [*self._found(), *super().notes()]

    def _found(self) -> Iterator[str]:
        size, told = len(self.wrong), "errors names" if self.errors else "the first training is wrong on"
        for p, (name, wrong) in enumerate(zip(self.task.problems, self._columns() if size else [], strict=False)):
            where = f" for {name}" if name else ""
            yield f"JTT: {told} {int(wrong.sum())} of {size} training samples{where}{self._by_class(p, wrong)}"
            if self.partition is not None and len(self.partition.train_group) and wrong.any():
                yield from self._by_group(self.partition, p, wrong, where)

    def _by_class(self, p: int, wrong: Tensor) -> str:
        """What share of each class is among the errors."""
        if not len(self._labels):
            return ""
        labels, classes = self._labels[:, p], self.task.graded_shape[-1]
        if self.task.is_single_label:
            names = self.task.class_names
        elif self.task.is_classification:
            names = ["absent", "present"]
        else:
            names = [f"{k - classes // 2}" for k in range(classes)]
        shares = [(names[k], float(wrong[labels == k].float().mean())) for k in torch.unique(labels).tolist()]
        return f" ({', '.join(f'{100 * share:.0f} % of {name}' for name, share in shares)})"

    def _by_group(self, partition: Partition, p: int, wrong: Tensor, where: str) -> Iterator[str]:
        group = partition.train_group[:, p].cpu()
        if partition.kind != "words":
            shares = {g: float(wrong[group == g].float().mean()) for g in torch.unique(group).tolist()}
            most, least = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
            told = [f"{100 * shares[g]:.0f} % of {partition.name(p, g)}" for g in (most, least)]
            yield f"JTT{where}: its errors are {told[0]} at most, and {told[1]} at least"
            return
        label, attribute = partition.label[p].cpu()[group], partition.attribute[p].cpu()[group]
        other = (attribute != label) & (attribute != OTHER)
        both = int((wrong & other).sum())
        if other.any():
            both_of = (f"{100 * both / int(of.sum()):.0f} %" for of in (wrong, other))
            yield (
                "JTT{}: {} of its errors are samples whose words go with another class, and {} of these are among its"
                " errors"
            ).format(where, *both_of)


def _check_errs(inner: Model) -> None:
    """Refuse a first training that is not misled by what it is to be misled by."""
    if any(isinstance(model, PropensityWeighting) and model.exchanges and model.strength for model in inner.nest):
        raise MERError(
            f"the first training of JTT is to err where biased words mislead, which {inner.name} exchanges; put"
            " PropensityWeighting outside, as in PropensityWeighting(JTT(...)), or give errors"
        )
