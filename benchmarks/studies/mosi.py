"""MulT and MulT + CausalMER on a CMU-MOSI file: several seeds, one resumable command, one table.

    python -m benchmarks.studies.mosi run unaligned_50.pkl --modalities text,audio --out runs/mosi_official
    python -m benchmarks.studies.mosi run clean_unaligned_50.pkl --epochs 15 --out runs/mosi_clean
    python -m benchmarks.studies.mosi table runs/mosi_clean

Three models: MulT as regression, MulT on seven classes, and MulT on seven classes under CausalMER. The network is that
of configs/mosi/ with the settings of the released MulT's own run on this data (width 30, 4 layers, 10 heads, batch 24).
Each is trained and tested through the command line, as a user does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.studies.frame import Job, Results, Study, add_run_options, by_name, simple_jobs
from benchmarks.studies.table import SCALES, Answers, metric_cell, write_tables
from mer_zoo.cli import main as mer_zoo
from mer_zoo.reports.tables import Table

CONFIGS = Path(__file__).parents[2] / "configs" / "mosi"
MODELS = {
    "mult_regression": ("mult.yaml", "regression"),
    "mult_seven": ("mult.yaml", "seven"),
    "mult_seven_causalmer": ("mult_causalmer.yaml", "seven"),
}


def train(options: argparse.Namespace, job: Job) -> Results:
    """Train and test one model with one seed as a user does, into a run folder beside the records."""
    (name,) = job.what
    config, task = MODELS[name]
    folder: Path = options.out / f"{name}_seed{job.seed}"
    common = [
        f"--config={CONFIGS / config}",
        f"--seed_everything={job.seed}",
        f"--trainer.logger.save_dir={options.out}",
        f"--trainer.logger.name={folder.name}",
        "--trainer.logger.version=",
        f"--trainer.max_epochs={options.epochs}",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        f"--data.path={options.path}",
        f"--data.task={task}",
        f"--data.modalities=[{options.modalities}]",
        f"--data.batch_size={options.batch_size}",
        "--data.conditions=[default, availability]",
        f"--model.backbone.dim={options.dim}",
        "--model.backbone.kernels=[1, 1, 1]",
    ]
    mer_zoo(["fit", *common])
    mer_zoo(["test", *common, f"--ckpt_path={folder / 'checkpoints' / 'best.ckpt'}"])
    found = json.loads((folder / "results.json").read_text())
    result = {"splits": found["conditions"], "diagnostics": found.get("diagnostics", {})}
    return {(name,): {"parameters": found["parameters"], "truth": {}, "ids": {}, "choices": {"best": result}}}


def table(folder: Path) -> None:
    """Mean and deviation of every model; ``mer-zoo report`` tells more of the run folders."""
    found = {name: Answers(records, "best") for name, records in by_name(folder).items()}
    rows = [[name, str(len(each.records)), *(metric_cell(each, m) for m in SCALES)] for name, each in found.items()]
    write_tables(folder, [Table("accuracies and F1 in percent", ["model", "seeds", *SCALES], rows)])


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("path", type=Path)
    add_run_options(runs, seeds="0,1,2,3,4", epochs=12, batch_size=24)
    runs.add_argument("--models", default=",".join(MODELS))
    runs.add_argument("--modalities", default="text,audio,vision")
    runs.add_argument("--dim", type=int, default=30)
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run every model with every seed, or show what came of it."""
    options = parser().parse_args(args)
    if options.command == "table":
        table(options.folder)
        return
    kept = {name: getattr(options, name) for name in ("modalities", "epochs", "batch_size", "dim")}
    jobs = simple_jobs(options.models.split(","), options.seeds)
    study = Study(options.out, {"file": options.path.name, **kept}, partial(train, options))
    study.run(jobs, options.part)


if __name__ == "__main__":
    main()
