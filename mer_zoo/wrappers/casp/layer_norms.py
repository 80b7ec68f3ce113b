"""The LayerNorms of a network: which there are, and their outputs brought to the means and deviations of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.errors import MERError
from mer_zoo.functional.adaptation import matched_affine
from mer_zoo.model import Model
from mer_zoo.training.modes import calibrating, evaluating

__all__ = ["layer_norms", "match_statistics", "seen"]


def layer_norms(model: Model) -> dict[str, nn.LayerNorm]:
    """The LayerNorms of the network of a nest that have a gain and an offset, and are not frozen.

    Args:
        model: The nest.

    Raises:
        MERError: If it has none, naming the network.

    Example:
        >>> from mer_zoo import DataSpec, LFDNN, SentimentRegression
        >>> layer_norms(LFDNN(DataSpec(), SentimentRegression()))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: LFDNN has no LayerNorm, whose gain and offset are all that is adapted; ...
    """
    network = model.nest[-1]
    found = {
        name: part
        for name, part in network.named_modules()
        if isinstance(part, nn.LayerNorm) and part.elementwise_affine and part.weight.requires_grad
    }
    if not found:
        raise MERError(
            f"{network.name} has no LayerNorm, whose gain and offset are all that is adapted; take a network with some,"
            " such as MulT or CIDerNet"
        )
    return found


def seen(model: Model, batch: Batch) -> Batch:
    """A batch as a test shows it to the model: without padding that no sample needs, where the model takes it so."""
    return batch if model.fixed_length else batch.trim()


@torch.no_grad()
def match_statistics(model: Model, source: BatchSource, target: BatchSource) -> None:
    """Give the outputs of each LayerNorm, channel by channel, the mean and deviation that they had on other inputs.

    A LayerNorm keeps no statistics, as a batch norm does, that could be taken anew. What is changed here is its gain
    and offset (ours): one layer after the other as they are called, each on what those before it then give. Padding
    counts in both alike. Layers that are not called as modules stay as they are.

    Args:
        model: The model; the LayerNorms of its network are changed.
        source: Inputs that it was trained on.
        target: Inputs that it is to meet.

    Raises:
        MERError: If it has no LayerNorm.
    """
    with evaluating(model), calibrating(model, False):
        wanted = _moments(model, layer_norms(model), source)
        for name in wanted:
            layer = layer_norms(model)[name]
            found = _moments(model, {name: layer}, target)
            if name in found:
                offset = layer.bias if layer.bias is not None else torch.zeros_like(layer.weight)
                weight, bias = matched_affine(layer.weight, offset, found[name], wanted[name])
                layer.weight.copy_(weight)
                if layer.bias is not None:
                    layer.bias.copy_(bias)


def _moments(model: Model, layers: dict[str, nn.LayerNorm], batches: BatchSource) -> dict[str, tuple[Tensor, Tensor]]:
    """Means and deviations of the outputs of layers, in the order in which they are first called."""
    sums: dict[str, list[Tensor]] = {}
    with _watching(layers, sums):
        for batch in batches:
            model.predict(seen(model, batch))
    found = {}
    for name, (count, total, squares) in sums.items():
        mean = total / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        found[name] = mean.to(layers[name].weight), std.to(layers[name].weight)
    return found


@contextmanager
def _watching(layers: dict[str, nn.LayerNorm], sums: dict[str, list[Tensor]]) -> Iterator[None]:
    def keep(name: str, layer: nn.LayerNorm) -> object:
        axes = len(layer.normalized_shape)

        def add(_: nn.Module, __: object, output: Tensor) -> None:
            rows = output.detach().double().flatten(0, -axes - 1)
            parts = [torch.tensor(len(rows)).double().to(rows.device), rows.sum(0), rows.square().sum(0)]
            before = sums.get(name)
            sums[name] = parts if before is None else [a + b for a, b in zip(before, parts, strict=True)]

        return layer.register_forward_hook(add)

    handles = [keep(name, layer) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]
