"""Every backbone of the zoo, plain and under MACI and CausalMER, on a CMU-MOSI file: one resumable command, a table.

    python -m benchmarks.studies.zoo_mosi run clean_unaligned_50.pkl --out runs/zoo_mosi
    python -m benchmarks.studies.zoo_mosi run clean_unaligned_50.pkl --out runs/zoo_mosi --seeds 1   # beside the first
    python -m benchmarks.studies.zoo_mosi table runs/zoo_mosi

Seven classes, because MACI and CausalMER need classes: the score for MAE and the correlation is the expectation over
them. Widths are small and alike, so that every run fits a CPU; learning rate, batch size and epochs are the same for
all, and the epoch of the smallest validation MAE is tested.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import seed_everything

import mer_zoo.backbones
from benchmarks.studies.frame import (
    Job,
    Plan,
    Results,
    Study,
    add_run_options,
    by_name,
    fit,
    simple_jobs,
    simple_test,
    tested,
)
from benchmarks.studies.table import (
    SCALES,
    Answers,
    decimals,
    interval,
    is_shared,
    metric_cell,
    resampled_mean,
    write_tables,
)
from mer_zoo.data.datamodule import MOSI, MERDataModule
from mer_zoo.model import Model
from mer_zoo.reports.tables import ABSENT, Table
from mer_zoo.wrappers import MACI, CausalMER

CROSSMODAL: dict[str, Any] = {"dim": 32, "heads": 4, "depth": 2}
SIZES: dict[str, dict[str, Any]] = {
    "CIDerNet": CROSSMODAL,
    "CUMDFNet": {"dim": 32},
    "CubeMLP": {"dim": 32, "hidden_dims": ((50, 3, 32), (10, 3, 16))},
    "DCCA": {"hidden_dim": 64},
    "DCCAE": {"hidden_dim": 64},
    "DLF": {**CROSSMODAL, "kernels": (1, 1, 1)},
    "DMD": {**CROSSMODAL, "kernels": (1, 1, 1)},
    "DiCMoR": {**CROSSMODAL, "kernels": (1, 1, 1), "flow_steps": 8, "flow_dim": 32, "refinement_depth": 2},
    "EFLSTM": {"dim": 64},
    "EMTDLFR": {"dim": 32, "depth": 2, "fusion_dim": 64, "predictor_dims": (32, 64, 8, 16)},
    "GCNet": {"dim": 32},
    "FDMER": {"dim": 32},
    "GLoMo": {"dim": 32, "heads": 4, "depth": 2, "ffn_dim": 128},
    "IFMMIN": {"dim": 32, "cascade_dims": (64, 32, 16), "head_dims": (32, 32)},
    "IMDer": {
        **CROSSMODAL,
        "kernels": (1, 1, 1),
        "channels": (32, 32, 64),
        "time_dim": 32,
        "score_heads": 4,
        "score_depth": 1,
        "sampler_steps": 10,
        "refinement_depth": 2,
    },
    "LFDNN": {},
    "LFLSTM": {"dim": 32},
    "LMF": {},
    "LNLN": {"dim": 32, "heads": 4, "hyper_heads": 4},
    "MAGBERT": {"dim": 64},
    "MCTN": {},
    "MFM": {"hidden_dims": (64, 32, 32), "code_dims": (32, 32, 32, 32), "factor_dims": (16, 16, 16, 32)},
    "MFN": {"hidden_dims": (64, 32, 32), "memory_dim": 64},
    "MISA": {"dim": 64, "ffn_dim": 256},
    "MMIN": {"dim": 32, "cascade_dims": (64, 32, 16), "head_dims": (32, 32)},
    "MPLMM": {"dim": 32, "heads": 4, "depth": 2},
    "MulT": {"dim": 32, "heads": 4, "depth": 2},
    "PMR": {"dim": 32, "heads": 4, "depth": 1},
    "RAVEN": {"dim": 64, "nonverbal_dim": 32},
    "RMFN": {"hidden_dims": (64, 32, 32), "cross_dim": 32, "highlight_dim": 32, "fuse_dim": 32},
    "SelfMM": {},
    "TFRNet": {"dim": 32, "heads": 4, "depth": 2},
    "TransM": {"dim": 40, "rnn_dim": 32},
    "TFN": {"hidden_dims": (32, 16, 32), "text_out": 16, "fusion_dim": 32},
}
DATA: dict[str, dict[str, Any]] = {"GCNet": {"batches": "dialogues"}}  # it reads whole ones
WRAPPERS: dict[str, Callable[[Model], Model]] = {"plain": lambda model: model, "MACI": MACI, "CausalMER": CausalMER}


def train(options: argparse.Namespace, job: Job) -> Results:
    """Train one model with one seed and test it."""
    seed_everything(job.seed, verbose=False)
    (name,) = job.what
    backbone, wrapper = name.split("+")
    given = {"task": "seven", "batch_size": options.batch_size, "conditions": ["availability"]}
    data: MERDataModule = MOSI(options.path, **given, **DATA.get(backbone, {}))
    network = getattr(mer_zoo.backbones, backbone)(data.spec, data.task, **SIZES[backbone])
    found = fit(WRAPPERS[wrapper](network), data, Plan(options.lr, options.epochs, {"MAE": ("val/MAE", -1)}))
    return tested(found, lambda module: simple_test(module, data, (name,)))


def gain(found: Mapping[str, Answers], wrapper: str, metric: str) -> list[str]:
    """What a wrapper adds on the networks' average, with a 95 % interval (networks resampled), and how many gain."""
    scale, gains = SCALES[metric], []
    for backbone in mer_zoo.backbones.__all__:
        wrapped, plain = found.get(f"{backbone}+{wrapper}"), found.get(f"{backbone}+plain")
        if wrapped is not None and plain is not None and is_shared(wrapped, plain):
            pairs = [dict(zip(each.records, each.metric(metric, ["iid"]), strict=True)) for each in (wrapped, plain)]
            gains.append(statistics.fmean(scale * (pairs[0][s] - pairs[1][s]) for s in pairs[0] if s in pairs[1]))
    if not gains:
        return [wrapper, metric, ABSENT, ABSENT]
    better = sum((each < 0) if metric == "MAE" else (each > 0) for each in gains)
    return [wrapper, metric, interval(resampled_mean(gains), decimals(metric)), f"{better} of {len(gains)}"]


def table(folder: Path) -> None:
    """Mean and deviation of every model, its accuracy with text alone and without text, and what wrappers add."""
    found = {name: Answers(records, "MAE") for name, records in by_name(folder).items()}
    header = ["backbone", "wrapper", "seeds", "parameters", *SCALES, "Acc2_non0 {l}", "{a,v}"]
    rows = []
    for name in (f"{backbone}+{wrapper}" for backbone in mer_zoo.backbones.__all__ for wrapper in WRAPPERS):
        if name in found:
            records = found[name].records
            any_record = next(iter(records.values()))
            cells = [metric_cell(found[name], metric) for metric in SCALES]
            cells += [metric_cell(found[name], "Acc2_non0", condition) for condition in ("{l}", "{a,v}")]
            rows.append([*name.split("+"), str(len(records)), f"{any_record['parameters']:,}", *cells])
    if rows:
        majority = [f"{scale * any_record['majority'][metric]:.4g}" for metric, scale in SCALES.items()]
        rows.append(["majority class", "", "", "", *majority, "", ""])
    gains = [gain(found, wrapper, metric) for wrapper in WRAPPERS if wrapper != "plain" for metric in SCALES]
    added = Table("what a wrapper adds", ["wrapper", "metric", "mean over networks", "better for"], gains)
    write_tables(folder, [Table("accuracies and F1 in percent", header, rows), added])


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("path", type=Path)
    add_run_options(runs, seeds="0,1,2", epochs=15, batch_size=24)
    runs.add_argument("--backbones", default=",".join(mer_zoo.backbones.__all__))
    runs.add_argument("--wrappers", default=",".join(WRAPPERS))
    runs.add_argument("--lr", type=float, default=1e-3)
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run models, or print their table."""
    options = parser().parse_args(args)
    if options.command == "table":
        table(options.folder)
        return
    kept = {"file": options.path.name, "epochs": options.epochs, "lr": options.lr, "batch_size": options.batch_size}
    names = [f"{net}+{wrapper}" for net in options.backbones.split(",") for wrapper in options.wrappers.split(",")]
    jobs = simple_jobs(names, options.seeds)
    Study(options.out, kept, partial(train, options)).run(jobs, options.part)


if __name__ == "__main__":
    main()
