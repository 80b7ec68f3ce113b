"""States of texts that an encoder has read before, so that each text is read once.

A test under many conditions gives an encoder the same texts again and again, and so does training where the encoder is
frozen; with it the encoder is most of the work. States are those of single texts, whatever batch they stand in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

__all__ = ["TextStates"]

BUDGET = 2**30  # bytes of states that are kept; texts beyond it are read anew
Key = tuple[object, ...]
Encode = Callable[[Tensor, Tensor], Tensor]


class TextStates:
    """What an encoder said of the texts that it has met.

    Args:
        budget: Most bytes that are kept.

    Example:
        >>> states, ids = TextStates(), torch.tensor([[5, 6, 7], [8, 9, 0], [5, 6, 7]])
        >>> read = []
        >>> def encode(ids, mask):
        ...     read.append(tuple(ids.shape))
        ...     return ids[..., None].float() * mask[..., None]
        >>> found = [states(ids, ids > 0, encode, whole=False)[..., 0].tolist() for _ in range(2)]
        >>> found[0] == found[1] == [[5.0, 6.0, 7.0], [8.0, 9.0, 0.0], [5.0, 6.0, 7.0]], read
        (True, [(2, 3)])
    """

    def __init__(self, budget: int = BUDGET) -> None:
        self._kept: dict[Key, Tensor] = {}
        self._room = budget

    def __call__(self, ids: Tensor, mask: Tensor, encode: Encode, whole: bool, layers: int = 1) -> Tensor:
        """States of texts whose real tokens stand in front.

        Args:
            ids: (B, T) token ids.
            mask: (B, T) bool, True at real tokens.
            encode: Gives the states (N, T', d) of ids and mask (N, T').
            whole: Whether those of padding are wanted, too; else they are zero.
            layers: Of how many layers they are.

        Returns:
            (B, T, d) states.
        """
        lengths = mask.sum(1).tolist()
        taken = [ids.shape[1]] * len(ids) if whole else lengths
        rows = ids.cpu().numpy()
        about = (whole, layers, ids.device, torch.is_autocast_enabled(ids.device.type))
        keys: list[Key] = [(row[:n].tobytes(), real, *about) for row, n, real in zip(rows, taken, lengths, strict=True)]
        new = {key: place for place, key in enumerate(keys) if key not in self._kept}
        found = dict(self._read(ids, mask, encode, taken, new)) if new else {}
        states = [found[key] if key in found else self._kept[key] for key in keys]
        self._keep(found)
        if whole:
            return torch.stack(states)
        together = torch.cat(states)
        result = together.new_zeros(*ids.shape, together.shape[-1])
        result[mask] = together
        return result

    def _read(
        self, ids: Tensor, mask: Tensor, encode: Encode, taken: list[int], new: dict[Key, int]
    ) -> Iterator[tuple[Key, Tensor]]:
        places = list(new.values())
        width = max(1, *(taken[place] for place in places))
        states = encode(ids[places, :width], mask[places, :width])
        for row, (key, place) in enumerate(new.items()):
            yield key, states[row, : taken[place]]

    def _keep(self, found: dict[Key, Tensor]) -> None:
        for key, state in found.items():
            size = state.numel() * state.element_size()
            if size <= self._room:
                self._room -= size
                self._kept[key] = state.clone()  # a view would keep its whole batch
