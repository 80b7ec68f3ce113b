"""Speed and memory of a training step of every backbone, of some beside a plain transcription of their equations.

    python -m benchmarks.speed.train_step                                # everything, the better part of an hour
    python -m benchmarks.speed.train_step --only DMD --repeats 3
    python -m benchmarks.speed.train_step --only "MulT short" --only EFLSTM
    python -m benchmarks.speed.train_step --only LFLSTM --wrapper AGM    # beside the plain network

A step is forward, backward and Adam with all losses of training on one CPU thread. Time: median of the processor's time
for steps that alternate between the two networks in one process, so that a busy machine slows both. Memory: a process
for each network; the highest resident size during three steps less the resident size before the first, after a step on
two samples has loaded what loads once.
Data wait: share of a loop over the embedded SyntheticMER that passes in the loader.

Before a pair is timed, scores, losses and gradients of both networks are compared on a few samples. "EMTDLFR padded"
has samples as long as those of CMU-MOSI, which differ much; the other pairs have no padding. Every backbone stands in a
row of its own, too, at the sizes of CMU-MOSI with the options that it has by
default: text 50 x 768, audio 375 x 5, vision 500 x 20 features, 16 samples of random lengths. With ``--wrapper`` the
networks that are named stand in it, beside themselves without it. Rows appear as they are measured.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import mer_zoo.backbones
import mer_zoo.wrappers
from benchmarks.plain.same import backward
from benchmarks.plain.zoo import CASES, MOSI, TASK, Pair, Terms, build, check, make_batch, our_terms
from benchmarks.speed.timing import Step, in_fresh_process, peak_memory, ratio, time_steps
from mer_zoo.batch import Batch
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model

COLUMNS = ("samples/s", "plain", "times", "MiB", "plain", "share", "data wait")
CHECKED = 4  # samples of the comparison before a pair is timed
NAMES = [*CASES, *(name for name in mer_zoo.backbones.__all__ if name not in CASES)]


def stepper(model: nn.Module, terms: Callable[[Batch], tuple[Tensor, Terms]]) -> Step:
    """One training step: forward, backward, Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        backward(terms(batch)[1])
        optimizer.step()

    return step


def pair_steps(pair: Pair) -> dict[str, Step]:
    """The step of either network of a pair."""
    return {
        "ours": stepper(pair.ours.train(), lambda batch: our_terms(pair.ours, batch)),
        "plain": stepper(pair.plain.train(), pair.plain_terms),
    }


def alone_model(name: str, wrapper: str | None = None) -> tuple[Model, Batch]:
    """A backbone by itself or in a wrapper, and a batch for it."""
    torch.manual_seed(1)
    model: Model = getattr(mer_zoo.backbones, name)(MOSI.spec, TASK)
    model = model if wrapper is None else getattr(mer_zoo.wrappers, wrapper)(model)
    full = Batch.random(MOSI.spec, TASK, MOSI.size)
    model.prepare([full])
    return model, full


def alone_step(name: str, wrapper: str | None = None) -> tuple[Step, Batch]:
    """The step of a backbone by itself or in a wrapper, and a batch for it."""
    model, full = alone_model(name, wrapper)
    return stepper(model, lambda batch: our_terms(model, batch)), full


def measure_memory(case: str, kind: str, title: str = "", wrapper: str | None = None) -> int:
    """Bytes that three steps of one network need at most; for a fresh process."""
    if kind == "alone":
        step, batch = alone_step(case, wrapper)
        return peak_memory(step, Batch.random(MOSI.spec, TASK, 2), batch)
    network = CASES[case]
    step = pair_steps(build(network, network.dropouts[title]))[kind]
    return peak_memory(step, make_batch(network, 2), make_batch(network))


def mebibytes(**request: Any) -> float:
    """MiB that :func:`measure_memory` finds in a process of its own."""
    return float(in_fresh_process("benchmarks.speed.train_step", "--request", json.dumps(request))) / 2**20


def data_wait(name: str) -> float | None:
    """Share of a loop over SyntheticMER spent waiting for batches; None for a backbone that does not take them."""
    data = SyntheticMER(SyntheticConfig(train=320, valid=8, test=8), task="regression", batch_size=32)
    data.setup("fit")
    try:
        model = getattr(mer_zoo.backbones, name)(data.spec, data.task)
    except MERError:
        return None
    model.prepare(list(data.train_dataloader()))
    step = stepper(model, lambda given: our_terms(model, given))
    waited, start = 0.0, time.perf_counter()
    batches = iter(data.train_dataloader())
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
        if batch is None:
            return waited / (time.perf_counter() - start)
        step(batch if model.fixed_length else batch.trim())


def show(name: str, *cells: str) -> None:
    """Print a row at once."""
    print(f"{name:<54}" + "".join(f"{cell:>11}" for cell in cells), flush=True)


def show_pair(case: str, title: str, repeats: int) -> None:
    """One row: ours beside the transcription."""
    pair, batch = build(CASES[case], CASES[case].dropouts[title]), make_batch(CASES[case])
    # In double precision a whole batch of long samples takes eleven gigabytes: a few samples show as much.
    check(pair, make_batch(CASES[case], CHECKED), CASES[case].dropouts[title])
    seconds = time_steps(pair_steps(pair), dict.fromkeys(("ours", "plain"), batch), repeats, time.process_time)
    memory = {kind: mebibytes(case=case, kind=kind, title=title) for kind in seconds}
    sizes = CASES[case].sizes
    network, lengths = case.removesuffix(" long").removesuffix(" short"), "/".join(map(str, sizes.lengths))
    name = f"{network} {lengths} x {sizes.size}, {title}"
    rates = [f"{sizes.size / seconds[kind]:.2f}" for kind in seconds]
    used = [f"{memory[kind]:.0f}" for kind in seconds]
    ratios = ratio(seconds["plain"], seconds["ours"]), ratio(memory["ours"], memory["plain"])
    show(name, *rates, ratios[0], *used, ratios[1])


def show_alone(name: str, repeats: int) -> None:
    """One row: a backbone by itself."""
    try:
        step, batch = alone_step(name)
    except MERError as error:
        show(name, str(error))
        return
    seconds = time_steps({name: step}, {name: batch}, repeats, time.process_time)[name]
    wait = data_wait(name)
    share = "" if wait is None else f"{100 * wait:.2f} %"
    show(name, f"{MOSI.size / seconds:.2f}", "", "", f"{mebibytes(case=name, kind='alone'):.0f}", "", "", share)


def show_wrapped(name: str, wrapper: str, repeats: int) -> None:
    """One row: a backbone in a wrapper beside the plain one."""
    steps, batches = {}, {}
    for kind, around in {"ours": wrapper, "plain": None}.items():
        steps[kind], batches[kind] = alone_step(name, around)
    seconds = time_steps(steps, batches, repeats)
    memory = {
        kind: mebibytes(case=name, kind="alone", wrapper=w) for kind, w in {"ours": wrapper, "plain": None}.items()
    }
    rates = [f"{MOSI.size / seconds[kind]:.2f}" for kind in seconds]
    used = [f"{memory[kind]:.0f}" for kind in seconds]
    ratios = ratio(seconds["plain"], seconds["ours"]), ratio(memory["ours"], memory["plain"])
    show(f"{wrapper}({name})", *rates, ratios[0], *used, ratios[1])


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=NAMES, help="only this one; may be repeated")
    parser.add_argument("--wrapper", choices=mer_zoo.wrappers.__all__, help="around what is named by --only")
    parser.add_argument("--repeats", type=int, default=7, help="timed steps of each network")
    parser.add_argument("--request", help=argparse.SUPPRESS)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Print the rows."""
    options = parser().parse_args(args)
    torch.set_num_threads(1)
    if options.request:
        print(measure_memory(**json.loads(options.request)))
        return
    show("step", *COLUMNS)
    chosen = options.only or NAMES
    if options.wrapper:
        for name in (name for name in mer_zoo.backbones.__all__ if name in chosen):
            show_wrapped(name, options.wrapper, options.repeats)
        return
    for case in (name for name in CASES if name in chosen):
        for title in CASES[case].dropouts:
            show_pair(case, title, options.repeats)
    for name in (name for name in mer_zoo.backbones.__all__ if name in chosen):
        show_alone(name, options.repeats)


if __name__ == "__main__":
    main()
