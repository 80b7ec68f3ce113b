"""GCNet written from its equations, over lists of edges, with the released names, for benchmarks to compare with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from benchmarks.plain.mult import Drop
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.data.missing.sets import AtLeastOne
from mer_zoo.data.missing.views import IncompleteViews

__all__ = ["PlainGCNet"]

ORDER = ("audio", "text", "vision")
Edges = list[tuple[Tensor, Tensor]]


class PlainGraph(nn.Module):
    """Both convolutions over lists of sources and targets, and the recurrent network behind them."""

    def __init__(self, input_dim: int, dim: int, relations: int, dropout: float) -> None:
        super().__init__()
        width = input_dim + dim
        self.conv1 = nn.ParameterDict(
            {
                "weight": torch.randn(relations, input_dim, dim) / input_dim,
                "root": torch.randn(input_dim, dim) / input_dim,
                "bias": torch.zeros(dim),
            }
        )
        self.conv2 = nn.ModuleDict({"lin_rel": nn.Linear(dim, dim), "lin_root": nn.Linear(dim, dim, bias=False)})
        self.grufusion = nn.LSTM(width, width, 2, bidirectional=True, batch_first=True, dropout=dropout)
        self.linear = nn.Linear(2 * width, width)

    def forward(self, h: Tensor, edges: Edges, lengths: list[int]) -> Tensor:
        """Utterances (N, width) of utterances (N, input_dim), dialogue after dialogue."""
        x = h @ self.conv1["root"] + self.conv1["bias"]
        for weight, (source, target) in zip(self.conv1["weight"], edges, strict=True):
            total = torch.zeros_like(x).index_add(0, target, h[source] @ weight)
            x = x + total / target.bincount(minlength=len(h)).clamp(min=1)[:, None]
        source, target = (torch.cat(ends) for ends in zip(*edges, strict=True))
        summed = torch.zeros_like(x).index_add(0, target, x[source])
        y = self.conv2["lin_rel"](summed) + self.conv2["lin_root"](x)
        return torch.relu(self.linear(run(self.grufusion, torch.cat([h, y], 1), lengths)))


class PlainGCNet(nn.Module):
    """GCNet without time attention, one pass over the dialogues of a batch."""

    def __init__(self, dims: tuple[int, int, int], spec: DataSpec, dim: int, window: int, drop: Drop) -> None:
        super().__init__()
        self.spec, self.window = spec, window
        self.views = (IncompleteViews(AtLeastOne(0.5), 0),)
        text, audio, vision = dims
        self.widths = [audio, text, vision]
        graph, dropout = dim // 2, drop["dropout"]
        self.lstm = nn.LSTM(sum(dims), dim, 2, bidirectional=True, batch_first=True, dropout=dropout)
        self.graph_net_temporal = PlainGraph(2 * dim, graph, 3, dropout)
        self.graph_net_speaker = PlainGraph(2 * dim, graph, 4, dropout)
        self.smax_fc, self.linear_rec = nn.Linear(2 * dim + graph, 1), nn.Linear(2 * dim + graph, sum(dims))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores (B, 1) and losses of a training step."""
        assert batch.dialogue is not None
        assert batch.speaker is not None
        view = self.views[0].train(self.training)(batch, self.spec)
        order = batch.dialogue.argsort(stable=True)
        dialogue, speaker = batch.dialogue[order], batch.speaker[order]
        lengths = torch.unique_consecutive(dialogue, return_counts=True)[1].tolist()
        place = torch.arange(len(order))
        ahead = place[:, None] - place  # of the target, a row, before its source
        near = (ahead.abs() <= self.window) & (dialogue[:, None] == dialogue)
        said = 2 * speaker[:, None] + speaker
        temporal = [near & kind for kind in (ahead > 0, ahead == 0, ahead < 0)]
        x, full, gone = _vectors(view)[order], _vectors(batch)[order], _missing(view)[order]
        h = run(self.lstm, x, lengths)
        hidden = self.graph_net_temporal(h, _edges(temporal), lengths)
        hidden = hidden + self.graph_net_speaker(h, _edges([near & (said == kind) for kind in range(4)]), lengths)
        scores = self.smax_fc(hidden)[order.argsort()]
        errors = [e.mean(1) for e in torch.split((self.linear_rec(hidden) - full).square(), self.widths, 1)]
        loss = (torch.stack(errors, 1) * gone).sum() / len(order)
        return scores, {"task": F.l1_loss(scores, batch.target[:, None]), "reconstruction": loss}


def run(rnn: nn.LSTM, x: Tensor, lengths: list[int]) -> Tensor:
    """States of dialogues that lie one after the other."""
    packed = rnn(pack_sequence(list(torch.split(x, lengths)), enforce_sorted=False))[0]
    states = pad_packed_sequence(packed, batch_first=True)[0]
    return torch.cat([states[row, :length] for row, length in enumerate(lengths)])


def _edges(masks: list[Tensor]) -> Edges:
    return [(source, target) for target, source in (mask.nonzero(as_tuple=True) for mask in masks)]


def _vectors(batch: Batch) -> Tensor:
    given = [batch.modality(name) for name in ORDER]
    return torch.cat([(m.x * m.observed[..., None]).sum(1) / m.observed.sum(1).clamp(min=1)[:, None] for m in given], 1)


def _missing(batch: Batch) -> Tensor:
    return torch.stack([~batch.modality(name).observed.any(1) for name in ORDER], 1)
