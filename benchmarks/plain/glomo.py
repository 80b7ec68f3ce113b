"""GLoMo with its training losses written from its equations, with the released names, to be compared with.

Text is features here, which stand for the last layer of BERT alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.mult import Drop, PlainEncoder
from mer_zoo.batch import Batch

__all__ = ["PlainGLoMo"]

DIM, HEADS, LAYERS, CHUNKS, EXPERTS, K, FFN = 48, 16, 4, 3, 3, 2, 2048
LEAST, MEAN = 0.01, 0.1
Pair = tuple[Tensor, Tensor]


class PlainExpert(nn.Module):
    """Two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(CHUNKS * DIM, DIM), nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d)."""
        said: Tensor = self.fc2(F.relu(self.fc1(x)))
        return said


class PlainMixture(nn.Module):
    """The experts, each given the samples that go to it, and mixed in log space."""

    def __init__(self, noise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.noise = noise
        self.experts = nn.ModuleList(PlainExpert() for _ in range(EXPERTS))
        self.w_gate = nn.Parameter(0.1 * torch.randn(CHUNKS * DIM, EXPERTS))
        self.w_noise = nn.Parameter(0.1 * torch.randn(CHUNKS * DIM, EXPERTS))

    def forward(self, x: Tensor) -> Pair:
        """What the experts say (B, d), and the penalty of their uneven use."""
        clean = noisy = x @ self.w_gate
        if self.training:
            deviation = F.softplus(x @ self.w_noise) + LEAST
            noisy = clean + self.noise(clean) * deviation
        top, chosen = noisy.topk(K + 1, 1)
        gates = torch.zeros_like(noisy).scatter(1, chosen[:, :K], top[:, :K].softmax(1))
        load = (gates > 0).sum(0).to(gates.dtype)
        if self.training:
            inside = torch.special.ndtr((clean - top[:, K:]) / deviation - MEAN)
            outside = torch.special.ndtr((clean - top[:, K - 1 : K]) / deviation - MEAN)
            load = torch.where(noisy > top[:, K:], inside, outside).sum(0)
        mixed = x.new_zeros(len(x), DIM)
        for e, expert in enumerate(self.experts):
            rows = gates[:, e].nonzero().squeeze(1)
            mixed = mixed.index_add(0, rows, gates[rows, e : e + 1] * expert(x[rows]).exp())
        return mixed.log(), 0.01 * (_uneven(gates.sum(0)) + _uneven(load))


class PlainSum(nn.Module):
    """The sum of three vectors by an attention that reads all of them."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.attention_mlp = nn.ModuleDict({"attention_mlp": nn.Linear(3 * DIM, DIM)})
        self.fc_att = nn.Linear(DIM, 3)

    def forward(self, *vectors: Tensor) -> Pair:
        """The sum (B, d), and the weights (B, 3)."""
        inner = self.attention_mlp["attention_mlp"](torch.cat(vectors, 1))
        inner = F.relu(F.dropout(inner, self.p, self.training))
        weights = (DIM**-0.5 * self.fc_att(inner)).softmax(1)
        return _weighted(weights, vectors), weights


class PlainUnimodal(nn.Module):
    """Convolution and encoder of audio or vision."""

    def __init__(self, width: int, drop: Drop) -> None:
        super().__init__()
        self.projs = nn.Conv1d(width, DIM, 3, padding=1, bias=False)
        self.encoder = PlainEncoder(DIM, HEADS, LAYERS, drop["attn_dropout"], drop, causal=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d, T)."""
        y = self.projs(x.transpose(1, 2)).permute(2, 0, 1)
        encoded: Tensor = self.encoder(y).permute(1, 2, 0)
        return encoded


class PlainGLoMo(nn.Module):
    """GLoMo with the losses of a training step."""

    def __init__(self, dims: tuple[int, int, int], drop: Drop, noise: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        text, audio, vision = dims
        convolution = nn.Conv1d(text, DIM, 3, padding=1, bias=False)
        self.bert = nn.ModuleDict({"linear1": nn.Linear(text, DIM), "proj_l": convolution})
        self.audio_network, self.video_network = PlainUnimodal(audio, drop), PlainUnimodal(vision, drop)
        self.moe_t, self.moe_a, self.moe_v = (PlainMixture(noise) for _ in range(3))
        layer = nn.TransformerEncoderLayer(DIM, HEADS, FFN, drop["fusion_dropout"])
        self.transformer_encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.attn_cs, self.attn_fs = (PlainSum(drop["pool_dropout"]) for _ in range(2))
        self.fc_all, self.fc_ts, self.fc_as, self.fc_vs = (nn.Linear(2 * DIM, DIM) for _ in range(4))
        self.classifier = nn.Linear(2 * DIM, 1)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores and losses."""
        x = batch.text.x
        sequences = {"t": self.bert["proj_l"](x.transpose(1, 2))}
        sequences |= {"a": self.audio_network(batch.audio.x), "v": self.video_network(batch.vision.x)}
        tokens, balance = [], []
        for name, y in sequences.items():
            chunks = F.adaptive_max_pool1d(y, CHUNKS).flatten(1)
            said, penalty = getattr(self, f"moe_{name}")(chunks)
            tokens += [self.bert["linear1"](x[:, 0]) if name == "t" else y.max(2).values, said]
            balance.append(penalty)
        h = self.transformer_encoder(torch.stack(tokens))
        by_whole, weights = self.attn_cs(h[0], h[2], h[4])
        by_part, _ = self.attn_fs(h[1], h[3], h[5])
        first = self.fc_all(torch.cat([by_whole, by_part], 1))
        joins = (self.fc_ts, self.fc_as, self.fc_vs)
        pairs = [join(torch.cat([h[2 * i], h[2 * i + 1]], 1)) for i, join in enumerate(joins)]
        scores = self.classifier(torch.cat([first, _weighted(weights, pairs)], 1))
        return scores, {
            "task": F.l1_loss(scores, batch.target[:, None]),
            "balance": balance[0] + balance[1] + balance[2],
        }


def _uneven(u: Tensor) -> Tensor:
    return u.var() / (u.mean() ** 2 + 1e-10)


def _weighted(weights: Tensor, vectors: Sequence[Tensor]) -> Tensor:
    return weights[:, :1] * vectors[0] + weights[:, 1:2] * vectors[1] + weights[:, 2:] * vectors[2]
