"""The real steps of a padded batch, packed one after another, so that what acts on single steps never sees padding."""

from __future__ import annotations

import torch
from torch import Tensor

from mer_zoo.layers.attention import Visibility, attend, merge_heads, split_heads, visibility

__all__ = ["Packing"]

# Steps from which attention is computed sample by sample: each is then worth the call, and its scores stay in the
# cache.
LONG = 96


class Packing:
    """Where the steps of a padded batch stand, and which of them are keys of self-attention.

    On a CPU the steps are packed: (B, T, d) becomes (N, d), N the number of real steps. Elsewhere finding them would
    wait for the device, and they stay (B, T, d). Either form, called packed below, goes through maps of the last axis
    alike.

    Args:
        mask: (B, T) bool, True at real steps; padding may stand anywhere.
        keys: (B, T) bool, the steps that are seen, the first ones of the real ones; None for all of them, as in a
            sample that has none.
        packed: Whether to pack; None for a CPU only.

    Example:
        >>> x, mask = torch.arange(6.0).view(2, 3, 1), torch.tensor([[False, True, True], [True, False, False]])
        >>> packing = Packing(mask)
        >>> packing.pack(x).flatten().tolist(), torch.equal(packing.unpack(packing.pack(x)), x * mask[..., None])
        ([1.0, 2.0, 3.0], True)
    """

    def __init__(self, mask: Tensor, keys: Tensor | None = None, packed: bool | None = None) -> None:
        self.mask = mask
        self.keys = mask if keys is None else torch.where(keys.any(1, keepdim=True), keys, mask)
        self.packed = mask.device.type == "cpu" if packed is None else packed
        self._places = mask.flatten().nonzero().squeeze(1) if self.packed and not mask.all() else None
        self._lengths: list[int] = mask.sum(1).tolist() if self.packed else []
        self._seen: list[int] = self.keys.sum(1).tolist() if self.packed else []

    def pack(self, x: Tensor) -> Tensor:
        """Take the real steps (N, d) of (B, T, d)."""
        if not self.packed:
            return x
        flat = x.flatten(0, 1)
        return flat if self._places is None else flat.index_select(0, self._places)

    def unpack(self, x: Tensor) -> Tensor:
        """Put steps back to their places in (B, T, d), zero elsewhere."""
        if not self.packed:
            return torch.where(self.mask[..., None], x, 0.0)
        if self._places is not None:
            x = x.new_zeros(self.mask.numel(), x.shape[-1]).index_copy(0, self._places, x)
        return x.view(*self.mask.shape, -1)

    def rows(self, x: Tensor, start: int) -> tuple[Packing, Tensor]:
        """The packing of the samples from ``start`` on, and their share of packed steps."""
        if start == 0:
            return self, x
        before = sum(self._lengths[:start]) if self.packed else start
        return Packing(self.mask[start:], self.keys[start:], self.packed), x[before:]

    def choose(self, wanted: Tensor | None) -> tuple[Packing, Tensor | None]:
        """The packing of the steps that are wanted, (B, T) bool, and their places among the packed ones.

        Where None is given or steps are not packed, all are taken, and the places are None.
        """
        if wanted is None or not self.packed:
            return self, None
        return Packing(self.mask & wanted, packed=True), self.pack(wanted[..., None]).squeeze(1).nonzero().squeeze(1)

    def visible(self, like: Tensor) -> Visibility:
        """What queries see of the unpacked steps; ``like`` gives the type."""
        steps = like.new_empty(1, 1, 1).expand(*self.mask.shape, 1)
        return visibility(steps, steps, causal=False, key_mask=self.keys)

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, heads: int, p: float = 0.0, queries: Packing | None = None
    ) -> Tensor:
        """Self-attention of packed steps, with ``heads`` heads side by side.

        Args:
            q: (M, d) queries.
            k: (N, d) keys.
            v: (N, d) values.
            heads: Number of heads; divides d.
            p: Probability of dropping an attention weight; pass 0 in evaluation.
            queries: Where the queries stand; None where they stand as the keys do.

        Returns:
            (M, d).
        """
        queries = self if queries is None else queries
        if self.packed and self.mask.shape[1] >= LONG:
            return self._attend_each(q, k, v, heads, p, queries)
        visible = self.visible(q)
        q, k, v = (split_heads(x, heads) for x in (queries.unpack(q), self.unpack(k), self.unpack(v)))
        return queries.pack(merge_heads(attend(q, k, v, visible, p)))

    def _attend_each(self, q: Tensor, k: Tensor, v: Tensor, heads: int, p: float, queries: Packing) -> Tensor:
        # Where nobody asks, the maps in front still get their gradient, of zeros.
        mixed = [q[:0] + k[:0] + v[:0]]
        samples = (torch.split(q, queries._lengths), torch.split(k, self._lengths), torch.split(v, self._lengths))
        for seen, *parts in zip(self._seen, *samples, strict=True):
            if len(parts[0]):
                q, k, v = (split_heads(part[None], heads) for part in (parts[0], parts[1][:seen], parts[2][:seen]))
                mixed.append(merge_heads(attend(q, k, v, Visibility(), p)).squeeze(0))
        return torch.cat(mixed)
