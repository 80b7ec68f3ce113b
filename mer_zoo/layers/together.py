"""Transformer encoders of one shape, run together: one product of their weights where each would take its own.

Short sequences leave a processor little to do in each operator, so that six encoders one after another spend their time
in calls. Parameters stay where they are and are stacked for every pass. Gains and shifts of the norms are folded into
the maps behind them, so that a norm is one operator for all encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.functional.dropout import dropout, relu_dropout
from mer_zoo.layers.attention import attend, merge_heads, split_heads, visibility
from mer_zoo.layers.transformer import MultiheadAttention, TransformerEncoder, TransformerLayer

__all__ = ["Encoding", "encode_all", "read_all"]

# Steps of an encoder's input, those of all samples, up to which calls take a good part of the time.
FEW = 2048
_PARTS = {
    "attention": MultiheadAttention,
    "attention.out_proj": nn.Linear,
    "fc1": nn.Linear,
    "fc2": nn.Linear,
    "norm0": nn.LayerNorm,
}
_PARTS |= {"norm1": nn.LayerNorm}
_EPSILON = 1e-5


class Encoding(NamedTuple):
    """What an encoder is to read.

    Args:
        encoder: The encoder.
        x: (B, Tq, d) embedded input.
        source: (B, Tk, d) embedded source of keys and values; None for self-attention.
        mask: (B, Tq) bool, real steps of the input; None if all are, or if padding is to be seen.
        source_mask: (B, Tk) bool, real steps of the source, likewise.
    """

    encoder: TransformerEncoder
    x: Tensor
    source: Tensor | None = None
    mask: Tensor | None = None
    source_mask: Tensor | None = None


def encode_all(given: Sequence[Encoding]) -> list[Tensor]:
    """What each encoder makes of its input, (B, Tq, d), as if they were called one by one.

    Those of one shape run together in training, where sequences are short; one whose result nobody uses gets gradients
    of zeros then.

    Args:
        given: Encoders and what they read, all with a source or all without.

    Example:
        >>> a, b = TransformerEncoder(8, 2, 1), TransformerEncoder(8, 2, 1)
        >>> x, y = torch.randn(2, 3, 5, 8)
        >>> found = encode_all([Encoding(a, x, y), Encoding(b, y, x)])
        >>> torch.allclose(found[1], b(y, x), atol=1e-5)
        True
    """
    if not _go_together(given):
        return [each.encoder(*each[1:]) for each in given]
    # Neighbours with the same dropout of the attention weights share its call.
    order = sorted(range(len(given)), key=lambda i: given[i].encoder.dropouts.attn)
    encoded = _Together([given[i] for i in order]).encode()
    return [encoded[order.index(i)] for i in range(len(given))]


def read_all(given: Sequence[Encoding], steps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """What :meth:`~mer_zoo.layers.transformer.TransformerEncoder.read` gives for each, as if called one by one.

    Args:
        given: Encoders without a source, and what they read.
        steps: (B,) the step to read of each sample, for each encoder.

    Example:
        >>> a, b = TransformerEncoder(8, 2, 1), TransformerEncoder(8, 2, 1)
        >>> x, last = torch.randn(3, 5, 8), torch.full((3,), 4)
        >>> [(hidden, step), _] = read_all([Encoding(a, x), Encoding(b, x)], [last, last])
        >>> torch.allclose(hidden[:, 4], step, atol=1e-5)
        True
    """
    if not _go_together(given):
        return [each.encoder.read(each.x, step, each.mask) for each, step in zip(given, steps, strict=True)]
    return _Together(given).read(torch.stack(list(steps)))


class _Together:
    """E encoders of one shape; x is (E, B T, d) in all methods."""

    def __init__(self, given: Sequence[Encoding]) -> None:
        self.encoders = [each.encoder for each in given]
        first = given[0]
        self.count, self.shape, self.dim = len(given), first.x.shape[:2], first.x.shape[2]
        self.training, self.dropouts = first.encoder.training, first.encoder.dropouts
        x = torch.cat([each.x for each in given])
        sources = [each.source for each in given if each.source is not None]
        source = torch.cat(sources) if sources else None
        mask = _cat([each.mask for each in given], x)
        source_mask = mask if source is None else _cat([each.source_mask for each in given], source)
        self.visible = visibility(x, x if source is None else source, first.encoder.causal, mask, source_mask)
        self.x = self._drop_embedded(x)
        self.source = None if source is None else self._drop_embedded(source)
        self._take_weights()

    def _take_weights(self) -> None:
        """Stack the weights of all encoders, each (depth, E, ...)."""
        gain0, gain1 = self._stack("norm0.weight"), self._stack("norm1.weight")
        shift0, shift1 = self._stack("norm0.bias"), self._stack("norm1.bias")
        inside, first = self._stack("attention.in_proj_weight"), self._stack("fc1.weight")
        in_bias = self._stack("attention.in_proj_bias") + (inside @ shift0[..., None]).squeeze(-1)
        first_bias = self._stack("fc1.bias") + (first @ shift1[..., None]).squeeze(-1)
        dim = self.dim
        inside = inside * gain0[..., None, :]
        self.w_kv, self.b_kv = inside[:, :, dim:], in_bias[:, :, dim:]
        self.q = _maps(inside[:, :, :dim], in_bias[:, :, :dim])
        self.first = _maps(first * gain1[..., None, :], first_bias)
        self.out = _maps(self._stack("attention.out_proj.weight"), self._stack("attention.out_proj.bias"))
        self.second = _maps(self._stack("fc2.weight"), self._stack("fc2.bias"))

    def _stack(self, name: str) -> Tensor:
        depth = len(self.encoders[0].layers)
        stacked = torch.stack([attrgetter(name)(encoder.layers[i]) for i in range(depth) for encoder in self.encoders])
        return stacked.view(depth, self.count, *stacked.shape[1:])

    def encode(self) -> list[Tensor]:
        """The encoded sequences (B, Tq, d)."""
        x, depth = self.x, len(self.q)
        pairs = None if self.source is None else self._project_source(self.source)
        for i in range(depth):
            x = self._layer(i, x, _normalised(x), None if pairs is None else pairs[i])
        return self._finish(x, self.shape[1])

    def read(self, steps: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The encoded sequences (B, T, d) and their steps (E, B), (B, d) each."""
        x, last = self.x, len(self.q) - 1
        for i in range(last):
            x = self._layer(i, x, _normalised(x), None)
        normalised = _normalised(x)
        pair = self._keys_values(last, normalised)
        hidden = self._finish(self._layer(last, x, normalised, pair), self.shape[1])
        places = steps + torch.arange(self.shape[0], device=x.device) * self.shape[1]
        index = places[..., None].expand(-1, -1, self.dim)
        seen, keys = self.visible, x.view(-1, *self.shape[1:], self.dim)
        self.visible = seen.at(steps.flatten(), keys)
        read = self._layer(last, x.gather(1, index), normalised.gather(1, index), pair)
        self.visible = seen
        return list(zip(hidden, (step.squeeze(1) for step in self._finish(read, 1)), strict=True))

    def _layer(self, i: int, x: Tensor, normalised: Tensor, pair: tuple[Tensor, Tensor] | None) -> Tensor:
        """Layer i of all encoders; keys and values (E, B Tk, d) are those of a source, or of the input itself."""
        q, out, first, second = (maps[i] for maps in (self.q, self.out, self.first, self.second))
        k, v = self._keys_values(i, normalised) if pair is None else pair
        mixed = self._attend(_apply(q, normalised), k, v)
        x = self._residual(x, _apply(out, mixed))
        inner = relu_dropout(_apply(first, _normalised(x)), self.dropouts.relu, self.training)
        return self._residual(x, _apply(second, inner))

    def _keys_values(self, i: int, normalised: Tensor) -> tuple[Tensor, Tensor]:
        k, v = torch.baddbmm(self.b_kv[i][:, None], normalised, self.w_kv[i].transpose(1, 2)).chunk(2, -1)
        return k, v

    def _project_source(self, source: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of every layer, in one product, as each encoder has it."""
        weight, bias = (x.transpose(0, 1).flatten(1, 2) for x in (self.w_kv, self.b_kv))
        packed = torch.baddbmm(bias[:, None], _normalised(source), weight.transpose(1, 2))
        parts = packed.chunk(2 * len(self.q), -1)
        return list(zip(parts[::2], parts[1::2], strict=True))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        heads, size = self.encoders[0].layers[0].attention.heads, self.shape[0]
        q, k, v = (split_heads(x.reshape(self.count * size, -1, self.dim), heads) for x in (q, k, v))
        chances = [encoder.dropouts.attn if self.training else 0.0 for encoder in self.encoders]
        mixed, start = [], 0
        for p, same in groupby(chances):
            rows = slice(start, start + size * len(list(same)))
            start = rows.stop
            bias = self.visible.bias
            seen = self.visible if bias is None or bias.dim() == 2 else self.visible._replace(bias=bias[rows])
            mixed.append(attend(q[rows], k[rows], v[rows], seen, p))
        joined = mixed[0] if len(mixed) == 1 else torch.cat(mixed)
        return merge_heads(joined).reshape(self.count, -1, self.dim)

    def _residual(self, x: Tensor, update: Tensor) -> Tensor:
        update = dropout(update, self.dropouts.res, self.training)
        return update.add_(x) if update.dtype == x.dtype else x + update

    def _drop_embedded(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropouts.embed, self.training).view(self.count, -1, self.dim)

    def _finish(self, x: Tensor, steps: int) -> list[Tensor]:
        """The last norm of each, and the results apart, (B, steps, d)."""
        gain, shift = (
            torch.stack([attrgetter(name)(e) for e in self.encoders]) for name in ("norm.weight", "norm.bias")
        )
        encoded = torch.addcmul(shift[:, None], _normalised(x), gain[:, None])
        return list(encoded.view(self.count, -1, steps, self.dim).unbind())


_Map = tuple[Tensor, Tensor]


def _maps(weight: Tensor, bias: Tensor) -> list[_Map]:
    """The maps of each layer: (E, d_in, d_out) and (E, 1, d_out)."""
    return list(zip(weight.transpose(2, 3).unbind(), bias[:, :, None].unbind(), strict=True))


def _apply(maps: _Map, x: Tensor) -> Tensor:
    weight, bias = maps
    return torch.baddbmm(bias, x, weight)


def _normalised(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _cat(masks: Sequence[Tensor | None], like: Tensor) -> Tensor | None:
    """Masks (E B, T) of stacked sequences; None if all steps of all are real."""
    if all(mask is None for mask in masks):
        return None
    full = like.new_ones(len(like) // len(masks), like.shape[1], dtype=torch.bool)
    return torch.cat([full if mask is None else mask for mask in masks])


def _go_together(given: Sequence[Encoding]) -> bool:
    """Whether encoders and sequences are of one shape, few steps are read, and nobody watches single layers."""
    if len(given) < 2 or given[0].x.shape[:2].numel() > FEW:
        return False
    # Without a backward pass there are so few calls that stacking the weights takes what it saves.
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False
    return len({_kind(each) for each in given}) == 1 and all(_is_plain(each.encoder) for each in given)


def _kind(each: Encoding) -> tuple[object, ...]:
    """What encoders that run together have in common."""
    encoder, source = each.encoder, each.source
    first = encoder.layers[0]
    shapes = each.x.shape, each.x.dtype, None if source is None else source.shape
    settings = replace(encoder.dropouts, attn=0.0), encoder.causal, encoder.training, first.attention.heads
    return *shapes, *settings, len(encoder.layers)


def _is_plain(encoder: TransformerEncoder) -> bool:
    """Whether all parts are as they were built, in one mode and without hooks."""
    if type(encoder) is not TransformerEncoder or any(_watchers()):
        return False
    for part in encoder.modules():
        if part._forward_hooks or part._forward_pre_hooks or part.training != encoder.training:
            return False
        if any(weight is None for weight in part._parameters.values()):  # such as a map without a bias
            return False
        if isinstance(part, nn.LayerNorm) and part.eps != _EPSILON:
            return False
    if type(encoder.norm) is not nn.LayerNorm or any(type(layer) is not TransformerLayer for layer in encoder.layers):
        return False
    if any(layer.attention.attn_dropout != encoder.dropouts.attn for layer in encoder.layers):
        return False
    return all(type(layer.get_submodule(name)) is kind for layer in encoder.layers for name, kind in _PARTS.items())


def _watchers() -> tuple[dict[int, Any], ...]:
    """Hooks of all modules there are."""
    return nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks
