"""Samples of classes shared out over splits, in whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["allocate"]

Ints = npt.NDArray[np.int64]


def allocate(totals: Ints, sizes: Sequence[int]) -> Ints:
    """Share out each class over the splits in the proportions of their sizes.

    Args:
        totals: (C,) samples of each class.
        sizes: S sizes whose sum is that of ``totals``.

    Returns:
        (C, S) whole numbers whose rows sum to ``totals`` and columns to ``sizes``.

    Example:
        >>> allocate(np.array([5, 2]), [4, 3]).tolist()
        [[3, 2], [1, 1]]
    """
    exact = np.outer(totals, sizes) / max(int(totals.sum()), 1)
    table = np.floor(exact).astype(np.int64)
    rows, columns = totals - table.sum(1), np.asarray(sizes) - table.sum(0)
    while rows.any():
        wanted = np.where((rows[:, None] > 0) & (columns > 0), exact - table, -np.inf)
        row, column = np.unravel_index(wanted.argmax(), wanted.shape)
        table[row, column] += 1
        rows[row] -= 1
        columns[column] -= 1
    while (table - exact).max(initial=0) >= 2:
        _even_out(table, exact)
    return table


def _even_out(table: Ints, exact: npt.NDArray[np.float64]) -> None:
    """Move one from the fullest place by the exchange between two rows and two columns that evens out most."""
    over = table - exact
    row, column = np.unravel_index(over.argmax(), over.shape)
    gain = over - over[row] - over[:, [column]]  # of taking one from each place, too
    gain[(table == 0) | (np.arange(len(table))[:, None] == row) | (np.arange(table.shape[1]) == column)] = -np.inf
    other_row, other_column = np.unravel_index(gain.argmax(), gain.shape)
    table[[row, other_row], [column, other_column]] -= 1
    table[[row, other_row], [other_column, column]] += 1
