"""CIDer and its training losses written from their equations, with the released names, to be compared with."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.missing.frames import RMFM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.layers.positions import interleaved_table

__all__ = ["DIM", "DIMS", "HEADS", "LAYERS", "NAMES", "WEIGHT", "Drop", "PlainCIDer", "PlainTraining", "Terms"]

DIM, HEADS, LAYERS, WEIGHT = 32, 8, 3, 0.1
DIMS = dict(zip("lav", (768, 5, 20), strict=True))
BLOCKS = ("lav", "la", "lv", "av", "l", "a", "v")
NAMES = dict(zip("lav", MODALITIES, strict=True))
Drop = dict[str, float]
Terms = dict[str, Tensor]


class PlainWSAM(nn.Module):
    """Words ask a long sequence; one head."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.randn(3 * DIM, DIM) / DIM**0.5)
        self.in_proj_bias = nn.Parameter(torch.randn(3 * DIM) / DIM)
        self.out_proj = nn.Linear(DIM, DIM)

    def forward(self, text: Tensor, source: Tensor, words: Tensor, frames: Tensor) -> Tensor:
        """Equation 4, zero attention where there is no word."""
        w, b = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q, k, v = (F.linear(x, w[i], b[i]) for i, x in enumerate((text, source, source)))
        scores = (q * DIM**-0.5) @ k.transpose(1, 2)
        weights = F.softmax(scores.masked_fill(~frames[:, None], -1e9), -1) * words[..., None]
        compressed: Tensor = self.out_proj(weights @ v)
        return compressed


class PlainMCA(nn.Module):
    """Seven masked softmaxes over one score matrix."""

    def __init__(self, drop: Drop) -> None:
        super().__init__()
        self.drop = drop
        self.in_proj_weight = nn.Parameter(torch.randn(3 * DIM, DIM) / DIM**0.5)
        self.in_proj_bias = nn.Parameter(torch.randn(3 * DIM) / DIM)
        self.out_proj = nn.ModuleList(nn.Linear(DIM, DIM) for _ in BLOCKS)
        self.s_l, self.s_a, self.s_v = (nn.Linear(4 * DIM, DIM) for _ in "lav")
        self.final_out_proj = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Equations 7-12."""
        size, total, _ = x.shape
        steps = total // 3
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).view(size, total, 3, HEADS, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        outputs = {}
        for block, out_proj in zip(BLOCKS, self.out_proj, strict=True):
            inside = torch.tensor([letter in block for letter in "lav"]).repeat_interleave(steps)
            hidden = ~(inside[:, None] & inside)
            weights = F.softmax(scores if block == "lav" else scores.masked_fill(hidden, -1e9), -1)
            if block == "lav":
                weights = F.dropout(weights, self.drop["attn"], self.training)
            outputs[block] = out_proj((weights @ v).transpose(1, 2).flatten(2))
        mixed = []
        for i, letter in enumerate("lav"):
            own = [outputs[block][:, i * steps : (i + 1) * steps] for block in BLOCKS if letter in block]
            mixed.append(getattr(self, f"s_{letter}")(torch.cat(own, 2)))
        return self.final_out_proj(torch.cat(mixed, 1)), scores.flatten(0, 1)


class PlainLayer(nn.Module):
    """x + MCA(LN0 x), then x + W2 relu(W1 LN1 x)."""

    def __init__(self, drop: Drop) -> None:
        super().__init__()
        self.drop = drop
        self.self_attn = PlainMCA(drop)
        self.fc1, self.fc2 = nn.Linear(DIM, 4 * DIM), nn.Linear(4 * DIM, DIM)
        self.layer_norms = nn.ModuleList(nn.LayerNorm(DIM) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Equation 13."""
        mixed, scores = self.self_attn(self.layer_norms[0](x))
        x = x + F.dropout(mixed, self.drop["res"], self.training)
        inner = F.dropout(F.relu(self.fc1(self.layer_norms[1](x))), self.drop["relu"], self.training)
        return x + F.dropout(self.fc2(inner), self.drop["res"], self.training), scores


class PlainMCT(nn.Module):
    """Positions, layers, final normalisation."""

    def __init__(self, drop: Drop) -> None:
        super().__init__()
        self.drop = drop
        self.layers = nn.ModuleList(PlainLayer(drop) for _ in range(LAYERS))
        self.layer_norm = nn.LayerNorm(DIM)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The encoded sequence and the scores of the last layer."""
        x = F.dropout(x + interleaved_table(x.shape[1], DIM), self.drop["embed"], self.training)
        scores = torch.empty(0)
        for layer in self.layers:
            x, scores = layer(x)
        return self.layer_norm(x), scores


class PlainCIDer(nn.Module):
    """CIDer with its decoders and causal head, written from its equations with the released names."""

    def __init__(self, lengths: tuple[int, int, int], drop: Drop) -> None:
        super().__init__()
        self.drop = drop
        for letter, width in DIMS.items():
            self.add_module(f"proj_{letter}", nn.Conv1d(width, DIM, 1, bias=False))
            self.add_module("t" if letter == "l" else letter, nn.GRU(DIM, DIM, batch_first=True))
            self.add_module(f"attn_{letter}", _pooling())
            encoder = nn.Sequential(
                nn.Linear(width, DIM), nn.ReLU(), nn.Linear(DIM, DIM), nn.ReLU(), nn.Linear(DIM, DIM)
            )
            self.add_module(f"cls_encoders_{letter}", encoder)
        self.a_compress, self.v_compress = PlainWSAM(), PlainWSAM()
        self.multimodal_transformer = PlainMCT(drop)
        self.proj1, self.proj2 = nn.Linear(3 * DIM, 3 * DIM), nn.Linear(3 * DIM, 3 * DIM)
        self.recon_text = nn.Linear(DIM, DIMS["l"])
        self.recon_audio, self.recon_vision = (
            nn.ModuleList([nn.Linear(lengths[0], length), nn.Linear(DIM, DIMS[letter])])
            for letter, length in zip("av", lengths[1:], strict=True)
        )
        self.classifiers = nn.ModuleList(nn.Linear(6 * DIM, 3) for _ in range(3))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Joint representation, sequences before pooling, scores of the last layer (Equations 3-15)."""
        given = {letter: batch.modality(name) for letter, name in NAMES.items()}
        x = {
            letter: getattr(self, f"proj_{letter}")(m.x.transpose(1, 2)).transpose(1, 2) for letter, m in given.items()
        }
        for letter in "av":
            compress = getattr(self, f"{letter}_compress")
            x[letter] = compress(x["l"], x[letter], given["l"].mask, given[letter].mask)
        states = torch.cat([getattr(self, "t" if letter == "l" else letter)(x[letter])[0] for letter in "lav"], 1)
        y, scores = self.multimodal_transformer(states)
        h = dict(zip("lav", y.chunk(3, 1), strict=True))
        g = torch.cat([(F.softmax(getattr(self, f"attn_{a}").attention(h[a]), 1) * h[a]).sum(1) for a in "lav"], 1)
        joint = g + self.proj2(F.dropout(F.relu(self.proj1(g)), self.drop["out"], self.training))
        return joint, h, scores

    def log_probabilities(self, joint: Tensor, prior: Tensor, means: dict[str, Tensor]) -> Tensor:
        """Log of the sum over classes i of P(i) softmax(classifier_i [h, H_i]) (Equations 20-24)."""
        encoded = [getattr(self, f"cls_encoders_{letter}")(means[letter]) for letter in "lav"]
        total = torch.zeros(())
        for i, classifier in enumerate(self.classifiers):
            h = torch.cat([joint, *(x[i].expand(len(joint), -1) for x in encoded)], 1)
            total = total + prior[i] * F.softmax(classifier(h), -1)
        return total.log()

    def restore(self, h: dict[str, Tensor]) -> dict[str, Tensor]:
        """The decoders."""
        fake = {"l": self.recon_text(h["l"])}
        for letter, (over_time, over_features) in zip("av", (self.recon_audio, self.recon_vision), strict=True):
            fake[letter] = over_features(F.relu(over_time(h[letter].transpose(1, 2))).transpose(1, 2))
        return fake


def _pooling() -> nn.Module:
    pooling = nn.Module()
    pooling.attention = nn.Sequential(nn.Linear(DIM, DIM), nn.Tanh(), nn.Linear(DIM, 1))
    return pooling


class PlainTraining:
    """The losses of both stages as their equations stand."""

    def __init__(self, network: PlainCIDer, spec: DataSpec, prior: Tensor, means: dict[str, Tensor]) -> None:
        self.network, self.spec, self.prior, self.means = network, spec, prior, means
        self.views = IncompleteViews(RMFM("per_sample"), seed=0)

    def stages(self, batch: Batch) -> Iterator[Terms]:
        """Losses of the complete view, then of the incomplete one."""
        view = self.views(batch, self.spec)
        joint, _, scores = self.network(batch)
        yield {"task": self.task_loss(joint, batch)}
        joint, scores = joint.detach(), scores.detach()
        incomplete, h, incomplete_scores = self.network(view)
        divergence = F.kl_div(F.log_softmax(incomplete_scores, -1), F.softmax(scores, -1), reduction="batchmean")
        yield {
            "task": self.task_loss(incomplete, batch),
            "mssd/recon": WEIGHT * self.reconstruction(self.network.restore(h), batch, view),
            "mssd/attention": WEIGHT * divergence,
            "mssd/joint": WEIGHT * (1 - F.cosine_similarity(incomplete, joint).mean()),
        }

    def task_loss(self, joint: Tensor, batch: Batch) -> Tensor:
        """Negative log-likelihood."""
        return F.nll_loss(self.network.log_probabilities(joint, self.prior, self.means), batch.target)

    def reconstruction(self, fake: dict[str, Tensor], batch: Batch, view: Batch) -> Tensor:
        """Mean smooth-L1 distance of what is missing, summed over the modalities."""
        total = torch.zeros(())
        for letter, name in NAMES.items():
            missing = (batch.modality(name).observed & ~view.modality(name).observed)[..., None]
            error = F.smooth_l1_loss(fake[letter] * missing, batch.modality(name).x * missing, reduction="sum")
            total = total + error / (missing.sum() * DIMS[letter] + 1e-6)
        return total
