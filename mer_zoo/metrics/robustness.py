"""How a metric holds out while more and more is missing."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from mer_zoo.errors import MERError
from mer_zoo.functional.metrics import auilc

__all__ = ["AUILC"]


class AUILC(Metric):
    """Area under the curve of a metric over missing rates, updated with the metric's value at each rate.

    Rates may come in any order, and on any process. A rate that comes more than once, as where every process knows the
    value, counts once, with the mean of its values.

    Raises:
        MERError: When updated with a rate outside [0, 1] or another number of values than rates; when computed from
            fewer than two different rates.

    References:
        CIDer, Eq. 31.

    Example:
        >>> area = AUILC()
        >>> for rate, accuracy in ((0.0, 0.8), (1.0, 0.4), (0.5, 0.7)):
        ...     area.update(rate, accuracy)
        >>> round(area.compute().item(), 4)
        0.65
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = True
    rates: list[Tensor]
    values: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rates", [], dist_reduce_fx="cat")
        self.add_state("values", [], dist_reduce_fx="cat")

    @override
    def update(self, rate: float | Tensor, value: float | Tensor) -> None:
        rates, values = (torch.as_tensor(x, dtype=torch.float32, device=self.device).flatten() for x in (rate, value))
        if len(rates) != len(values) or not ((rates >= 0) & (rates <= 1)).all():
            raise MERError(
                f"AUILC got rates {rates.tolist()} and {len(values)} values; give one value a rate in [0, 1]"
            )
        self.rates.append(rates)
        self.values.append(values)

    @override
    def compute(self) -> Tensor:
        found: dict[float, list[float]] = {}
        if len(self.rates):
            # seven decimals undo float32, so that the widths of the trapezoids are exact
            rates = [round(rate, 7) for rate in dim_zero_cat(self.rates).tolist()]
            for rate, value in zip(rates, dim_zero_cat(self.values).tolist(), strict=True):
                found.setdefault(rate, []).append(value)
        rising = sorted(found)
        area = auilc(rising, [sum(found[rate]) / len(found[rate]) for rate in rising])
        return torch.tensor(area, device=self.device)
