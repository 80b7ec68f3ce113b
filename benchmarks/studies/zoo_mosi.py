"""Every backbone of the zoo, plain and under MACI and CausalMER, on a CMU-MOSI file: one resumable command, a table.

    python -m benchmarks.studies.zoo_mosi run clean_unaligned_50.pkl --out runs/zoo_mosi
    python -m benchmarks.studies.zoo_mosi run clean_unaligned_50.pkl --out runs/zoo_mosi --seeds 1   # beside the first
    python -m benchmarks.studies.zoo_mosi table runs/zoo_mosi

Seven classes, because MACI and CausalMER need classes: the score for MAE and the correlation is the expectation over
them. Widths are small and alike, so that every run fits a CPU; learning rate, batch size and epochs are the same for
all, and the epoch of the smallest validation MAE is tested. One record a run; a finished run is skipped, so the command
may be stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from rich import box
from rich.console import Console
from rich.table import Table

import mer_zoo.backbones
from mer_zoo.callbacks import RunRecord
from mer_zoo.data.datamodule import MOSI, MERDataModule
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.wrappers import MACI, CausalMER

CROSSMODAL: dict[str, Any] = {"dim": 32, "heads": 4, "depth": 2}
SIZES: dict[str, dict[str, Any]] = {
    "CIDerNet": CROSSMODAL,
    "CUMDFNet": {"dim": 32},
    "CubeMLP": {"dim": 32, "hidden_dims": ((50, 3, 32), (10, 3, 16))},
    "DLF": {**CROSSMODAL, "kernels": (1, 1, 1)},
    "DMD": {**CROSSMODAL, "kernels": (1, 1, 1)},
    "EFLSTM": {"dim": 64},
    "EMTDLFR": {"dim": 32, "depth": 2, "fusion_dim": 64, "predictor_dims": (32, 64, 8, 16)},
    "LFDNN": {},
    "LFLSTM": {"dim": 32},
    "LMF": {},
    "LNLN": {"dim": 32, "heads": 4, "hyper_heads": 4},
    "MAGBERT": {"dim": 64},
    "MFN": {"hidden_dims": (64, 32, 32), "memory_dim": 64},
    "MISA": {"dim": 64, "ffn_dim": 256},
    "MPLMM": {"dim": 32, "heads": 4, "depth": 2},
    "MulT": {"dim": 32, "heads": 4, "depth": 2},
    "PMR": {"dim": 32, "heads": 4, "depth": 1},
    "SelfMM": {},
    "TFN": {"hidden_dims": (32, 16, 32), "text_out": 16, "fusion_dim": 32},
}
WRAPPERS: dict[str, Callable[[Model], Model]] = {"plain": lambda model: model, "MACI": MACI, "CausalMER": CausalMER}
METRICS = {"Acc2_non0": 100, "F1_non0": 100, "Acc7": 100, "MAE": 1, "Corr": 1}
QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def run(backbone: str, wrapper: str, seed: int, options: argparse.Namespace) -> None:
    """Train one model with one seed and test it, unless that is done."""
    folder: Path = options.out / f"{backbone}+{wrapper}" / f"seed{seed}"
    if (folder / "results.json").exists():
        return
    started = time.perf_counter()
    seed_everything(seed)
    data: MERDataModule = MOSI(options.path, task="seven", batch_size=options.batch_size, conditions=["availability"])
    network = getattr(mer_zoo.backbones, backbone)(data.spec, data.task, **SIZES[backbone])
    model = WRAPPERS[wrapper](network)
    module = MERModule(model, optimizer=lambda p: torch.optim.Adam(p, lr=options.lr), clip_norm=1.0)
    best = ModelCheckpoint(folder, "best", monitor="val/MAE", enable_version_counter=False)
    Trainer(max_epochs=options.epochs, callbacks=[best], num_sanity_val_steps=0, **QUIET).fit(module, datamodule=data)
    module.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    tester = Trainer(callbacks=[RunRecord(str(folder), pictures=False)], enable_checkpointing=False, **QUIET)
    tester.test(module, datamodule=data, verbose=False)
    Path(best.best_model_path).unlink()
    Console(width=100).log(f"{model.name} seed {seed}: {time.perf_counter() - started:.0f} s")


def cell(results: list[dict[str, Any]], metric: str, condition: str = "iid") -> str:
    """Mean and deviation over the seeds."""
    values = [METRICS[metric] * result["conditions"][condition]["metrics"][metric] for result in results]
    digits = 1 if METRICS[metric] == 100 else 3
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"


def difference(folder: Path, wrapper: str, metric: str) -> str:
    """What a wrapper adds on the networks' average, with a 95 % interval (networks resampled), and how many gain."""
    gains = []
    for backbone in mer_zoo.backbones.__all__:
        of_seeds = [
            METRICS[metric]
            * (_iid(file, metric) - _iid(folder / f"{backbone}+plain" / file.parent.name / file.name, metric))
            for file in sorted(folder.glob(f"{backbone}+{wrapper}/seed*/results.json"))
        ]
        gains += [statistics.fmean(of_seeds)] if of_seeds else []
    draws = torch.randint(len(gains), (10_000, len(gains)), generator=torch.Generator().manual_seed(0))
    low, high = torch.tensor(gains)[draws].mean(1).quantile(torch.tensor([0.025, 0.975])).tolist()
    digits = 1 if METRICS[metric] == 100 else 3
    better = sum((gain < 0) if metric == "MAE" else (gain > 0) for gain in gains)
    mean = f"{statistics.fmean(gains):+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    return f"{mean}, better for {better} of {len(gains)}"


def _iid(file: Path, metric: str) -> float:
    value: float = json.loads(file.read_text())["conditions"]["iid"]["metrics"][metric]
    return value


def table(folder: Path) -> None:
    """Print mean and deviation of every model, and its accuracy with text alone and without text, as Markdown."""
    shown = Table(
        "backbone",
        "wrapper",
        "seeds",
        "parameters",
        *METRICS,
        "Acc2_non0 {l}",
        "{a,v}",
        box=box.MARKDOWN,
        pad_edge=False,
    )
    majority: dict[str, float] = {}
    for backbone in mer_zoo.backbones.__all__:
        for wrapper in WRAPPERS:
            files = sorted(folder.glob(f"{backbone}+{wrapper}/seed*/results.json"))
            results = [json.loads(file.read_text()) for file in files]
            if not results:
                continue
            majority = results[0]["conditions"]["iid"]["majority"]
            sets = [cell(results, "Acc2_non0", name) for name in ("{l}", "{a,v}")]
            cells = [cell(results, metric) for metric in METRICS]
            shown.add_row(backbone, wrapper, str(len(results)), f"{results[0]['parameters']:,}", *cells, *sets)
    if majority:
        shown.add_row(
            "majority class", "", "", "", *(f"{scale * majority[name]:.4g}" for name, scale in METRICS.items())
        )
    console = Console(width=170)
    console.print(shown)
    for wrapper in ("MACI", "CausalMER"):
        for metric in METRICS:
            console.print(f"{wrapper} against plain, {metric}: {difference(folder, wrapper, metric)}")


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("path", type=Path)
    runs.add_argument("--backbones", default=",".join(mer_zoo.backbones.__all__))
    runs.add_argument("--wrappers", default=",".join(WRAPPERS))
    runs.add_argument("--seeds", default="0,1,2")
    runs.add_argument("--epochs", type=int, default=15)
    runs.add_argument("--lr", type=float, default=1e-3)
    runs.add_argument("--batch_size", type=int, default=24)
    runs.add_argument("--out", type=Path, default=Path("runs/zoo_mosi"))
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run models, or print their table."""
    options = parser().parse_args(args)
    if options.command == "table":
        table(options.folder)
        return
    for seed in options.seeds.split(","):
        for backbone in options.backbones.split(","):
            for wrapper in options.wrappers.split(","):
                run(backbone, wrapper, int(seed), options)


if __name__ == "__main__":
    main()
