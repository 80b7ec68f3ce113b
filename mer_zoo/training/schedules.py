"""Learning-rate schedules that torch does not have as one class."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mer_zoo.errors import MERError

__all__ = ["WarmupCosine"]


class WarmupCosine(LambdaLR):
    """The learning rate grows linearly to its full value, then falls to zero along half a cosine.

    Args:
        optimizer: The optimiser.
        total: Epochs (or steps, see ``scheduler_interval``) of the whole run; after them the rate stays zero.
        warmup: Share of them in which the rate grows.

    Raises:
        MERError: If total is below 1, or the share outside [0, 1).

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> schedule, rates = WarmupCosine(optimizer, total=10, warmup=0.2), []
        >>> for _ in range(10):
        ...     rates.append(round(optimizer.param_groups[0]["lr"], 2))
        ...     optimizer.step()
        ...     schedule.step()
        >>> rates
        [0.5, 1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04]
    """

    def __init__(self, optimizer: Optimizer, total: int, warmup: float = 0.1) -> None:
        if total < 1:
            raise MERError(f"total is {total}; give the number of epochs of the schedule, at least 1")
        if not 0 <= warmup < 1:
            raise MERError(f"warmup is {warmup}; give the share of the schedule in which the rate grows, in [0, 1)")
        growing = round(total * warmup)

        def factor(step: int) -> float:
            if step < growing:
                return (step + 1) / growing
            progress = min((step - growing) / (total - growing), 1.0) if total > growing else 1.0
            return 0.5 * (1 + math.cos(math.pi * progress))

        super().__init__(optimizer, factor)
