"""Fresh incomplete views of training batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, DataSpec
from mer_zoo.data.missing.pattern import MissingPattern, derive_key
from mer_zoo.data.missing.sets import BatchShares
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import global_seed
from mer_zoo.model import Model

__all__ = ["IncompleteViews", "view_maker"]


class IncompleteViews(nn.Module):
    """Makes an incomplete view of each training batch, a new one every time a batch comes.

    What is missing depends on the seed, the number of the batch and the sample, so it is the same on one process as on
    several. Seed and number are saved with the model, and how many batches an epoch has where shares of them lose
    something: a resumed run goes on with the views that it would have seen. In evaluation mode the number stays as it
    is, and the same batch gives the same view again.

    Args:
        pattern: What is missing; or shares of batches, of which the number of a batch says what.
        seed: Seed of the views; None for the global seed of Lightning's ``seed_everything``, or 0 without one.

    Example:
        >>> from mer_zoo.data.missing.pattern import RMM
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, views = DataSpec(), IncompleteViews(RMM(0.5), seed=1)
        >>> batch = Batch.random(spec, SentimentRegression(), size=8)
        >>> first, second = views(batch, spec), views(batch, spec)
        >>> torch.equal(first.audio.observed, second.audio.observed), views.count
        (False, 2)
    """

    def __init__(self, pattern: MissingPattern | BatchShares, seed: int | None = None) -> None:
        super().__init__()
        self.pattern = pattern
        self.seed = (global_seed() or 0) if seed is None else seed
        self.count = 0

    @override
    def forward(self, batch: Batch, spec: DataSpec) -> Batch:
        pattern = self.pattern(self.count) if isinstance(self.pattern, BatchShares) else self.pattern
        key = derive_key(self.seed, self.count, pattern)
        # A plain number: a buffer would lie on the device, and every batch would wait for it.
        self.count += self.training
        return pattern(batch, spec, key)

    def learn(self, train: BatchSource) -> None:
        """Count the batches of an epoch, where what is missing hangs on their number."""
        if isinstance(self.pattern, BatchShares) and not self.pattern.batches:
            self.pattern.batches = sum(1 for _ in train)

    @override
    def get_extra_state(self) -> Tensor:
        known = [self.pattern.batches] if isinstance(self.pattern, BatchShares) else []
        return torch.tensor([self.seed, self.count, *known])

    @override
    def set_extra_state(self, state: Tensor) -> None:
        # Of samples or batches, and as they may have been drawn in a first stage.
        if state.shape not in ((2,), (3,)) or state.is_floating_point() or state.is_complex():
            raise MERError(
                "the checkpoint holds other than two or three whole numbers for the draws of incomplete views"
            )
        self.seed, self.count, *known = map(int, state.tolist())
        if known and isinstance(self.pattern, BatchShares):
            self.pattern.batches = known[0]

    @override
    def extra_repr(self) -> str:
        return f"{self.pattern!r}, seed={self.seed}"


def view_maker(model: Model) -> Model | None:
    """The model of a nest that makes incomplete views itself, or None.

    Args:
        model: The outermost model of the nest.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.task import SentimentRegression
        >>> view_maker(LFLSTM(DataSpec(), SentimentRegression())) is None
        True
    """
    makers = (inner for inner in model.nest if any(isinstance(part, IncompleteViews) for part in inner.children()))
    return next(makers, None)
