"""What CUMDF puts behind a network: its hidden sequences on one time axis, LG-MMT on them, and a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, Output
from mer_zoo.errors import MERError
from mer_zoo.layers.label_guided import LGMMT, common_axis, common_mask
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.model import Model

__all__ = ["Guided", "GuidedHead"]


class Guided(NamedTuple):
    """What :class:`GuidedHead` finds.

    Args:
        x: (B, T, d) of each modality, X~.
        mask: (B, T) bool, real steps of all of them.
        h: (B, D) joint representation H of LG-MMT.
        context: (B, F) the network's own joint representation, None where LG-MMT is the network's own.
        features: (B, D + F), or H alone.
        logits: (B, *task shape).
    """

    x: dict[str, Tensor]
    mask: Tensor
    h: Tensor
    context: Tensor | None
    features: Tensor
    logits: Tensor

    def pooled(self) -> Tensor:
        """Mean over the real steps of each modality, (B, n, d)."""
        return torch.stack([masked_mean(x, self.mask) for x in self.x.values()], 1)


class GuidedHead(nn.Module):
    """Classifies what a network offers, under the guidance of a label that is known or expected.

    A network with an LG-MMT of its own keeps it; H is then all that is classified. Behind another one an LG-MMT is
    built on its hidden sequences, and what is classified is H beside the network's own joint representation, so that
    nothing of it is left untrained (inferred).

    Args:
        model: The network; it is not kept, and given again in each call.
        dim: Width of LG-MMT; None for that of the first hidden sequence.
        heads: Heads of LG-MMT; None for 4.
        guided: Whether LG-MMT is guided, see :class:`~mer_zoo.layers.label_guided.LGMMT`; None for true.
        out_dropout: Dropout of LG-MMT's joint representation; None for 0.

    Raises:
        MERError: If the network has no hidden sequences of two modalities, or has an LG-MMT and an option of one is
            given.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> net, batch = LFLSTM(spec, task), Batch.random(spec, task)
        >>> GuidedHead(net)(net, net(batch), batch).logits.shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        model: Model,
        dim: int | None = None,
        heads: int | None = None,
        guided: bool | None = None,
        out_dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.spec, self.task, self.axes = model.spec, model.task, _axes(model)
        self.project = nn.ModuleDict()
        self.fusion: LGMMT | None = None
        shared = model.offered(LGMMT)
        if shared is not None:
            _check_options(model, {"dim": dim, "heads": heads, "guided": guided, "out_dropout": out_dropout})
            self.dim, self.joint_dim, self.context_dim = shared.dim, shared.feature_dim, 0
        else:
            assert model.hidden_shape is not None
            widths = {name: width for name, (_, width) in model.hidden_shape.items()}
            self.dim = next(iter(widths.values())) if dim is None else dim
            self.project.update({n: nn.Linear(w, self.dim) for n, w in widths.items() if w != self.dim})
            options = (self.dim, 4 if heads is None else heads, guided is not False, out_dropout or 0.0)
            self.fusion = LGMMT(self.task, list(widths), *options)
            self.joint_dim, self.context_dim = self.fusion.feature_dim, model.feature_dim
        self.feature_dim = self.joint_dim + self.context_dim
        self.head = nn.Linear(self.feature_dim, self.task.num_outputs)

    @override
    def forward(
        self, model: Model, output: Output, batch: Batch, target: Tensor | None = None, hidden: Tensor | None = None
    ) -> Guided:
        """Classify what the network said about a batch.

        Args:
            model: The network.
            output: Its output.
            batch: The batch; only masks are read.
            target: Labels, where they may be known.
            hidden: (B,) bool, samples whose label is not to be known all the same.
        """
        x, mask = self._sequences(output, batch)
        fusion = self._lgmmt(model)
        given = self.fusion is None and target is None
        h = output.features if given else fusion(x, mask, target, hidden)
        context = None if self.fusion is None else output.features
        features = h if context is None else torch.cat([h, context], 1)
        return Guided(x, mask, h, context, features, self._classify(fusion.drop(features)))

    def join(self, model: Model, x: Mapping[str, Tensor], mask: Tensor, target: Tensor | None) -> Tensor:
        """Joint representation H (B, D) of sequences (B, T, d), labels known or not."""
        h: Tensor = self._lgmmt(model)(x, mask, target)
        return h

    def rescore(
        self, model: Model, mask: Tensor, x: Mapping[str, Tensor], context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Features and logits of other sequences (B, T, d) and another context (B, F), labels not known, no dropout."""
        h = self.join(model, x, mask, None)
        features = h if context is None else torch.cat([h, context], 1)
        return features, self._classify(features)

    def penalised(self, model: Model) -> list[tuple[Tensor, Tensor, Tensor]]:
        """W_Q, W_K and W_V of every pair of LG-MMT."""
        return self._lgmmt(model).penalised()

    def _classify(self, features: Tensor) -> Tensor:
        return self.task.reshape(self.head(features))

    def _lgmmt(self, model: Model) -> LGMMT:
        fusion = model.offered(LGMMT) if self.fusion is None else self.fusion
        assert fusion is not None
        return fusion

    def _sequences(self, output: Output, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        assert output.hidden is not None
        masks = {name: batch.modality(name).mask for name in self.spec.modalities}
        mask = common_mask(masks, self.spec.aligned)
        if self.fusion is None:
            return output.hidden, mask
        own = {name: masks[axis] for name, axis in self.axes.items()}
        first = self.spec.modalities[0]
        aligned = self.spec.aligned and all(m.shape == mask.shape for m in own.values())
        shared = [name for name, axis in self.axes.items() if aligned or axis == first]
        x = common_axis(output.hidden, own, mask, shared)
        for name, project in self.project.items():
            x[name] = torch.where(mask[..., None], project(x[name]), 0.0)
        return x, mask


def _check_options(model: Model, options: Mapping[str, object]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise MERError(
            f"{given[0]} of CUMDF is for networks without an LG-MMT, but {model.name} has one of its own; set"
            f" {given[0]} there"
        )


def _axes(model: Model) -> dict[str, str]:
    """The modality whose steps each hidden sequence has."""
    shapes = model.hidden_shape or {}
    if len(shapes) < 2:
        offered = f"those of {', '.join(shapes)} only" if shapes else "none"
        raise MERError(
            f"CUMDF lets the hidden sequences of at least two modalities meet, but {model.name} offers {offered};"
            " give its hidden_shape, as to mer_zoo.adapt, or use another network, or more modalities"
        )
    axes = model.hidden_axes or {name: name for name in shapes}
    for name, (steps, _) in shapes.items():
        if steps != model.spec.length(axes[name]):
            raise MERError(
                f"CUMDF needs to know which steps are padding, but the hidden {name} of {model.name} has {steps} steps"
                f" where the"
                f" data has {model.spec.length(axes[name])}; use an option of the network that keeps the length"
            )
    return {name: axes[name] for name in shapes}
