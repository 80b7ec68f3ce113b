"""What tests under many conditions cost beside one plain pass, with a text encoder and without.

    python -m benchmarks.speed.conditions unaligned_50.pkl --csv results/speed_cpu.csv

A file of CMU-MOSI with token ids (MMSA's ``unaligned_50.pkl``). LF-LSTM of the encoder's states, or of the file's
features; the encoder is a BERT of four layers, 256 wide, of random weights. Seconds of processor of whole
``Trainer.test`` calls in one thread, each beside a plain one in the same round; medians over the rounds of the ratios.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything

from benchmarks.options import add_results_options
from mer_zoo.backbones import LFLSTM
from mer_zoo.data import MOSI
from mer_zoo.module import MERModule
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import write_measured
from mer_zoo.reports.tables import Table

BERT = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
MODULE, TITLE, FILE = "benchmarks.speed.conditions", "tests under conditions", "unaligned_50.pkl"
ASKED: dict[str, list[str]] = {
    "availability, 7 sets": ["availability"],
    "robustness, 11 rates": ["robustness"],
    "both": ["availability", "robustness"],
}


def data_of(path: Path, encoder: bool, conditions: list[str], batch_size: int) -> MOSI:
    """The file, read as token ids or features."""
    text: Any = "tokens" if encoder else "features"
    return MOSI(str(path), text=text, batch_size=batch_size, conditions=conditions)


def seconds(module: MERModule, data: MOSI) -> float:
    """Processor time of one test."""
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(accelerator="cpu", logger=False, **quiet)
    start = time.process_time()
    trainer.test(module, data, verbose=False)
    return time.process_time() - start


def in_file_order(data: MOSI) -> MOSI:
    """The same data, whose tests do not look at lengths."""
    data._any_order = lambda: False  # type: ignore[method-assign]
    return data


def measure(path: Path, encoder: bool, rounds: int, batch_size: int) -> dict[str, float]:
    """Medians of ratios to a plain pass, and how much faster that is than one in the order of the file."""
    seed_everything(0, verbose=False)
    plain = data_of(path, encoder, ["default"], batch_size)
    module = MERModule(LFLSTM(plain.spec, plain.task, text_encoder=BERT if encoder else None))
    kinds = {name: data_of(path, encoder, asked, batch_size) for name, asked in ASKED.items()}
    unsorted = in_file_order(data_of(path, encoder, ["default"], batch_size))
    seconds(module, plain)
    found: dict[str, list[float]] = {name: [] for name in (*kinds, "plain, in the order of the file")}
    for _ in range(rounds):
        base = seconds(module, plain)
        for name, data in kinds.items():
            found[name].append(seconds(module, data) / base)
        found["plain, in the order of the file"].append(seconds(module, unsorted) / base)
    return {name: statistics.median(values) for name, values in found.items()}


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch_size", type=int, default=32)
    add_results_options(parser)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Measure, print, and write figures."""
    options = parser().parse_args(args)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    columns = {"with a text encoder": True, "features": False}
    found = {
        name: measure(options.path, encoder, options.rounds, options.batch_size) for name, encoder in columns.items()
    }
    names = list(found["features"])
    rows = [[name, *(f"{each[name]:.2f}" for each in found.values())] for name in names]
    table = Table("times a plain test", ["test", *columns], rows)
    sys.stdout.write(f"{table.markdown()}\n")
    if options.csv is not None:
        about = {"device": "CPU, one thread", "commit": options.commit, "command": f"python -m {MODULE} {FILE}"}
        write_measured(options.csv, figures_of(table, TITLE, **about))


if __name__ == "__main__":
    main()
