"""DMD and its training losses written from their equations, with the released names, for benchmarks to compare with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.decoupling import PlainDecoupling, Terms, embedding_loss
from benchmarks.plain.mult import Drop
from mer_zoo.batch import Batch

__all__ = ["PlainDMD"]

EDGES = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]  # student, teacher; 0 text, 1 vision, 2 audio


class PlainKernel(nn.Module):
    """A graph-distillation kernel."""

    prior: Tensor

    def __init__(self, width: int, hidden: int, favoured: list[float]) -> None:
        super().__init__()
        self.W_logit, self.W_repr, self.W_edge = (
            nn.Linear(1, hidden),
            nn.Linear(width, hidden),
            nn.Linear(4 * hidden, 1),
        )
        self.register_buffer("prior", F.softmax(4 * torch.tensor(favoured).float(), 0), persistent=False)

    def edges(self, logits: list[Tensor], reprs: list[Tensor]) -> Tensor:
        """(B, 6), a softmax over the pairs."""
        z = [torch.cat([self.W_logit(a), self.W_repr(b)], 1) for a, b in zip(logits, reprs, strict=True)]
        scores = [self.W_edge(torch.cat([z[j], z[i]], 1)) for j, i in EDGES]
        return F.softmax(torch.cat(scores, 1) / 8, 1)

    def forward(self, logits: list[Tensor], reprs: list[Tensor], contrast: bool) -> Tensor:
        """Deviation from the prior, distances of logits and, for ``contrast``, likeness of representations."""
        edges = self.edges(logits, reprs)
        weights = edges + self.prior
        loss = 10 * (edges.mean(0) - self.prior).square().sum()
        for e, (j, i) in enumerate(EDGES):
            loss = loss + ((logits[j] - logits[i].detach()).abs().sum(1) * weights[:, e]).mean()
            if contrast:
                loss = loss + 10 * embedding_loss(reprs[j], reprs[i].detach()) * weights[:, e].mean()
        return loss


class PlainNetwork(PlainDecoupling):
    """DMD without its kernels."""

    def __init__(
        self, dims: tuple[int, int, int], lengths: tuple[int, int, int], dim: int, heads: int, layers: int, drop: Drop
    ) -> None:
        super().__init__(dims, lengths, dim, heads, drop)
        self.encoder_c = nn.Conv1d(dim, dim, 1, bias=False)
        for a in "lav":
            self.add_module(f"encoder_s_{a}", nn.Conv1d(dim, dim, 1, bias=False))
            self.add_module(f"self_attentions_c_{a}", self.encoder(a, layers))
            self.add_module(f"trans_{a}_mem", self.encoder("l", max(layers, 3), 2 * dim))
            for b in "lav".replace(a, ""):
                self.add_module(f"trans_{a}_with_{b}", self.encoder(b, layers))
            self.add_head(f"_{a}_low", dim * self.lengths[a], dim)
            self.add_head(f"_{a}_high", 2 * dim)
            self.add_module(f"weight_{a}", nn.Linear(2 * dim, 2 * dim))
        self.add_head("_c", 3 * dim)
        self.weight_c = nn.Linear(3 * dim, 3 * dim)
        self.add_head("", 9 * dim)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
        """Scores (B, 1), and all that the losses need."""
        x = self.project(batch)
        s = {a: getattr(self, f"encoder_s_{a}")(value) for a, value in x.items()}
        c = {a: self.encoder_c(value) for a, value in x.items()}
        recon = self.decode(s, c)
        again = {a: getattr(self, f"encoder_s_{a}")(value) for a, value in recon.items()}
        low = {a: self.head(f"_{a}_low", c[a].transpose(1, 2).flatten(1)) for a in c}
        c_fus = torch.cat([getattr(self, f"self_attentions_c_{a}")(c[a].permute(2, 0, 1))[-1] for a in "lva"], 1)
        p = {a: value.permute(2, 0, 1) for a, value in s.items()}
        h = {}
        for a in "lav":
            found = [getattr(self, f"trans_{a}_with_{b}")(p[a], p[b]) for b in "lav".replace(a, "")]
            h[a] = getattr(self, f"trans_{a}_mem")(torch.cat(found, 2))[-1]
        high = {a: self.head(f"_{a}_high", h[a]) for a in h}
        gates = [torch.sigmoid(getattr(self, f"weight_{a}")(h[a])) for a in "lva"]
        scores = self.head("", torch.cat([*gates, torch.sigmoid(self.weight_c(c_fus))], 1))[0]
        return scores, {
            "x": x,
            "s": s,
            "c": c,
            "recon": recon,
            "again": again,
            "low": {a: said[0] for a, said in low.items()},
            "low_repr": {a: said[2] for a, said in low.items()},
            "high": {a: said[0] for a, said in high.items()},
            "high_repr": {a: said[1] for a, said in high.items()},
            "common": {"c": self.head("_c", c_fus)[0]},
        }


class PlainDMD(nn.Module):
    """DMD with its kernels."""

    def __init__(
        self, dims: tuple[int, int, int], lengths: tuple[int, int, int], dim: int, heads: int, layers: int, drop: Drop
    ) -> None:
        super().__init__()
        self.dmd = PlainNetwork(dims, lengths, dim, heads, layers, drop)
        self.kernel_homo = PlainKernel(dim, 64, [0, 0, 1, 0, 1, 0])
        self.kernel_hetero = PlainKernel(2 * dim, 32, [0, 0, 1, 0, 1, 1])

    def forward(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Scores and the weighted losses of a training step."""
        scores, found = self.dmd(batch)
        target = batch.target[:, None]
        said = {part: [found[part][a] for a in "lva"] for part in ("low", "low_repr", "high", "high_repr")}
        homo = self.kernel_homo(said["low"], said["low_repr"], contrast=False)
        hetero = self.kernel_hetero(said["high"], said["high_repr"], contrast=True)
        losses = {
            "task": F.l1_loss(scores, target),
            "shared": torch.stack([F.l1_loss(logits, target) for logits in said["low"]]).sum(),
            "private": torch.stack([F.l1_loss(logits, target) for logits in said["high"]]).sum(),
            "common": F.l1_loss(found["common"]["c"], target),
            "shared_graph": 0.05 * homo,
            "private_graph": 0.05 * hetero,
        }
        return scores, losses | self.dmd.split_losses(found, batch.target)
