"""Whether two networks compute the same, decided in double precision, where rounding can't be taken for a mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.plugins.precision import DoublePrecision
from torch import Tensor, nn

from mer_zoo.batch import Batch

__all__ = ["assert_same", "backward", "in_double"]

TOLERANCE = 1e-7  # statistics are kept in single precision, where shares sum to 1 up to 6e-8 only


@contextmanager
def in_double(batch: Batch, *networks: nn.Module) -> Iterator[Batch]:
    """Networks and a batch in double precision for a while; afterwards every parameter has its old bits again.

    Tensors that a network shares with something else are changed in place, so that both see the same.

    Args:
        batch: What the networks are given; the context has it in double precision.
        networks: The networks, which are left without gradients.
    """
    tensors = {t: t.dtype for net in networks for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()}
    try:
        for tensor in tensors:
            tensor.data = tensor.data.double()
        yield DoublePrecision().convert_input(batch)
    finally:
        for network in networks:
            network.zero_grad()
        for tensor, dtype in tensors.items():
            tensor.data = tensor.data.to(dtype)


def assert_same(mine: Any, theirs: Any) -> None:
    """Compare tensors, or sequences and mappings of them, to seven digits.

    Raises:
        AssertionError: Where they differ.
    """
    torch.testing.assert_close(mine, theirs, atol=TOLERANCE, rtol=TOLERANCE)


def backward(losses: Mapping[str, Tensor]) -> None:
    """Gradients of the sum of the losses."""
    torch.autograd.backward(torch.stack(list(losses.values())).sum())
