"""Sets of modalities that a sample may have, by number and by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mer_zoo.batch import MODALITIES, availability_name

__all__ = ["SETS", "codes_of", "places_of"]

SETS: Mapping[str, int] = {
    availability_name([name for place, name in enumerate(MODALITIES) if code >> place & 1]): code
    for code in range(1, 1 << len(MODALITIES))
}


def codes_of(names: Mapping[str, object]) -> Tensor:
    """(G,) numbers of sets of modalities, as :meth:`mer_zoo.batch.Batch.available` has them.

    Example:
        >>> codes_of({"{l,a}": None, "{v}": None}).tolist()
        [3, 4]
    """
    return torch.tensor([SETS[name] for name in names])


def places_of(available: Tensor, codes: Tensor, otherwise: int) -> tuple[Tensor, Tensor]:
    """Which of several sets each sample has.

    Args:
        available: (N,) what each sample has.
        codes: (G,) the sets.
        otherwise: The place of the set that stands for those that are not among them.

    Returns:
        (N,) places, and (N,) whether the set is the sample's own.

    Example:
        >>> places_of(torch.tensor([4, 3, 11]), torch.tensor([3, 4]), 0)
        (tensor([1, 0, 0]), tensor([ True,  True, False]))
    """
    same = available[:, None] == codes
    own = same.any(1)
    return torch.where(own, same.int().argmax(1), otherwise), own
