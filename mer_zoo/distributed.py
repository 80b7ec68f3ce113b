"""What is right on one process and on several: means, sums, rows of a whole batch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["distributed_mean", "gather_rows", "global_count", "global_sum", "of_first", "process_count", "process_mean"]


def distributed_mean(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over the global batch, scaled so that averaging gradients over processes gives the right one.

    A ratio of sums (a mean over masked elements, or over shards of unequal size) is not the mean of the processes' own
    ratios; dividing by the count of all processes is.

    Args:
        values: Any shape, this process' share of the batch.
        weights: Same shape; counts each element. None counts each once.

    Returns:
        Scalar sum(values * weights) * world size / sum of the weights over all processes.

    Example:
        >>> distributed_mean(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0])).item()
        1.0
    """
    if weights is None and not _several_processes():
        return values.sum() / max(values.numel(), 1e-6)
    if weights is None:
        total, count = values.sum(), values.new_full((), values.numel())
    else:
        total, count = (values * weights).sum(), weights.sum().detach()
    if _several_processes():
        total = total * torch.distributed.get_world_size()
    return total / global_sum(count).clamp_min(1e-6)


def global_sum(x: Tensor) -> Tensor:
    """Sum over all processes, with the gradient that is right after averaging over them.

    Args:
        x: Any shape, alike on every process.

    Example:
        >>> global_sum(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    if not _several_processes():
        return x
    total = x.detach().clone()
    torch.distributed.all_reduce(total)
    return total + (x - x.detach()) * torch.distributed.get_world_size() if x.requires_grad else total


def global_count(count: int, device: torch.device) -> int | Tensor:
    """Sum of a number over all processes.

    Args:
        count: This process' number.
        device: Where processes exchange tensors.

    Returns:
        The number itself on one process; on several a scalar on the device, so that nothing waits for it.

    Example:
        >>> global_count(3, torch.device("cpu"))
        3
    """
    if not _several_processes():
        return count
    return global_sum(torch.full((), count, device=device))


def process_count() -> int:
    """How many processes train together.

    Example:
        >>> process_count()
        1
    """
    return torch.distributed.get_world_size() if _several_processes() else 1


def process_mean(x: Tensor) -> Tensor:
    """Mean over the processes of numbers that each has, such as gradients, without gradient.

    Args:
        x: Any shape, alike on every process.

    Example:
        >>> process_mean(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    if not _several_processes():
        return x.detach()
    return global_sum(x.detach()) / torch.distributed.get_world_size()


def gather_rows(rows: Tensor) -> Tensor:
    """Join the rows of every process, in the order of the processes; each process gets them all.

    Args:
        rows: (B, ...) of this process, B as it likes; everything else is alike on every process.

    Returns:
        (sum of B, ...), without gradient.

    Example:
        >>> gather_rows(torch.tensor([3, 4])).tolist()
        [3, 4]
    """
    rows = rows.detach()
    if not _several_processes():
        return rows
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    longest = max(int(count) for count in counts)
    padded = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])])
    parts = [torch.empty_like(padded) for _ in counts]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])


def of_first(x: Tensor, device: torch.device) -> Tensor:
    """What the first process has, on every process.

    Args:
        x: Any shape, alike on every process.
        device: Where processes exchange tensors.

    Returns:
        The same shape, on the device where ``x`` is.

    Example:
        >>> of_first(torch.tensor([True, False]), torch.device("cpu")).tolist()
        [True, False]
    """
    if not _several_processes():
        return x
    sent = x.to(device, torch.uint8 if x.dtype == torch.bool else x.dtype).contiguous()
    torch.distributed.broadcast(sent, 0)
    return sent.to(x)


def _several_processes() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
