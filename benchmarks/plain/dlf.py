"""DLF and its training losses written from their equations, with the released names, for benchmarks to compare with.

The modules that the released code builds or computes without any use are left out.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.decoupling import PlainDecoupling, Terms
from benchmarks.plain.mult import Drop
from mer_zoo.batch import Batch

__all__ = ["PlainDLF"]


class PlainDLF(PlainDecoupling):
    """DLF with its losses."""

    def __init__(
        self, dims: tuple[int, int, int], lengths: tuple[int, int, int], dim: int, heads: int, layers: int, drop: Drop
    ) -> None:
        super().__init__(dims, lengths, dim, heads, drop)
        self.encoder_c = self.encoder("l", layers)
        for a in "lav":
            self.add_module(f"encoder_s_{a}", self.encoder(a, layers))
            self.add_module(f"self_attentions_c_{a}", self.encoder(a, layers))
            self.add_module(f"trans_{a}_mem", self.encoder("l", layers if a == "l" else max(layers, 3)))
            self.add_head(f"_{a}_high", dim)
            self.add_module(f"projector_{a}", nn.Linear(dim, dim))
        self.trans_l_with_a, self.trans_l_with_v = self.encoder("a", layers), self.encoder("v", layers)
        self.add_head("_c", 3 * dim)
        self.projector_c = nn.Linear(3 * dim, 3 * dim)
        self.add_head("", 6 * dim)

    def forward(self, batch: Batch) -> tuple[Tensor, Terms]:
        """Scores and the weighted losses of a training step."""
        x = self.project(batch)
        p = {a: value.permute(2, 0, 1) for a, value in x.items()}
        s = {a: getattr(self, f"encoder_s_{a}")(value) for a, value in p.items()}
        c = {a: self.encoder_c(value) for a, value in p.items()}
        split = [{a: value.permute(1, 2, 0) for a, value in part.items()} for part in (s, c)]
        recon = self.decode(*split)
        restored = {a: getattr(self, f"encoder_s_{a}")(value.permute(2, 0, 1)) for a, value in recon.items()}
        again = {a: value.permute(1, 2, 0) for a, value in restored.items()}
        c_fus = torch.cat([getattr(self, f"self_attentions_c_{a}")(c[a])[-1] for a in "lva"], 1)
        attracted = {"l": s["l"], "a": self.trans_l_with_a(s["l"], s["a"]), "v": self.trans_l_with_v(s["l"], s["v"])}
        heads = {
            a: self.head(f"_{a}_high", getattr(self, f"trans_{a}_mem")(value)[-1]) for a, value in attracted.items()
        }
        gates = [torch.sigmoid(getattr(self, f"projector_{a}")(heads[a][1])) for a in "lva"]
        scores = self.head("", torch.cat([*gates, torch.sigmoid(self.projector_c(c_fus))], 1))[0]
        target = batch.target[:, None]
        losses = {
            "task": F.l1_loss(scores, target),
            "common": F.l1_loss(self.head("_c", c_fus)[0], target),
            "text": 3 * F.l1_loss(heads["l"][0], target),
            "vision": F.l1_loss(heads["v"][0], target),
            "audio": F.l1_loss(heads["a"][0], target),
        }
        found = {"x": x, "s": split[0], "c": split[1], "recon": recon, "again": again}
        return scores, losses | self.split_losses(found, batch.target)
