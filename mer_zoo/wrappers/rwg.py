r"""RWG: groups of label and attribute drawn equally often, around any network.

Idea: where an attribute goes along with the label (biased words, a speaker), most samples are in the groups where it
does, and a network learns the attribute. If every group is drawn as often as any other, the attribute says nothing of
the label. The simplest of the methods that know groups, and hard to beat.

Input and shapes (B batch):
    training split: labels and what tells the groups, see :class:`~mer_zoo.confounding.Partition`; with ``draw``, the
    training batches have samples of weight :math:`N / (G n_g)` drawn with replacement; otherwise each step's
    task_weight (B,), or (B, E) for E emotions, is multiplied by this weight, of mean 1. Forward and predict are the
    inner model's.

Where things are in the code: weights in functional/group_robust.py, groups in confounding/partition.py, draws in
data/draws.py.

Nests: it changes what is drawn, or nothing but the task's own loss, so it may stand anywhere; other wrappers that weigh
samples by groups or words are refused.

References:
    Idrissi, Arjovsky, Pezeshki and Lopez-Paz, "Simple data balancing achieves competitive worst-group-accuracy", CLeaR
    2022, arXiv:2110.14503, where it has this name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Step
from mer_zoo.confounding.partition import NO_FILE, Partition
from mer_zoo.confounding.reader import GroupOption
from mer_zoo.confounding.word_rule import RULES
from mer_zoo.data.draws import TrainDraws
from mer_zoo.functional.group_robust import balanced_weights
from mer_zoo.model import Model, Wrapper
from mer_zoo.wrappers.group_notes import beside_gear, check_draws, check_weighs_alone, few, group_parts, group_rule

__all__ = ["RWG"]


class RWG(Wrapper):
    """Reweighting of groups; see the module's text for the idea.

    Args:
        backbone: The model to train.
        groups: What samples are grouped by, beside their label: their biased ``words``, the ``recording`` that an id
            tells, ``speaker`` or ``dialogue`` where the data tell it, a CSV file with the columns id and group, or a
            mapping.
        draw: Whether samples are drawn so, as in the paper; otherwise each is there once an epoch, and weighted. None
            draws where a sample has one label.
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
        >>> model = RWG(LFLSTM(spec, task), groups=speakers, draw=False, min_group=1)
        >>> model.prepare([batch])
        >>> [round(weight, 2) for weight in next(model.steps(batch)).task_weight.tolist()]
        [0.67, 0.67, 0.67, 2.0]
    """

    prepared: Tensor
    reweighs = True
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"groups": NO_FILE, "words": RULES}

    def __init__(
        self,
        backbone: Model,
        groups: GroupOption = "words",
        draw: bool | None = None,
        min_group: int = 10,
        words: str | None = "frequent",
    ) -> None:
        super().__init__(backbone)
        check_weighs_alone(self, backbone)
        self.partition = Partition(self.spec, self.task, groups, min_group, group_rule("RWG", groups, words))
        draw = self.partition.problems == 1 if draw is None else draw
        check_draws(self, self.partition, draw)
        self.draws = TrainDraws() if draw else None
        # Not saved: groups belong to the samples of a training split, and are found anew when training is resumed.
        self.register_buffer("prepared", torch.tensor(False), persistent=False)
        self._weights = torch.zeros(0)

    @override
    def offers(self) -> Sequence[object]:
        return (*group_parts(self.partition), *([] if self.draws is None else [self.draws]))

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        self.partition.fit(train)
        groups = self.partition.train_group
        columns = [balanced_weights(groups[:, p], len(self.partition.label[p])) for p in range(groups.shape[1])]
        self._weights = torch.stack(columns, 1).float().squeeze(1)
        if self.draws is not None:
            self.draws.weights = self._weights
        self.prepared.fill_(True)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            yield step if self.draws is not None else step.reweigh(self.weights(step.batch.index))

    def weights(self, index: Tensor) -> Tensor:
        """Weights of training samples.

        Args:
            index: (B,) their places in the training split.

        Returns:
            (B,), or (B, E) for E emotions.

        Raises:
            MERError: Before ``prepare``, or for samples of another split.
        """
        self.partition.of_train(index)  # which checks them
        self._weights = self._weights.to(index.device)
        return self._weights[index]

    @override
    def diagnostics(self) -> dict[str, float]:
        return {**super().diagnostics(), "rwg/groups": float(self.partition.size)}

    @override
    def notes(self) -> list[str]:
        return [*few("RWG", self.partition), *beside_gear(self), *super().notes()]
