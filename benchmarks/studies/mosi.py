"""MulT and MulT + CausalMER on a CMU-MOSI file: several seeds, one resumable command, one table.

    python -m benchmarks.studies.mosi unaligned_50.pkl --modalities text,audio --out runs/mosi_official
    python -m benchmarks.studies.mosi clean_unaligned_50.pkl --epochs 15 --out runs/mosi_clean

Three models: MulT as regression, MulT on seven classes, and MulT on seven classes under CausalMER. The network is that
of configs/mosi/ with the settings of the released MulT's own run on this data (width 30, 4 layers, 10 heads, batch 24).
A finished run is skipped, so the command may be stopped and started again; several may run side by side on other seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mer_zoo.cli import main as mer_zoo

CONFIGS = Path(__file__).parents[2] / "configs" / "mosi"
JOBS = {
    "mult_regression": ("mult.yaml", "regression"),
    "mult_seven": ("mult.yaml", "seven"),
    "mult_seven_causalmer": ("mult_causalmer.yaml", "seven"),
}


def run(job: str, seed: int, options: argparse.Namespace) -> Path:
    """Train and test one model with one seed, unless its results are there already."""
    config, task = JOBS[job]
    folder: Path = options.out / f"{job}_seed{seed}"
    if (folder / "results.json").exists():
        return folder
    common = [
        f"--config={CONFIGS / config}",
        f"--seed_everything={seed}",
        f"--trainer.logger.save_dir={options.out}",
        f"--trainer.logger.name={folder.name}",
        "--trainer.logger.version=",
        f"--trainer.max_epochs={options.epochs}",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_model_summary=false",
        f"--data.path={options.path}",
        f"--data.task={task}",
        f"--data.modalities=[{options.modalities}]",
        "--data.batch_size=24",
        "--data.conditions=[default, availability]",
        "--model.backbone.dim=30",
        "--model.backbone.kernels=[1, 1, 1]",
    ]
    mer_zoo(["fit", *common])
    mer_zoo(["test", *common, f"--ckpt_path={folder / 'checkpoints' / 'best.ckpt'}"])
    return folder


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--modalities", default="text,audio,vision")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, default=Path("runs/mosi_benchmark"))
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run every job with every seed, then report."""
    options = parser().parse_args(args)
    for seed in options.seeds.split(","):
        for job in JOBS:
            run(job, int(seed), options)


if __name__ == "__main__":
    main()
