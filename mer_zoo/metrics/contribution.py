"""How much each modality contributes to right predictions, by its Shapley value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor
from torchmetrics import Metric
from typing_extensions import override

from mer_zoo.batch import MODALITIES
from mer_zoo.errors import MERError
from mer_zoo.functional.shapley import joinings

__all__ = ["ModalityContribution", "subsets"]

Subset = tuple[str, ...]


def subsets(modalities: Sequence[str] = MODALITIES) -> list[Subset]:
    """List the non-empty subsets of the modalities, small ones first.

    Example:
        >>> subsets(["text", "audio"])
        [('text',), ('audio',), ('text', 'audio')]
    """
    return [chosen for size in range(1, len(modalities) + 1) for chosen in combinations(modalities, size)]


class ModalityContribution(Metric):
    r"""Shapley value of each modality, averaged over samples and normalised to sum 1, with the imbalance.

    With v(C) = \|C\| where the prediction from the modalities C alone is right and 0 elsewhere, modality m contributes
    the mean over all orders of v(S + m) - v(S), S being the modalities before m. All contributions are 0 where no
    prediction from the complete data is right.

    Args:
        modalities: The modalities in use.

    References:
        Wei et al., "Enhancing multimodal cooperation via sample-level modality valuation", CVPR 2024; CausalMER, Table
        5, whose ``contribution_std`` is the sample standard deviation of the contributions, as here.

    Example:
        >>> metric = ModalityContribution(["text", "audio"])
        >>> right = torch.tensor([True, True])
        >>> metric.update({("text",): right, ("audio",): ~right, ("text", "audio"): right})
        >>> {name: round(value.item(), 3) for name, value in metric.compute().items()}
        {'contribution_text': 0.75, 'contribution_audio': 0.25, 'contribution_std': 0.354}
    """

    is_differentiable = False
    full_state_update = False
    totals: Tensor

    def __init__(self, modalities: Sequence[str] = MODALITIES) -> None:
        super().__init__()
        if len(modalities) < 2:
            raise MERError(f"contributions of {list(modalities)} cannot be compared; give at least two modalities")
        self.modalities = tuple(modalities)
        # counted in units of 1/n!, so that the sums stay whole numbers and exact
        self.add_state("totals", torch.zeros(len(self.modalities), dtype=torch.int64), dist_reduce_fx="sum")

    @override
    def update(self, correct: Mapping[Subset, Tensor]) -> None:
        """Add samples.

        Args:
            correct: For each of :func:`subsets`, bool of any one shape: whether the prediction from it is right.

        Raises:
            MERError: Where a subset is missing.
        """
        missing = [subset for subset in subsets(self.modalities) if subset not in correct]
        if missing:
            names = " and ".join("{" + ",".join(subset) + "}" for subset in missing)
            raise MERError(f"no predictions from {names}; the contribution needs every subset of the modalities")
        size = {subset: len(subset) * correct[subset].sum() for subset in subsets(self.modalities)}
        for modality, before, after, orders in joinings(self.modalities):
            self.totals[self.modalities.index(modality)] += orders * (size[after] - size.get(before, 0))

    @override
    def compute(self) -> dict[str, Tensor]:
        shares = self.totals / self.totals.sum().clamp(min=1)
        named = {f"contribution_{name}": share for name, share in zip(self.modalities, shares, strict=True)}
        return {**named, "contribution_std": shares.std()}
