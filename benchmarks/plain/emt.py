"""EMT-DLFR and its training losses written from their equations, with the released names, to be compared with.

Text is features here: its first step is the utterance vector, all others are fused, and none of them is a separator.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.plain.mult import Drop
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.data.missing.frames import RMFM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.layers.positions import interleaved_table

__all__ = ["PlainEMTDLFR"]

DIM, HEADS, LAYERS, EXPANSION, FUSION = 128, 4, 3, 4, 256
LSTMS = {"audio": (32, 16), "vision": (64, 32)}
PREDICTORS = {"gmc_tokens": 128, "text": 256, "audio": 8, "vision": 16}
RELEASED = {"gmc_tokens": "gmc_tokens", "text": "text", "audio": "audio", "vision": "video"}
Terms = dict[str, Tensor]
Network = dict[str, dict[str, Tensor]]


class PlainAttention(nn.Module):
    """Multi-head attention to a context; only the last map has a bias."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.to_q, self.to_kv = nn.Linear(DIM, DIM, bias=False), nn.Linear(DIM, 2 * DIM, bias=False)
        self.to_out = nn.Linear(DIM, DIM)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """Masked keys get no weight."""
        q, k, v = (
            part.view(*part.shape[:2], HEADS, -1).transpose(1, 2)
            for part in (self.to_q(x), *self.to_kv(context).chunk(2, -1))
        )
        scores = q @ k.transpose(2, 3) * (DIM // HEADS) ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None], -torch.finfo(scores.dtype).max)
        weights = F.dropout(F.softmax(scores, -1), self.p, self.training)
        mixed: Tensor = self.to_out((weights @ v).transpose(1, 2).flatten(2))
        return mixed


class PlainGEGLU(nn.Module):
    """a * gelu(b) of the halves a and b."""

    def forward(self, x: Tensor) -> Tensor:
        """Halve the last axis."""
        a, b = x.chunk(2, -1)
        return a * F.gelu(b)


class PlainUnit(nn.Module):
    """x + CA(LN x, LN c), then x + SA(LN x), then x + FF(LN x)."""

    def __init__(self, drop: Drop) -> None:
        super().__init__()
        cross: Any = nn.Module()
        inner: Any = nn.Module()
        last: Any = nn.Module()
        cross.fn, inner.fn, last.fn = (
            PlainAttention(drop["attn_dropout"]),
            PlainAttention(drop["attn_dropout"]),
            nn.Module(),
        )
        cross.norm_context = nn.LayerNorm(DIM)
        for part in (cross, inner, last):
            part.norm = nn.LayerNorm(DIM)
        wide, p = 2 * EXPANSION * DIM, drop["res_dropout"]
        last.fn.net = nn.Sequential(nn.Linear(DIM, wide), PlainGEGLU(), nn.Linear(EXPANSION * DIM, DIM), nn.Dropout(p))
        self.layers = nn.ModuleList([nn.ModuleList([cross, inner, last])])

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None, context_mask: Tensor | None) -> Tensor:
        """Promote x by a context."""
        parts: Any = self.layers[0]
        cross, inner, last = parts
        x = x + cross.fn(cross.norm(x), cross.norm_context(context), context_mask)
        own = inner.norm(x)
        x = x + inner.fn(own, own, mask)
        promoted: Tensor = x + last.fn.net(last.norm(x))
        return promoted


class PlainFusion(nn.Module):
    """Local sequences and global tokens promote one another; all units are one, as is the pooling."""

    def __init__(self, drop: Drop) -> None:
        super().__init__()
        unit, pool = PlainUnit(drop), nn.Module()
        pool.attention = nn.Sequential(nn.Linear(3 * DIM, 3 * DIM), nn.Tanh(), nn.Linear(3 * DIM, 1))
        self.mpus = nn.ModuleList(nn.ModuleList(nn.ModuleList([unit, unit]) for _ in range(3)) for _ in range(LAYERS))
        self.attn_pools = nn.ModuleList([pool] * LAYERS)

    def forward(self, x: list[Tensor], masks: list[Tensor], tokens: Tensor) -> tuple[list[Tensor], Tensor]:
        """Local sequences (B, T_m, d) and global tokens (B, 3, d)."""
        x = [value + interleaved_table(value.shape[1], DIM) for value in x]
        units: Any
        pool: Any
        for units, pool in zip(self.mpus, self.attn_pools, strict=True):
            locals_, globals_ = [], []
            for (to_local, to_global), value, mask in zip(units, x, masks, strict=True):
                locals_.append(to_local(value, tokens, mask, None))
                globals_.append(to_global(tokens, value, None, mask))
            flat = torch.stack([each.flatten(1) for each in globals_], 1)
            tokens = (F.softmax(pool.attention(flat), 1) * flat).sum(1).view_as(tokens)
            x = locals_
        return x, tokens


class PlainEMTDLFR(nn.Module):
    """EMT-DLFR with the losses of a training step on two views."""

    def __init__(self, dims: tuple[int, int, int], spec: DataSpec, drop: Drop) -> None:
        super().__init__()
        self.spec, self.drop = spec, drop
        self.views = IncompleteViews(RMFM("per_sample"), seed=0)
        widths = {"text": dims[0]} | {name: sizes[1] for name, sizes in LSTMS.items()}
        for (name, sizes), width in zip(LSTMS.items(), dims[1:], strict=True):
            model = nn.Module()
            model.rnn, model.linear_1 = nn.LSTM(width, sizes[0], batch_first=True), nn.Linear(*sizes)
            self.add_module(f"{RELEASED[name]}_model", model)
        for name, width in widths.items():
            self.add_module(f"proj_{RELEASED[name]}", nn.Linear(width, DIM, bias=False))
            self.add_module(f"recon_{RELEASED[name]}", nn.Linear(DIM, dict(zip(widths, dims, strict=True))[name]))
        self.fusion = PlainFusion(drop)
        for name, width in ({"gmc_tokens": 3 * DIM} | widths).items():
            self.add_module(
                f"{RELEASED[name]}_projector", _net(nn.Linear(width, width), nn.BatchNorm1d(width, affine=False))
            )
            inner = PREDICTORS[name]
            layers = (nn.Linear(width, inner, bias=False), nn.BatchNorm1d(inner), nn.ReLU(), nn.Linear(inner, width))
            self.add_module(f"{RELEASED[name]}_predictor", _net(*layers))
        self.post_fusion_layer_1 = nn.Linear(sum(widths.values()) + 3 * DIM, FUSION)
        self.post_fusion_layer_2, self.post_fusion_layer_3 = nn.Linear(FUSION, FUSION), nn.Linear(FUSION, 1)

    def encode(self, name: str, modality: Modality) -> tuple[Tensor, Tensor, Tensor]:
        """Utterance vector, local sequence and its mask."""
        if name == "text":
            return modality.x[:, 0], modality.x[:, 1:], modality.mask[:, 1:]
        model = getattr(self, f"{RELEASED[name]}_model")
        packed = pack_padded_sequence(modality.x, modality.lengths, batch_first=True, enforce_sorted=False)
        states, (last, _) = model.rnn(packed)
        states = pad_packed_sequence(states, batch_first=True)[0]
        return model.linear_1(last[0]), model.linear_1(states), modality.mask[:, : states.shape[1]]

    def forward(self, batch: Batch) -> tuple[Tensor, Network]:
        """Scores (B, 1), and what the losses need of a view."""
        found = {name: self.encode(name, batch.modality(name)) for name in ("text", "audio", "vision")}
        equal = {name: getattr(self, f"proj_{RELEASED[name]}") for name in found}
        tokens = torch.stack([equal[name](utterance) for name, (utterance, _, _) in found.items()], 1)
        x = [equal[name](states) for name, (_, states, _) in found.items()]
        x, tokens = self.fusion(x, [mask for _, _, mask in found.values()], tokens)
        utterances = {name: utterance for name, (utterance, _, _) in found.items()}
        joint = torch.cat([*utterances.values(), tokens.flatten(1)], 1)
        joint = F.dropout(joint, self.drop["out_dropout"], self.training)
        joint = F.relu(self.post_fusion_layer_2(F.relu(self.post_fusion_layer_1(joint))))
        vectors = {"gmc_tokens": tokens.flatten(1)} | utterances
        z = {name: getattr(self, f"{RELEASED[name]}_projector").net(vector) for name, vector in vectors.items()}
        p = {name: getattr(self, f"{RELEASED[name]}_predictor").net(value) for name, value in z.items()}
        return self.post_fusion_layer_3(joint), {"z": z, "p": p, "x": dict(zip(found, x, strict=True))}

    def losses(self, batch: Batch, view: Batch | None = None) -> tuple[Tensor, Terms]:
        """Scores of the incomplete view, and the losses of a training step."""
        view = self.views(batch, self.spec) if view is None else view
        scores, complete = self(batch)
        scores_m, incomplete = self(view)
        target = batch.target[:, None]
        losses = {"task": F.l1_loss(scores_m, target), "complete": F.l1_loss(scores, target)}
        for name in PREDICTORS:
            forward = F.cosine_similarity(incomplete["p"][name], complete["z"][name].detach()).mean()
            backward = F.cosine_similarity(complete["p"][name], incomplete["z"][name].detach()).mean()
            losses[f"attraction_{name.removeprefix('gmc_')}"] = -0.5 * (forward + backward)
        for name, states in incomplete["x"].items():
            start = int(name == "text")
            whole, part = batch.modality(name), view.modality(name)
            lost = (whole.observed & ~part.observed)[:, start : start + states.shape[1], None].expand(
                -1, -1, whole.x.shape[2]
            )
            fake = getattr(self, f"recon_{RELEASED[name]}")(states)
            original = whole.x[:, start : start + states.shape[1]]
            error = F.smooth_l1_loss(fake * lost, original * lost, reduction="sum")
            losses[f"reconstruction_{name}"] = error / (lost.sum() + 1e-6)
        return scores_m, losses


def _net(*layers: nn.Module) -> nn.Module:
    wrapped = nn.Module()
    wrapped.net = nn.Sequential(*layers)
    return wrapped
