"""Speed and memory of CIDer's training step, beside a plain transcription of its equations.

    python -m benchmarks.speed.cider_step            # everything, about five minutes on an idle machine
    python -m benchmarks.speed.cider_step --repeats 3 --size 32

A step is what one batch costs in training: an incomplete view is drawn, then for each of the two views forward,
backward and Adam, with all losses of MSSD and the head of MACI; text is 768 float features, audio and vision are not
aligned with it. One CPU thread. Both networks have the same parameters, and before they are timed their scores, losses
and gradients are compared. Time: median of steps that alternate between the two networks in one process, so that a busy
machine slows both. Memory: a process for each network; the highest resident size during three steps less the resident
size before the first, after a step of one sample has loaded what loads once. The second table shows how our step grows
with the lengths of audio and vision.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.plain.cider import DIM, DIMS, HEADS, LAYERS, NAMES, WEIGHT, Drop, PlainCIDer, PlainTraining, Terms
from benchmarks.plain.same import assert_same, backward, in_double
from benchmarks.speed.timing import Step, in_fresh_process, peak_memory, ratio, time_steps
from mer_zoo.backbones import CIDerNet
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers import MACI, MSSD

TASK = SentimentClassification(3)
DROPOUTS = {
    "no dropout": dict.fromkeys(("attn", "relu", "res", "embed", "out"), 0.0),
    "dropout 0.1 without attention": {"attn": 0.0, "relu": 0.1, "res": 0.1, "embed": 0.1, "out": 0.1},
    "dropout 0.1 everywhere": dict.fromkeys(("attn", "relu", "res", "embed", "out"), 0.1),
}


def make_batch(lengths: tuple[int, int, int], size: int) -> Batch:
    """Random features without padding, classes that all occur."""
    torch.manual_seed(0)
    text, audio, vision = (
        Modality(torch.randn(size, length, dim), torch.ones(size, length, dtype=torch.bool))
        for length, dim in zip(lengths, DIMS.values(), strict=True)
    )
    return Batch(text, audio, vision, target=torch.arange(size) % 3, index=torch.arange(size))


def build(lengths: tuple[int, int, int], drop: Drop) -> tuple[MSSD, PlainTraining, dict[str, str]]:
    """Both networks with the same parameters and statistics; released name to ours."""
    torch.manual_seed(1)
    plain = PlainCIDer(lengths, drop)
    spec = DataSpec(DIMS["l"], DIMS["a"], DIMS["v"], *lengths)
    backbone = CIDerNet(spec, TASK, None, DIM, HEADS, LAYERS, **{f"{name}_dropout": p for name, p in drop.items()})  # type: ignore[arg-type]
    maci = MACI(backbone)
    ours = MSSD(maci, WEIGHT, WEIGHT, WEIGHT, seed=0)
    report = load_released(ours, plain.state_dict(), "cider")
    ours.prepare([make_batch((2, 2, 2), 6)])
    means = {letter: maci.head.get_buffer(f"mean_{name}") for letter, name in NAMES.items()}
    return ours, PlainTraining(plain, spec, maci.head.prior, means), report.used


def our_stages(model: MSSD, batch: Batch) -> Iterator[Terms]:
    """Losses of both stages, as the training module sums them."""
    for step in model.steps(batch):
        yield {"task": TASK.criterion(step.output.logits, step.batch.target).mean(), **step.losses}


def stepper(parameters: Iterator[nn.Parameter], stages: Callable[[Batch], Iterator[Terms]]) -> Step:
    """One training step: for each stage forward, backward, Adam."""
    optimizer = torch.optim.Adam(parameters, lr=1e-3)

    def step(batch: Batch) -> None:
        for losses in stages(batch):
            optimizer.zero_grad()
            backward(losses)
            optimizer.step()

    return step


def check(ours: MSSD, plain: PlainTraining, names: dict[str, str], batch: Batch) -> None:
    """Compare scores, losses and gradients of both stages.

    Raises:
        AssertionError: Where they differ.
    """
    ours.eval()
    plain.network.eval()
    plain.views.eval()
    with in_double(batch, ours, plain.network) as given:
        joint, hidden, scores = plain.network(given)
        output = ours(given)
        expected = [plain.network.log_probabilities(joint, plain.prior, plain.means), joint, scores, *hidden.values()]
        assert_same([output.logits, output.features, output.attention, *output.hidden.values()], expected)
        for mine, theirs in zip(our_stages(ours, given), plain.stages(given), strict=True):
            assert_same(mine, theirs)
            for module, losses in ((ours, mine), (plain.network, theirs)):
                module.zero_grad()
                backward(losses)
            for name, parameter in plain.network.named_parameters():
                assert_same(ours.get_parameter(names[name]).grad, parameter.grad)


def train_steps(ours: MSSD, plain: PlainTraining) -> dict[str, Step]:
    """The step of each network in training."""
    ours.train()
    plain.network.train()
    plain.views.train()
    return {
        "ours": stepper(ours.parameters(), lambda batch: our_stages(ours, batch)),
        "plain": stepper(plain.network.parameters(), plain.stages),
    }


def compare(lengths: tuple[int, int, int], size: int, drop: Drop, repeats: int) -> dict[str, float]:
    """Median seconds a step of both networks, steps alternating; their outputs are checked first."""
    ours, plain, names = build(lengths, drop)
    batch = make_batch(lengths, size)
    check(ours, plain, names, batch)
    return time_steps(train_steps(ours, plain), dict.fromkeys(("ours", "plain"), batch), repeats)


def growth(lengths: tuple[int, int, int], size: int, repeats: int) -> dict[str, float]:
    """Median seconds of our step at multiples of the lengths of audio and vision."""
    steps, batches = {}, {}
    for times in (1, 2, 4):
        longer = (lengths[0], times * lengths[1], times * lengths[2])
        ours, plain, _ = build(longer, DROPOUTS["no dropout"])
        name = "/".join(map(str, longer))
        steps[name], batches[name] = train_steps(ours, plain)["ours"], make_batch(longer, size)
    return time_steps(steps, batches, repeats)


def measure_memory(kind: str, lengths: tuple[int, int, int], size: int, drop: Drop) -> int:
    """Bytes that three training steps need at most beyond what the process held before; for a fresh process."""
    ours, plain, _ = build(lengths, drop)
    return peak_memory(train_steps(ours, plain)[kind], make_batch(lengths, 1), make_batch(lengths, size))


def mebibytes(**request: Any) -> float:
    """MiB that :func:`measure_memory` finds in a process of its own."""
    return float(in_fresh_process("benchmarks.speed.cider_step", "--request", json.dumps(request))) / 2**20


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of each network")
    parser.add_argument("--size", type=int, default=128, help="samples of a batch")
    parser.add_argument("--lengths", type=int, nargs=3, default=(50, 375, 500), help="of text, audio and vision")
    parser.add_argument("--request", help=argparse.SUPPRESS)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Print the tables."""
    options = parser().parse_args(args)
    torch.set_num_threads(1)
    if options.request:
        print(json.dumps(measure_memory(**json.loads(options.request))))
        return
    lengths, size = tuple(options.lengths), options.size
    table = Table("step", "ms", "plain", "times", "MiB", "plain", "share")
    for title, drop in DROPOUTS.items():
        seconds = compare(lengths, size, drop, options.repeats)
        kinds = ("ours", "plain")
        memory = {kind: mebibytes(kind=kind, lengths=lengths, size=size, drop=drop) for kind in kinds}
        ratios = ratio(seconds["plain"], seconds["ours"]), ratio(memory["ours"], memory["plain"])
        rates = [f"{1000 * seconds[kind]:.0f}" for kind in kinds]
        table.add_row(title, *rates, ratios[0], *(f"{memory[kind]:.0f}" for kind in kinds), ratios[1])
    lengthened = Table("lengths", "ms", "times the first")
    found = growth(lengths, size, options.repeats)
    for name, value in found.items():
        lengthened.add_row(name, f"{1000 * value:.0f}", f"{value / next(iter(found.values())):.2f}")
    console = Console(width=120)
    console.print(table)
    console.print(lengthened)


if __name__ == "__main__":
    main()
