"""How sure a network is on CMU-MOSI: calibration, selective prediction and coverage, with modalities missing too.

    python -m benchmarks.studies.uncertainty_mosi run unaligned_50.pkl --out runs/uncertainty_mosi
    python -m benchmarks.studies.uncertainty_mosi table runs/uncertainty_mosi
    python -m benchmarks.studies.uncertainty_mosi time unaligned_50.pkl --out runs/uncertainty_time

LFLSTM on text and audio of the official folds, as regression and on seven classes. Each is trained and tested through
the command line, as a user does; ``table`` writes the tables of ``mer-zoo report``, their figures and two pictures.
``time`` trains on all modalities, whose vision features leak there, so that its accuracies mean nothing, and tests
under the seven sets of modalities with and without the calibration, one after the other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import mkdtemp

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from rich.console import Console
from typing_extensions import override

from benchmarks.studies.frame import QUIET, Job, Results, Study, add_run_options, simple_jobs
from benchmarks.studies.table import write_tables
from mer_zoo import LFLSTM, MOSI, MERModule
from mer_zoo.callbacks import RunRecord, SetCalibration
from mer_zoo.cli import main as mer_zoo
from mer_zoo.reports.certainty import calibration_table, coverage_table
from mer_zoo.reports.clusters import Clusters
from mer_zoo.reports.groups import Group, conditions_of, group_runs
from mer_zoo.reports.kept_scores import read_scores
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import write_measured
from mer_zoo.reports.pictures.certainty import reliability_plot, risk_coverage_plot
from mer_zoo.reports.pictures.style import save_picture
from mer_zoo.reports.record import RunResults, find_results
from mer_zoo.scores import Scores
from mer_zoo.task import build_task
from mer_zoo.uncertainty import assess

LABELS = {"regression": "regression", "seven": "seven classes"}
DIM = 32


def train(options: argparse.Namespace, job: Job) -> Results:
    """Train and test on one task with one seed as a user does, into a run folder beside the records."""
    (task,) = job.what
    folder: Path = options.out / f"{task}_seed{job.seed}"
    common = [
        f"--seed_everything={job.seed}",
        f"--trainer.logger.save_dir={options.out}",
        f"--trainer.logger.name={folder.name}",
        "--trainer.logger.version=",
        f"--trainer.max_epochs={options.epochs}",
        "--trainer.enable_progress_bar=false",
        "--data=MOSI",
        f"--data.path={options.path}",
        f"--data.task={task}",
        "--data.modalities=[text, audio]",
        f"--data.batch_size={options.batch_size}",
        "--data.conditions=[default, availability]",
        "--model.backbone=LFLSTM",
        f"--model.backbone.dim={DIM}",
        "--model.clip_norm=1.0",
    ]
    mer_zoo(["fit", *common])
    mer_zoo(["test", *common, "--record.pictures=false", f"--ckpt_path={folder / 'checkpoints' / 'best.ckpt'}"])
    found = json.loads((folder / "results.json").read_text())
    return {(task,): {"conditions": found["conditions"], "calibration": found["calibration"]}}


def with_one_calibration(run: RunResults) -> RunResults:
    """A run as if complete data alone had calibrated it."""
    task = build_task(run.task, run.convention)  # type: ignore[arg-type]
    known = run.calibration
    assert known is not None
    alone = replace(known, groups={known.complete: known.groups[known.complete]})
    conditions = {}
    for name, condition in run.conditions.items():
        kept = read_scores(run.path.parent, name, task.shape)
        assert kept is not None
        scores = Scores(kept.logits, {}, kept.target, kept.index, available=kept.available)
        conditions[name] = replace(condition, uncertainty={"level": alone.level, **assess(task, scores, alone)})
    return replace(run, calibration=alone, conditions=conditions)


def table(folder: Path) -> None:
    """Tables of calibration and coverage, with intervals by recordings, and the pictures of both tasks."""
    results = find_results([path for path in sorted(folder.iterdir()) if (path / "results.json").is_file()])
    groups = [Group(LABELS[group.runs[0].task], group.runs) for group in group_runs(results)]
    conditions = conditions_of(results)
    missing = [condition for condition in conditions if condition.available]
    alone = [Group(f"{group.label}, one calibration", list(map(with_one_calibration, group.runs))) for group in groups]
    made = [calibration_table(groups, conditions), coverage_table(groups, conditions, 1000, Clusters())]
    made.append(coverage_table(alone, missing, 1000, Clusters()))
    tables = [each for each in made if each is not None]
    write_tables(folder, tables)
    about = {"device": "CPU", "command": f"python -m benchmarks.studies.uncertainty_mosi table {folder}"}
    names = ("How sure: calibration", "How sure: coverage", "How sure: one calibration")
    every = [figures_of(each, name, **about) for name, each in zip(names, tables, strict=True)]
    seeds = str(max(len(group.runs) for group in groups))
    write_measured(folder / "figures.csv", [replace(figure, seeds=seeds) for figures in every for figure in figures])
    for name, plot in (("reliability", reliability_plot), ("risk_coverage", risk_coverage_plot)):
        figure = plot(groups, "LFLSTM on CMU-MOSI")
        if figure is not None:
            save_picture(figure, folder / f"{name}.png")


class _Timed(SetCalibration):
    """Tells how long it takes."""

    seconds = 0.0

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        started = time.process_time()
        super().on_train_end(trainer, pl_module)
        self.seconds = time.process_time() - started


def measure_time(options: argparse.Namespace) -> None:
    """Print what the calibration costs at the end of training, and what it adds to a test under the seven sets."""
    data = MOSI(str(options.path), options.batch_size, conditions=["default", "availability"])
    module = MERModule(LFLSTM(data.spec, data.task, dim=DIM), clip_norm=1.0)
    best, timed = ModelCheckpoint(options.out, monitor="val/MAE", enable_version_counter=False), _Timed()
    started = time.process_time()
    Trainer(max_epochs=options.epochs, callbacks=[best, timed], **QUIET).fit(module, data)
    fitted = time.process_time() - started
    trained = MERModule.load_from_checkpoint(best.best_model_path)
    known, seconds = trained.model.uncertainty, {True: list[float](), False: list[float]()}
    for pair in range(options.pairs):
        for sure in (True, False) if pair % 2 else (False, True):
            trained.model.uncertainty = known if sure else None
            record = RunRecord(mkdtemp(), pictures=False)
            started = time.process_time()
            Trainer(callbacks=[record], **QUIET).test(trained, data, verbose=False)
            seconds[sure].append(time.process_time() - started)
    ratio = median(one / other for one, other in zip(seconds[True], seconds[False], strict=True))
    console = Console()
    console.print(f"calibration at the end of training: {timed.seconds:.2f} s of {fitted:.1f} s of processor")
    console.print(
        f"test under seven sets, processor: {median(seconds[True]):.2f} s with, {median(seconds[False]):.2f} s without,"
        f" ratio {ratio:.3f} (median of {options.pairs} pairs)"
    )


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs, timed = commands.add_parser("run"), commands.add_parser("time")
    for each, seeds, epochs in ((runs, "0,1,2,3,4", 12), (timed, "0", 3)):
        each.add_argument("path", type=Path)
        add_run_options(each, seeds=seeds, epochs=epochs, batch_size=32)
    runs.add_argument("--tasks", default=",".join(LABELS))
    timed.add_argument("--pairs", type=int, default=7)
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Train and test, show what came of it, or measure what it costs."""
    options = parser().parse_args(args)
    if options.command == "table":
        table(options.folder)
    elif options.command == "time":
        measure_time(options)
    else:
        kept = {name: getattr(options, name) for name in ("epochs", "batch_size")}
        study = Study(options.out, {"file": options.path.name, **kept}, partial(train, options))
        study.run(simple_jobs(options.tasks.split(","), options.seeds), options.part)


if __name__ == "__main__":
    main()
