"""Speed and memory of a training step of each backbone, beside a plain transcription of MulT.

    python benchmarks/train_step.py            # everything, about ten minutes
    python benchmarks/train_step.py --repeats 3 --case short

A step is forward, backward and Adam on one CPU thread. Time: median of steps that alternate between the two networks in one
process, so that a busy machine slows both. Memory: a process for each network; the highest resident size during three steps
less the resident size before the first, after a step on a tiny batch has loaded what loads once. Data wait: share of a loop
over the embedded SyntheticMER that passes in the loader.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mer_zoo.backbones import EFLSTM, LFLSTM, MulT
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic import SyntheticConfig
from mer_zoo.layers.positions import sinusoid_table
from mer_zoo.model import Backbone
from mer_zoo.task import SentimentRegression, Task

SIZES = {"d_model": 40, "num_heads": 10, "layers": 4}
CASES = {"long": ((20, 400, 1000), 4), "short": ((20, 20, 20), 32)}
DIMS = (300, 74, 35)
PAPER = {"attn_dropout": 0.2, "attn_dropout_audio": 0.2, "attn_dropout_vision": 0.2, "relu_dropout": 0.2}
PAPER |= {"res_dropout": 0.2, "embed_dropout": 0.2, "out_dropout": 0.1}
ATTENTION = ("attn_dropout", "attn_dropout_audio", "attn_dropout_vision")
DROPOUTS = {
    "no dropout": dict.fromkeys(PAPER, 0.0),
    "no attention dropout": PAPER | dict.fromkeys(ATTENTION, 0.0),
    "the paper's dropout": PAPER,
}
Drop = dict[str, float]
NETWORKS: dict[str, type[Backbone]] = {"MulT": MulT, "EFLSTM": EFLSTM, "LFLSTM": LFLSTM}
Lengths = tuple[int, int, int]
TASK = SentimentRegression()
LETTERS = dict(zip("lav", MODALITIES, strict=True))


class PlainLayer(nn.Module):
    """A layer of the MulT encoder as its equations stand, time first."""

    def __init__(self, dim: int, heads: int, attn_dropout: float, drop: Drop) -> None:
        super().__init__()
        self.heads, self.attn_dropout, self.drop = heads, attn_dropout, drop
        self.self_attn = nn.MultiheadAttention(dim, heads)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.layer_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))

    def forward(self, x: Tensor, source: Tensor | None) -> Tensor:
        """Return x + MHA(LN0 x, LN0 s, LN0 s), then x + W2 relu(W1 LN1 x)."""
        query = self.layer_norms[0](x)
        key = query if source is None else self.layer_norms[0](source)
        offset = 1 + abs(len(key) - len(query))
        mask = torch.triu(torch.full((len(query), len(key)), -torch.inf), offset)
        attention = self.self_attn
        mixed, _ = F.multi_head_attention_forward(
            query,
            key,
            key,
            *(query.shape[2], self.heads, attention.in_proj_weight, attention.in_proj_bias, None, None, False),
            *(self.attn_dropout, attention.out_proj.weight, attention.out_proj.bias),
            training=self.training,
            need_weights=True,
            attn_mask=mask,
        )
        x = x + F.dropout(mixed, self.drop["res_dropout"], self.training)
        inner = F.dropout(F.relu(self.fc1(self.layer_norms[1](x))), self.drop["relu_dropout"], self.training)
        return x + F.dropout(self.fc2(inner), self.drop["res_dropout"], self.training)


class PlainEncoder(nn.Module):
    """The MulT encoder: scaling, positions, layers, final normalisation."""

    def __init__(self, dim: int, heads: int, layers: int, attn_dropout: float, drop: Drop) -> None:
        super().__init__()
        self.drop = drop
        self.layers = nn.ModuleList(PlainLayer(dim, heads, attn_dropout, drop) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(dim)

    def embed(self, x: Tensor) -> Tensor:
        """sqrt(d) x + P, dropped out."""
        length, _, dim = x.shape
        table = sinusoid_table(length, dim)[1:, None] * (x[..., :1] != 0)
        return F.dropout(math.sqrt(dim) * x + table, self.drop["embed_dropout"], self.training)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        """Encode (T, B, d)."""
        x, source = self.embed(x), None if source is None else self.embed(source)
        for layer in self.layers:
            x = layer(x, source)
        encoded: Tensor = self.layer_norm(x)
        return encoded


class PlainMulT(nn.Module):
    """MulT written from its equations, with the released names; attention through multi_head_attention_forward."""

    def __init__(self, d_model: int, num_heads: int, layers: int, drop: Drop) -> None:
        super().__init__()
        self.drop = drop
        by_source = {"l": "attn_dropout", "a": "attn_dropout_audio", "v": "attn_dropout_vision"}
        for a, width in zip("lav", DIMS, strict=True):
            self.add_module(f"proj_{a}", nn.Conv1d(width, d_model, 1, bias=False))
            memory = PlainEncoder(2 * d_model, num_heads, max(layers, 3), drop["attn_dropout"], drop)
            self.add_module(f"trans_{a}_mem", memory)
            for b in "lav".replace(a, ""):
                encoder = PlainEncoder(d_model, num_heads, layers, drop[by_source[b]], drop)
                self.add_module(f"trans_{a}_with_{b}", encoder)
        self.proj1, self.proj2 = nn.Linear(6 * d_model, 6 * d_model), nn.Linear(6 * d_model, 6 * d_model)
        self.out_layer = nn.Linear(6 * d_model, 1)

    def forward(self, batch: Batch) -> Tensor:
        """(B, 1) scores."""
        x = {letter: batch.modality(name).x for letter, name in LETTERS.items()}
        x["l"] = F.dropout(x["l"], self.drop["embed_dropout"], self.training)
        p = {a: getattr(self, f"proj_{a}")(value.transpose(1, 2)).permute(2, 0, 1) for a, value in x.items()}
        last = []
        for a in "lav":
            found = [getattr(self, f"trans_{a}_with_{b}")(p[a], p[b]) for b in "lav".replace(a, "")]
            last.append(getattr(self, f"trans_{a}_mem")(torch.cat(found, 2))[-1])
        r = torch.cat(last, 1)
        z: Tensor = r + self.proj2(F.dropout(F.relu(self.proj1(r)), self.drop["out_dropout"], self.training))
        logits: Tensor = self.out_layer(z)
        return logits


def make_batch(lengths: Lengths, size: int) -> Batch:
    """Random features without padding."""
    torch.manual_seed(0)
    text, audio, vision = (
        Modality(torch.randn(size, length, dim), torch.ones(size, length, dtype=torch.bool))
        for length, dim in zip(lengths, DIMS, strict=True)
    )
    return Batch(text, audio, vision, target=torch.randn(size), index=torch.arange(size))


def build(kind: str, lengths: Lengths, drop: Drop) -> tuple[nn.Module, Callable[[Batch], Tensor]]:
    """A network and its scores: ours, plain (with the same weights), or the name of another backbone."""
    torch.manual_seed(1)
    plain = PlainMulT(**SIZES, drop=drop)
    if kind == "plain":
        return plain, plain
    spec = DataSpec(*DIMS, *lengths)
    if kind == "ours":
        ours = MulT(spec, TASK, variant="released", **SIZES, **drop)  # type: ignore[arg-type]
        load_released(ours, plain.state_dict())
        return ours, lambda batch: ours(batch).logits
    other = NETWORKS[kind](spec, TASK)
    return other, lambda batch: other(batch).logits


def stepper(model: nn.Module, scores: Callable[[Batch], Tensor], task: Task = TASK) -> Callable[[Batch], None]:
    """One training step: forward, backward, Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(task.criterion(scores(batch), batch.target).mean())
        optimizer.step()

    return step


def compare(case: str, drop: Drop, repeats: int) -> dict[str, float]:
    """Median seconds a step of both networks, steps alternating; their outputs are checked first."""
    lengths, size = CASES[case]
    batch = make_batch(lengths, size)
    built = {kind: build(kind, lengths, drop) for kind in ("ours", "plain")}
    with torch.no_grad():
        ours, plain = (scores(batch) for model, scores in built.values() if model.eval())
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    steps = {kind: stepper(model.train(), scores) for kind, (model, scores) in built.items()}
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for i in range(repeats + 1):
        for kind, step in steps.items():
            start = time.perf_counter()
            step(batch)
            if i > 0:
                times[kind].append(time.perf_counter() - start)
    return {kind: statistics.median(values) for kind, values in times.items()}


def resident(key: str) -> int:
    """Bytes of resident memory of this process: VmRSS now, VmHWM at most so far."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(key))
    return 1024 * int(line.split()[1])


def peak_memory(kind: str, case: str, drop: Drop) -> int:
    """Bytes that three training steps need at most beyond what the process held before; for a fresh process."""
    lengths, size = CASES[case]
    step = stepper(*build(kind, lengths, drop))
    step(make_batch((2, 2, 2), 1))
    batch = make_batch(lengths, size)
    before = resident("VmRSS")
    for _ in range(3):
        step(batch)
    return resident("VmHWM") - before


def in_fresh_process(**request: Any) -> Any:
    """Run :func:`peak_memory` in a process of its own."""
    command = [sys.executable, __file__, "--request", json.dumps(request)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def data_wait(kind: str) -> dict[str, float]:
    """Samples a second of a loop over SyntheticMER, and the share of it spent waiting for batches."""
    data = SyntheticMER(SyntheticConfig(train=640, valid=8, test=8), batch_size=32)
    data.setup("fit")
    model = NETWORKS[kind](data.spec, data.task)
    step = stepper(model, lambda batch: model(batch).logits, data.task)
    count, waited, start = 0, 0.0, time.perf_counter()
    batches = iter(data.train_dataloader())
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
        if batch is None:
            break
        step(batch.trim())
        count += len(batch)
    total = time.perf_counter() - start
    return {"rate": count / total, "wait": waited / total}


def measure_pair(case: str, title: str, drop: Drop, repeats: int) -> list[str]:
    """One row: our MulT beside the transcription."""
    seconds = compare(case, drop, repeats)
    memory = {kind: in_fresh_process(kind=kind, case=case, drop=drop) / 2**20 for kind in seconds}
    size = CASES[case][1]
    name = f"MulT {'/'.join(map(str, CASES[case][0]))} x {size}, {title}"
    rates = [f"{size / seconds[kind]:.1f}" for kind in ("ours", "plain")]
    sizes = [f"{memory[kind]:.0f}" for kind in ("ours", "plain")]
    ratios = [f"{seconds['plain'] / seconds['ours']:.2f}", f"{memory['ours'] / memory['plain']:.2f}"]
    return [name, *rates, ratios[0], *sizes, ratios[1], ""]


def measure_alone(kind: str) -> list[str]:
    """One row: a backbone by itself on SyntheticMER, its memory on the short case."""
    found = data_wait(kind)
    memory = in_fresh_process(kind=kind, case="short", drop=PAPER) / 2**20
    return [
        f"{kind} on SyntheticMER",
        f"{found['rate']:.1f}",
        "",
        "",
        f"{memory:.0f}",
        "",
        "",
        f"{100 * found['wait']:.2f} %",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("--repeats", type=int, default=9, help="timed steps of each network")
    parser.add_argument("--request", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.request:
        print(json.dumps(peak_memory(**json.loads(options.request))))
        return
    table = Table("step", "samples/s", "plain", "times", "MiB", "plain", "share", "data wait")
    for case in [options.case] if options.case else CASES:
        for title, drop in DROPOUTS.items():
            table.add_row(*measure_pair(case, title, drop, options.repeats))
    for kind in NETWORKS:
        table.add_row(*measure_alone(kind))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
