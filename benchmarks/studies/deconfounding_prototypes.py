"""Ways to undo what biased words do to training that were tried and are no part of the zoo: small wrappers.

All go by the words that PropensityWeighting finds, and leave training as it is where its gate is closed. A wrapper that
weighs or exchanges for itself has no options beyond those that were compared.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Output, Step
from mer_zoo.confounding.propensity import Propensity
from mer_zoo.functional.moments import independence_criterion
from mer_zoo.layers.gradient_reversal import reverse_gradient
from mer_zoo.model import Model, Wrapper
from mer_zoo.wrappers.first_training import train_first
from mer_zoo.wrappers.groupdro import GroupDRO
from mer_zoo.wrappers.kept_words import with_ids

LEAST = 4  # samples of a class in a batch, of which dependence says anything


class _ByWords(Wrapper):
    """A wrapper that knows the biased words; those of the model inside, where it has found them already."""

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.trace = backbone.offered(Propensity) or Propensity(self.spec, self.task)
        self.train_weights = torch.zeros(0)
        self.log_p = torch.zeros(0)

    @override
    def offers(self) -> Sequence[object]:
        return (self.trace,)

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if not len(self.log_p):
            if not len(self.trace.out_of_fold):
                self.trace.fit(train)
            self.train_weights = self.trace.train_weights(1.0).float()
            self.log_p = self.trace.out_of_fold.float()

    @property
    def is_open(self) -> bool:
        """Whether anything is to be undone."""
        return bool(self.trace.is_open.any())

    def places(self, batch: Batch) -> Tensor:
        """(B, T) bool, where the biased words stand."""
        ids, words = batch.text.ids, self.trace.words
        assert ids is not None
        return torch.isin(ids, words[words >= 0]) & batch.text.mask


def deal(places: Tensor, target: Tensor, others: bool = False, mixed: bool = False) -> tuple[Tensor, Tensor]:
    """Which sample, and which place of it, the word at each place comes from; (B, T) rows and columns.

    Args:
        places: (B, T) bool, where the words stand that are dealt out.
        target: (B,) classes.
        others: Whether samples get words of other classes' samples alone.
        mixed: Whether each word has a giver of its own, rather than each sample.

    Example:
        >>> rows, _ = deal(torch.ones(2, 3).bool(), torch.tensor([0, 1]), others=True)
        >>> rows.tolist()
        [[1, 1, 1], [0, 0, 0]]
    """
    size, length = places.shape
    allowed = places.any(1).float().expand(size, -1)
    allowed = allowed * (target[:, None] != target) if others else allowed
    own_rows, own_columns = torch.arange(size)[:, None].expand(-1, length), torch.arange(length).expand(size, -1)
    changes = places & (allowed > 0).any(1, keepdim=True)
    giver = torch.multinomial(allowed + 1e-9, length if mixed else 1, replacement=True).expand(-1, length)
    place = torch.multinomial(places[giver].float().flatten(0, 1) + 1e-9, 1).view(size, length)
    return torch.where(changes, giver, own_rows), torch.where(changes, place, own_columns)


class Exchange(_ByWords):
    """PropensityWeighting's ``exchange`` with choices.

    Args:
        backbone: The model to train.
        share: Of the samples whose words are exchanged.
        rest: What the others have: ``plain``, or the ``weight`` of PropensityWeighting.
        others: See :func:`deal`.
        mixed: See :func:`deal`.
        views: How often a batch is exchanged and trained on, in one step.
        agree: Weight of the divergence between what is said of two views.
    """

    def __init__(
        self,
        backbone: Model,
        share: float = 1.0,
        rest: Literal["plain", "weight"] = "plain",
        others: bool = False,
        mixed: bool = False,
        views: int = 1,
        agree: float = 0.0,
    ) -> None:
        super().__init__(backbone)
        self.share, self.rest = share, rest
        self.others, self.mixed = others, mixed
        self.views, self.agree = views, agree

    def view(self, batch: Batch) -> Batch:
        """The batch with other words, of all samples."""
        found = deal(self.places(batch), batch.target, self.others, self.mixed)
        ids = batch.text.ids
        assert ids is not None
        return batch.replace(text=with_ids(batch.text, ids, ids[found]))

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        if not self.is_open:
            yield from self.backbone.steps(batch)
            return
        weights = torch.cat([torch.ones(len(batch))] * self.views)
        views = [self.view(batch) for _ in range(self.views)]
        if self.share < 1:
            (view,) = views
            changed = torch.rand(len(batch)) < self.share
            ids = torch.where(changed[:, None], view.text.x, batch.text.x)
            views = [batch.replace(text=batch.text.replace(x=ids))]
            if self.rest == "weight":
                weights = torch.where(changed, 1.0, self.train_weights[batch.index])
        for step in self.backbone.steps(Batch.joined(views)):
            yield self._agreeing(step.reweigh(weights))

    def _agreeing(self, step: Step) -> Step:
        if not self.agree:
            return step
        log_p = step.output.logits.log_softmax(-1)
        one, other = log_p.chunk(2)
        middle = torch.logaddexp(one, other) - torch.tensor(2.0).log()
        apart = [F.kl_div(middle, each, reduction="batchmean", log_target=True) for each in (one, other)]
        return replace(step, losses={**step.losses, "agree": self.agree * torch.stack(apart).mean()})


class SelfTaught(Exchange):
    """A first training on exchanged texts teaches the second: its mean answers under several exchanges are labels, too.

    Args:
        backbone: The model to train.
        epochs: Of the first training.
        part: Of the labels, what the teacher says.
        draws: Exchanges whose answers are averaged.
        lr: Learning rate of the first training.
    """

    def __init__(self, backbone: Model, epochs: int = 5, part: float = 0.5, draws: int = 8, lr: float = 1e-3) -> None:
        super().__init__(backbone)
        self.epochs, self.part, self.draws, self.lr = epochs, part, draws, lr
        self.soft = torch.zeros(0)

    @override
    def prepare(self, train: BatchSource) -> None:
        teacher = Exchange(copy.deepcopy(self.backbone))
        super().prepare(train)
        if len(self.soft) or not self.is_open:
            return
        teacher.prepare(train)
        train_first(type(self).__name__, teacher, train, self.epochs, self.lr)
        teacher.eval()
        soft = torch.zeros_like(self.log_p)
        with torch.no_grad():
            for batch in train:
                for _ in range(self.draws):
                    soft[batch.index] += teacher.predict(teacher.view(batch)).logits.softmax(-1) / self.draws
        self.soft = soft

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in super().steps(batch):
            if not self.is_open:
                yield step
                continue
            log_p, soft = step.output.logits.log_softmax(-1), self.soft[step.batch.index]
            losses = {**step.losses, "taught": -self.part * (soft * log_p).sum(-1).mean()}
            yield replace(step.reweigh(1 - self.part), losses=losses)


class Masked(_ByWords):
    """Biased words are [MASK].

    Args:
        backbone: The model to train.
        at_test: Whether they are so when it predicts, too.
    """

    def __init__(self, backbone: Model, at_test: bool = True) -> None:
        super().__init__(backbone)
        self.at_test = at_test

    def _masked(self, batch: Batch) -> Batch:
        if not self.is_open:
            return batch
        ids = batch.text.ids
        assert ids is not None
        changed = ids.masked_fill(self.places(batch), self.spec.mask_id)
        return batch.replace(text=with_ids(batch.text, ids, changed))

    @override
    def forward(self, batch: Batch) -> Output:
        output: Output = self.backbone(self._masked(batch) if self.training or self.at_test else batch)
        return output

    @override
    def predict(self, batch: Batch) -> Output:
        return self.backbone.predict(self._masked(batch) if self.at_test else batch)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield from self.backbone.steps(self._masked(batch))


class Penalised(_ByWords):
    """The joint representation is to say nothing of the biased words that the label does not.

    Args:
        backbone: The model to train.
        kind: ``hsic``, dependence on the words' propensities among samples of one label; or an ``adversary`` that is
            given representation and label and guesses the class that the words go with, its gradient reversed.
        weight: Of the penalty.
    """

    def __init__(self, backbone: Model, kind: Literal["hsic", "adversary"] = "hsic", weight: float = 1.0) -> None:
        super().__init__(backbone)
        self.kind, self.weight = kind, weight
        classes = self.task.num_outputs
        if kind == "adversary":
            width = self.feature_dim
            self.adversary = nn.Sequential(nn.Linear(width + classes, width), nn.ReLU(), nn.Linear(width, classes))

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            if not self.is_open:
                yield step
                continue
            found = self._dependence(step) if self.kind == "hsic" else self._guess(step)
            yield replace(step, losses={**step.losses, "words": found})

    def _dependence(self, step: Step) -> Tensor:
        said, features = self.log_p[step.batch.index].exp(), step.output.features
        rows = [(step.batch.target == k).nonzero()[:, 0] for k in range(said.shape[1])]
        each = [len(of) * independence_criterion(features[of], said[of]) for of in rows if len(of) >= LEAST]
        return self.weight * torch.stack([features.new_zeros(()), *each]).sum() / len(features)

    def _guess(self, step: Step) -> Tensor:
        label = F.one_hot(step.batch.target, self.task.num_outputs).float()
        told = torch.cat([reverse_gradient(step.output.features, self.weight), label], 1)
        return F.cross_entropy(self.adversary(told), self.log_p[step.batch.index].argmax(-1))


class DoublyRobust(_ByWords):
    """Weights, and an outcome model of the words for what the largest weight has left of their association.

    Under weights w the words' share in the label is p_b w / sum of p_b w over the classes; its logarithm less that of
    the class shares is added to the training logits, as PropensityWeighting's ``product`` does without weights.

    Args:
        backbone: The model to train.
        largest: Largest weight.
    """

    def __init__(self, backbone: Model, largest: float = 3.0) -> None:
        super().__init__(backbone)
        self.largest = largest
        self.replaces_logits = self.trains_other_logits = True

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in self.backbone.steps(batch):
            if not self.is_open:
                yield step
                continue
            prior, log_p = self.trace.prior.float().log(), self.log_p[step.batch.index]
            log_w = (prior - log_p).clamp(max=torch.tensor(self.largest).log().item())
            offsets = (log_p + log_w).log_softmax(-1) - prior
            weights = log_w.gather(1, step.batch.target[:, None]).squeeze(1).exp()
            output = step.output.replace(logits=step.output.logits + offsets)
            yield replace(step.reweigh(weights), output=output)


class OnlineWeights(GroupDRO):
    """GroupDRO's weights of groups, times the weights of PropensityWeighting.

    Args:
        backbone: The model to train.
        step_size: How fast the weights of groups move.
    """

    def __init__(self, backbone: Model, step_size: float = 0.1) -> None:
        super().__init__(backbone, step_size=step_size, draw=False)
        self.train_weights = torch.zeros(0)

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        propensity = self.partition.propensity
        assert propensity is not None
        self.train_weights = propensity.train_weights(1.0).float()

    @override
    def _weights(self, step: Step, moves: bool) -> Tensor:
        super()._weights(step, moves)  # which moves q
        group, known = self.partition.of_train(step.batch.index)[:, 0], self.partition.count[0] > 0
        return self.train_weights[step.batch.index] * self.q[0][group] * known.sum()


PROTOTYPES: dict[str, type[Wrapper]] = {
    each.__name__: each for each in (DoublyRobust, Exchange, Masked, OnlineWeights, Penalised, SelfTaught)
}
