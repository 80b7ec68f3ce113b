r"""G-Blend (gradient blending): losses of single modalities and the joint one count by how they generalise.

Idea: modalities learn and overfit at different rates, so that one training schedule suits none of them. Trained each
by itself for a while, they show how much of what they learn holds on data not seen; what holds gets a large weight,
what overfits a small one.

Input and shapes (B batch, M modalities in use, K = M + 1 losses):
    training split: K copies of the inner model are trained on a part of it for ``epochs`` epochs, one with each
    modality alone and one with all; losses of test-time answers on that part and on the rest, before and after;
    each step of the inner model, of which hidden[m] (B, T_m, d_m) is read by a linear head, loss L_m. The task's
    loss counts w_all, each L_m counts w_m. Forward and predict are the inner model's.

Where the paper is in the code:
    gain and growth, weights    functional/gradient_blending.py
    losses L_m                  wrappers/hidden_heads.py
    first trainings             wrappers/first_training.py

This is the offline form, with weights chosen once. The paper is followed by what is said of it; the authors' code was
not at hand. Three things are ours, the first two of which ``rule="printed"`` leaves out:
    * a loss that does not fall on held-out samples counts as one that gained nothing, where the printed absolute value
      would reward a rise;
    * the joint loss counts 1 / K at least, and the others share the rest, because its head alone predicts: that it
      gained nothing in the first epochs says that it overfits early, not that it need not be trained;
    * held-out samples are of the training split, whole recordings where ids tell them, so that no validation data steer
      training; losses are means over samples.
On several processes the weights are those of the first, whose first trainings take batches as large as those of all.

Nests: around everything that takes one step a batch and has hidden sequences. Whatever weighs samples may stand inside,
and outside, where it weighs the task's loss alone. Losses that networks and wrappers add themselves are as they were,
unless these go by task_weight, as CausalMER's and CLUE's do. Offsets of training logits (PropensityWeighting's product)
are refused: heads of single modalities would learn what they keep from the joint one.
Where a hidden sequence lies behind the fusion, as MulT's, its loss is not of one modality alone. The first trainings
cost K times ``epochs`` epochs; they are not repeated when training is resumed.

References:
    Wang, Tran and Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?", CVPR 2020,
    arXiv:1905.12681.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Literal, get_args

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Step
from mer_zoo.confounding.groups import Groups
from mer_zoo.data.missing.drop import blanked
from mer_zoo.distributed import of_first, process_count
from mer_zoo.errors import MERError
from mer_zoo.functional.gradient_blending import blend_weights, gain_and_growth, printed_weights
from mer_zoo.functional.propensity import assign_folds
from mer_zoo.model import Model, Wrapper
from mer_zoo.options import check_choice
from mer_zoo.wrappers.first_training import answers_of, train_first
from mer_zoo.wrappers.hidden_heads import head_losses, hidden_heads, pooled_hidden

__all__ = ["GBlend"]

Rule = Literal["gained", "printed"]


class GBlend(Wrapper):
    """Blending of losses by how they generalise; see the module's text for the idea.

    Args:
        backbone: The model to train.
        epochs: Epochs of each of the first trainings.
        held_out: About what share of the training split they do not see: a half, a third, a quarter and so on,
            whichever is nearest.
        rule: ``gained`` where losses that rise count nothing and the joint one counts its equal part at least;
            ``printed`` for absolute gains as they are.
        lr: Learning rate of the first trainings, by Adam.

    Raises:
        MERError: For data of one modality, an inner model without hidden sequences of known shape, of several steps a
            batch or with other logits in training, or an option out of range; in ``prepare`` if a part of the split
            would be empty, or a first training has no finite loss.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(2)
        >>> batch, model = Batch.random(spec, task, size=20), GBlend(LFLSTM(spec, task, dim=4), epochs=1)
        >>> model.prepare([batch])
        >>> (step,) = model.steps(batch)
        >>> sorted(step.losses), round(model.weights.sum().item(), 4)
        (['gblend/audio', 'gblend/text', 'gblend/vision'], 1.0)
    """

    prepared: Tensor
    weights: Tensor

    def __init__(
        self, backbone: Model, epochs: int = 5, held_out: float = 0.2, rule: Rule = "gained", lr: float = 1e-3
    ) -> None:
        super().__init__(backbone)
        used = self.spec.modalities
        if len(used) < 2 or backbone.num_steps > 1:
            raise MERError(
                f"GBlend blends the losses of several modalities in one step a batch, but {backbone.name} has"
                f" {len(used)} and takes {backbone.num_steps}; leave GBlend out"
            )
        if backbone.trains_other_logits:
            raise MERError(
                f"{backbone.name} trains other logits than it predicts by, which GBlend's heads of single modalities"
                " would not know; use mode: weight or exchange of PropensityWeighting inside"
            )
        check_choice("GBlend", "rule", rule, get_args(Rule))
        if epochs < 1:
            raise MERError(f"epochs of GBlend is {epochs}; give the epochs of the first trainings, at least 1")
        if not 0 < held_out <= 0.5:
            raise MERError(f"held_out of GBlend is {held_out}; give a share above 0, of at most a half")
        if not (math.isfinite(lr) and lr > 0):
            raise MERError(f"lr of GBlend is {lr}; give the learning rate of the first trainings, above 0")
        self.epochs, self.held_out, self.rule, self.lr = epochs, held_out, rule, lr
        self.heads = hidden_heads("GBlend", backbone)
        self.register_buffer("prepared", torch.tensor(False))
        self.register_buffer("weights", torch.full((len(used) + 1,), 1 / (len(used) + 1)))

    @override
    def prepare(self, train: BatchSource) -> None:
        plain = None if self.prepared else copy.deepcopy(self.backbone)  # before anything of it is prepared
        super().prepare(train)
        if plain is None:
            return
        held = _held_out(train, self.held_out)
        sets = [*((name,) for name in self.spec.modalities), self.spec.modalities]
        found = [self._tried(copy.deepcopy(plain), train, held, there) for there in sets]
        before, after = torch.stack(found, -1)
        weigh = printed_weights if self.rule == "printed" else blend_weights
        device = self.weights.device
        self.weights.copy_(of_first(weigh(*gain_and_growth(before, after)).to(device), device))
        self.prepared.fill_(True)

    def _tried(self, model: Model, train: BatchSource, held: Tensor, there: tuple[str, ...]) -> Tensor:
        """(2, 2) training and held-out losses of a model before and after it was trained with some modalities alone."""
        parts = [_Part(train, held == unseen, there, self) for unseen in (False, True)]
        model.prepare(_Part(train, ~held, self.spec.modalities, self))  # groups by words are known without text, too
        before = torch.stack([_loss(model, part) for part in parts])
        device = self.weights.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(torch.initial_seed())  # one order for all sets and on all processes
            train_first("GBlend", model, parts[0], self.epochs, self.lr)
        return torch.stack([before, torch.stack([_loss(model, part) for part in parts])])

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        *each, of_all = self.weights.unbind()
        for step in self.backbone.steps(batch):
            losses = head_losses(self.heads, self.task, pooled_hidden(self, step), step)
            added = {f"gblend/{m}": w * losses[m] for m, w in zip(self.spec.modalities, each, strict=True)}
            yield replace(step, losses={**step.losses, **added}).reweigh(of_all.expand(len(step.batch)))

    def _named(self) -> dict[str, float]:
        return dict(zip([*self.spec.modalities, "all"], self.weights.tolist(), strict=True))

    @override
    def diagnostics(self) -> dict[str, float]:
        return {**super().diagnostics(), **{f"gblend/weight_{name}": w for name, w in self._named().items()}}

    @override
    def notes(self) -> list[str]:
        told = ", ".join(f"{name} {weight:.2f}" for name, weight in self._named().items())
        return [*([f"GBlend: weights of the losses are {told}"] if self.prepared else []), *super().notes()]


class _Part:
    """A part of a split in which some modalities alone are there, a split by itself; read as often as one likes."""

    def __init__(self, train: BatchSource, rows: Tensor, there: tuple[str, ...], model: Model) -> None:
        self.train, self.rows, self.there, self.spec = train, rows, there, model.spec
        self.places = rows.cumsum(0) - 1

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.train)
        while joined := list(islice(batches, process_count())):  # what one process would take a step on
            batch = Batch.joined(joined)
            index = batch.index.cpu()
            rows = self.rows[index].nonzero()[:, 0]
            if len(rows):
                part = batch.take(rows.tolist()).replace(index=self.places[index[rows]].to(batch.index.device))
                yield blanked(part, self.there, self.spec)


def _held_out(train: BatchSource, share: float) -> Tensor:
    """(N,) which samples the first trainings do not see, by their index: whole recordings where ids tell them."""
    batches = [(batch.index.tolist(), batch.ids or [""] * len(batch)) for batch in train]
    ids = dict(sorted(pair for index, names in batches for pair in zip(index, names, strict=True)))
    names = [name or str(i) for i, name in enumerate(Groups().names(list(ids.values())))]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    held = assign_folds(torch.tensor([numbers[name] for name in names], dtype=torch.long), round(1 / share)) == 0
    if held.all() or not held.any():
        raise MERError(
            f"GBlend can't hold out {100 * share:.0f} % of a training split of {len(held)} samples; give more samples"
        )
    return held


def _loss(model: Model, part: _Part) -> Tensor:
    """Mean loss of a model's test-time answers."""
    logits, target = answers_of(model, part)
    return model.task.losses(logits, target).mean()
