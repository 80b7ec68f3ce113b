r"""GroupDRO: training for the worst group of label and attribute, around any network.

Idea: the mean loss is content with a network that is right where an attribute (biased words, a speaker) goes along with
the label, since most samples are so. Here the weights of the groups are learnt, too: a group whose loss is large gets
more, so that the loss of the worst group falls.

Input and shapes (B batch, G groups):
    training split: labels and what tells the groups, see :class:`~mer_zoo.confounding.Partition`;
    each step's task_weight, times :math:`B q_g / b_g` for a sample of group g, of which the batch has :math:`b_g`;
    (B,), or (B, E) for E emotions, each of which has weights q of its own. The mean of the task's loss is then
    :math:`\sum_g q_g L_g`. Forward and predict are the inner model's.

Where the paper is in the code (equations in functional/group_robust.py):
    update of q, algorithm 1                    exponentiated_step
    group adjustment, equation (5)              adjusted_losses
    equal shares of groups in batches           balanced_weights, data/draws.py

Differences from the released code, each with an option or an effect of its own:
    * a group that a batch lacks is left out of the update, and of what losses are divided by (``normalise``); there it
      counts as one of loss 0, so that it loses weight although nothing was seen of it (``absent: zero``);
    * the constant C of the adjustment chooses q and is not part of the loss that is logged.
The paper's point stands: without an early stop or strong weight decay a network fits every training sample, and no
weights of groups can tell it anything.

There the groups' weights can also be chosen greedily, by the top of moving averages; here that is a function
(functional/group_robust.py, greedy_weights) and no option.

Nests: outside everything that does not weigh samples by itself, and GEAR, whose weights these multiply; losses that
networks and wrappers add themselves are as they were. Where a batch has several steps, q moves in the first one. On
several processes, groups are those of the whole batch.

References:
    Sagawa, Koh, Hashimoto and Liang, "Distributionally Robust Neural Networks for Group Shifts: On the Importance of
    Regularization for Worst-Case Generalization", ICLR 2020, arXiv:1911.08731.
    Released code: kohpangwei/group_DRO (MIT); nothing copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Step
from mer_zoo.confounding.partition import NO_FILE, Partition
from mer_zoo.confounding.reader import GroupOption
from mer_zoo.confounding.word_rule import RULES
from mer_zoo.data.draws import TrainDraws
from mer_zoo.distributed import global_sum
from mer_zoo.functional.group_robust import adjusted_losses, balanced_weights, exponentiated_step, group_sums
from mer_zoo.model import Model, Wrapper
from mer_zoo.options import check_choice, check_weights
from mer_zoo.wrappers.group_notes import beside_gear, check_draws, check_weighs_alone, few, group_parts, group_rule

__all__ = ["GroupDRO"]

Absent = Literal["keep", "zero"]


class GroupDRO(Wrapper):
    """Distributionally robust training over groups; see the module's text for the idea.

    Args:
        backbone: The model to train.
        groups: What samples are grouped by, beside their label: their biased ``words``, the ``recording`` that an id
            tells, ``speaker`` or ``dialogue`` where the data tell it, a CSV file with the columns id and group, or a
            mapping.
        step_size: The paper's eta, how fast the weights of groups move.
        C: The paper's adjustment for small groups.
        normalise: Whether the losses of groups are divided by their sum before q moves.
        absent: Whether a group that a batch lacks is to ``keep`` its weight, or counts as one of loss ``zero``.
        draw: Whether training samples are drawn so that groups are equally frequent, as in the paper; None where a
            sample has one label.
        min_group: Fewest training samples of a group; smaller ones of a label are one.
        words: Which words count as biased where groups are made of ``words``: ``frequent`` ones whose presence goes
            along with the class, ``maci``'s, or those that a file of ``mer-zoo words`` does not keep.

    Raises:
        MERError: If samples are weighted by another wrapper inside, or an option is out of range; in ``prepare`` if
            there is nothing to group by; when trained before it.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(2)
        >>> batch = Batch.random(spec, task, size=4).replace(target=torch.tensor([0, 0, 0, 1]))
        >>> speakers = {f"random$_${i}": "Ann" for i in range(4)}
        >>> model = GroupDRO(LFLSTM(spec, task), groups=speakers, step_size=0.0, min_group=1)
        >>> model.prepare([batch])
        >>> [round(weight, 2) for weight in next(model.steps(batch)).task_weight.tolist()]
        [0.67, 0.67, 0.67, 2.0]
    """

    prepared: Tensor
    q: Tensor
    reweighs = True
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"groups": NO_FILE, "words": RULES}

    def __init__(
        self,
        backbone: Model,
        groups: GroupOption = "words",
        step_size: float = 0.01,
        C: float = 0.0,  # noqa: N803  # the paper's name
        normalise: bool = False,
        absent: Absent = "keep",
        draw: bool | None = None,
        min_group: int = 10,
        words: str | None = "frequent",
    ) -> None:
        super().__init__(backbone)
        check_weighs_alone(self, backbone)
        check_weights("GroupDRO", {"step_size": step_size, "C": C})
        check_choice("GroupDRO", "absent", absent, get_args(Absent))
        self.partition = Partition(self.spec, self.task, groups, min_group, group_rule("GroupDRO", groups, words))
        self.step_size, self.C, self.normalise, self.absent = step_size, C, normalise, absent
        draw = self.partition.problems == 1 if draw is None else draw
        check_draws(self, self.partition, draw)
        self.draws = TrainDraws() if draw else None
        self.register_buffer("prepared", torch.tensor(False), persistent=False)
        self.register_buffer("q", torch.zeros_like(self.partition.count, dtype=torch.float32))

    @override
    def offers(self) -> Sequence[object]:
        return (*group_parts(self.partition), *([] if self.draws is None else [self.draws]))

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        resumed = bool(self.q.any())
        self.partition.fit(train)
        known = self.partition.count > 0
        if not resumed or self.q[~known].any():  # weights of another split's groups
            self.q.copy_(known / known.sum(1, keepdim=True))
        if self.draws is not None:
            self.draws.weights = balanced_weights(self.partition.train_group[:, 0], known.shape[1])
        self.prepared.fill_(True)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for number, step in enumerate(self.backbone.steps(batch)):
            yield step.reweigh(self._weights(step, moves=number == 0))

    @torch.no_grad()
    def _weights(self, step: Step, moves: bool) -> Tensor:
        """B q_g / b_g of each sample and problem."""
        group = self.partition.of_train(step.batch.index)
        losses = self.task.losses(step.output.logits.float(), step.batch.target).view(len(group), -1)
        columns = [self._column(p, losses[:, p], group[:, p], moves) for p in range(group.shape[1])]
        return torch.stack(columns, 1).squeeze(1)

    def _column(self, p: int, losses: Tensor, group: Tensor, moves: bool) -> Tensor:
        total, count = group_sums(losses, group, self.q.shape[1])
        total, count = global_sum(total), global_sum(count)
        if moves and self.step_size > 0:
            seen = None if self.absent == "zero" else count > 0
            mean, known = total / count.clamp(min=1), self.partition.count[p]
            counted = known if seen is None else known * seen
            adjusted = adjusted_losses(mean, counted, self.C, self.normalise)
            finite = adjusted.isfinite().all()  # losses that are not are for those who watch them
            moved = exponentiated_step(self.q[p], adjusted, self.step_size, seen)
            self.q[p] = torch.where(finite, moved, self.q[p])
        return (count.sum() * self.q[p] / count.clamp(min=1))[group]

    @override
    def diagnostics(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for p, problem in enumerate(self.task.problems):
            q = self.q[p][self.partition.count[p] > 0]
            if len(q):
                spread = -(q * q.clamp(min=1e-12).log()).sum() / math.log(len(q)) if len(q) > 1 else q.sum()
                numbers = {"largest": q.max(), "evenness": spread}
                found |= {f"groupdro/{k}{'_' + problem if problem else ''}": float(v) for k, v in numbers.items()}
        return {**super().diagnostics(), **found}

    @override
    def notes(self) -> list[str]:
        found = [*few("GroupDRO", self.partition), *beside_gear(self)]
        if self.partition.fitted and self.partition.problems == 1:
            g = int(self.q[0].argmax())
            found.append(f"GroupDRO weighs {self.partition.name(0, g)} most, with {100 * float(self.q[0, g]):.1f} %")
        return [*found, *super().notes()]
