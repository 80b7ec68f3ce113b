"""CUMDF and its parts under missing modalities, on SyntheticMER or a CMU-MOSI file: one resumable command, tables.

    python -m benchmarks.studies.cumdf run --out runs/cumdf_synthetic
    python -m benchmarks.studies.cumdf run --path clean_unaligned_50.pkl --out runs/cumdf_mosi
    python -m benchmarks.studies.cumdf table runs/cumdf_synthetic --against "views"
    python -m benchmarks.studies.cumdf scan --out runs/cumdf_scan           # which penalty lets the attention live?
    python -m benchmarks.studies.cumdf shares --out runs/cumdf_shares       # attribution against the true reliabilities
    python -m benchmarks.studies.cumdf probe --out runs/cumdf_probe         # does the distance tell samples apart?

Every model has the same network and, where its name says nothing else, the same penalty. The epoch of the smallest
validation loss on complete data is kept. "complete" is trained on complete data and never told a label, "views" on the
incomplete views of CUMDF; both without a teacher and without attribution. "dead" are coefficients of 1 in the penalty.
Each record says whether LG-MMT still acts: the largest attention weight over the uniform one, and the norms of W_Q, W_K
and W_V, both on complete validation data and of the pair where they are smallest.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, permutations
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything
from rich.console import Console
from torch import Tensor

from benchmarks.studies.frame import (
    Job,
    Place,
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
from benchmarks.studies.table import Answers, Column, accuracy_table, spread, write_tables
from mer_zoo.backbones import CUMDFNet, MulT
from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.datamodule import MOSI, MERDataModule, SyntheticMER
from mer_zoo.data.source import SplitSource
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.layers.label_guided import LGMMT
from mer_zoo.model import Backbone, Model
from mer_zoo.module import MERModule
from mer_zoo.reports.tables import Table
from mer_zoo.scores import measure
from mer_zoo.training import score
from mer_zoo.wrappers import CUMDF
from mer_zoo.wrappers.cumdf.attribution import Effect

SETS = ["{l}", "{a}", "{v}", "{l,a}", "{l,v}", "{a,v}"]
RATES = [step / 10 for step in range(1, 8)]
METRICS = ("MAE", "F1_3", "F1_non0")
SRD_ALONE: dict[str, Any] = {"attribution_weight": 0.0}
VIEWS: dict[str, Any] = {**SRD_ALONE, "teacher": None}
DEAD: dict[str, Any] = dict.fromkeys(("lambda_q", "lambda_k", "lambda_v"), 1.0)
COEFFICIENTS = (1.0, 0.1, 0.01, 1e-3, 1e-4, 0.0)
CUMDFS: dict[str, dict[str, Any]] = {
    "complete": {"role": "teacher", "label_drop": 1.0},
    "views": VIEWS,
    "CUMDF joint": {},
    "CUMDF frozen": {"teacher": "frozen"},
    "CUMDF without SRD": {"srd_weight": 0.0},
    "CUMDF without attribution": SRD_ALONE,
    "CUMDF without penalty": {"penalty_weight": 0.0},
    "views without penalty": {**VIEWS, "penalty_weight": 0.0},
    "CUMDF dead": DEAD,
    "views dead": {**VIEWS, **DEAD},
    "SRD alone without projections": {**SRD_ALONE, "projection": "none"},
    "SRD alone with expected labels": {**SRD_ALONE, "teacher_labels": "expected"},
    "SRD alone with weight 1": {**SRD_ALONE, "srd_weight": 1.0},
    # A plain distance of weight 1 to a teacher that is never told the label.
    "SRD changed": {
        **SRD_ALONE,
        "srd_weight": 1.0,
        "projection": "none",
        "teacher_labels": "expected",
        "label_drop": 1.0,
    },
}


def network(data: MERDataModule, dim: int) -> Backbone:
    """The network of teacher and student."""
    return CUMDFNet(data.spec, data.task, dim=dim)


def mult(data: MERDataModule, dim: int) -> Backbone:
    """MulT at the same width."""
    return MulT(data.spec, data.task, dim=dim, heads=4, depth=2)


def corpus(options: argparse.Namespace, scm: SyntheticConfig | None = None) -> MERDataModule:
    """The data with the seven availability sets and the drop-ratio sweep."""
    common: dict[str, Any] = {"batch_size": options.batch_size, "conditions": ["availability", "robustness:MRMS"]}
    if options.path is None:
        return SyntheticMER(scm or SyntheticConfig(), task="binary", **common)
    return MOSI(options.path, task="seven", **common)


def build(name: str, data: MERDataModule, folder: Path, options: argparse.Namespace) -> Model:
    """A model by name; a frozen teacher is trained first."""
    if name == "MulT":
        return mult(data, options.dim)
    settings = dict(CUMDFS[name])
    if settings.get("teacher") == "frozen":
        teacher = CUMDF(network(data, options.dim), role="teacher")
        trained = fit(teacher, data, plan(options))
        trained.restore()
        settings["teacher"] = str(folder / "teacher.ckpt")
        trained.trainer.save_checkpoint(settings["teacher"])
    return CUMDF(network(data, options.dim), **settings)


def plan(options: argparse.Namespace) -> Plan:
    """How every network is trained."""
    return Plan(options.lr, options.epochs)


def train(options: argparse.Namespace, job: Job) -> Results:
    """Train one model with one seed and test it."""
    seed_everything(job.seed, verbose=False)
    data, (name,) = corpus(options), job.what
    with tempfile.TemporaryDirectory() as folder:
        found = fit(build(name, data, Path(folder), options), data, plan(options))
        data.batch_size = 500  # a test in small batches takes as long as the training
        return tested(found, lambda module: test(module, data, (name,)))


def test(module: MERModule, data: MERDataModule, place: Place) -> Results:
    """What a network says under every condition, and whether its LG-MMT lives."""
    results = simple_test(module, data, place)
    if isinstance(module.model, CUMDF):
        results[place]["result"]["diagnostics"] |= life(module.model, data)
    return results


def life(model: CUMDF, data: MERDataModule) -> dict[str, float]:
    """How far the attention of LG-MMT is from the uniform one, and what is left of its weights.

    Args:
        model: Around a network that has an LG-MMT of its own.
        data: Its validation split is read, complete and without labels.

    Returns:
        ``attention``, the mean over samples and heads of the largest weight over the uniform one, in the pair where it
        is smallest, and ``norm``, the smallest of W_Q, W_K and W_V of all pairs.
    """
    source = SplitSource(data.dataset("valid"), 100)
    fusion = model.backbone.offered(LGMMT)
    assert fusion is not None
    ratios: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for batch in source:
            found = model.guided(model.backbone, model.backbone(batch), batch)
            steps = found.mask.sum(1, keepdim=True)
            for name, weights in fusion.attention(found.x, found.mask).items():
                ratios.setdefault(name, []).append(weights.amax(2) * steps)
        norms = [float(weight.norm()) for triple in fusion.penalised() for weight in triple]
    attention = min(float(torch.cat(each).mean()) for each in ratios.values())
    return {"attention": attention, "norm": min(norms)}


def table(folder: Path, against: str) -> None:
    """Accuracies with the difference to one of the models, the curve, other metrics and attribution."""
    found = {name: Answers(records) for name, records in by_name(folder).items()}
    curve = [f"MRMS {rate}" for rate in RATES]
    groups = {"IID": ["iid"], "six sets": SETS, "MRMS 0.1-0.7": curve, **{name: [name] for name in SETS}}
    columns = [Column(title, tuple(conditions), None) for title, conditions in groups.items()]
    shown = [accuracy_table(f"accuracy, %; in brackets the difference to {against}", found, columns, against)]
    rates = [Column(name, (name,), None) for name in curve]
    shown.append(accuracy_table("accuracy against the drop ratio, %", found, rates, None))
    for metric in METRICS:
        rows = [
            [name, *(spread(each.metric(metric, conditions), 3) for conditions in groups.values())]
            for name, each in found.items()
            if metric in each.metrics
        ]
        shown += [Table(metric, ["model", *groups], rows)] if rows else []
    shares = {name: each.diagnostics() for name, each in found.items()}
    names = list(dict.fromkeys(key for each in shares.values() for key in each if key.startswith("cumdf/")))
    rows = [[name, *(f"{each.get(key, math.nan):.3f}" for key in names)] for name, each in shares.items() if each]
    shown.append(Table("attribution, mean over seeds", ["model", *names], rows))
    write_tables(folder, [*shown, life_table(found)])


def life_table(found: Mapping[str, Answers]) -> Table:
    """Whether LG-MMT lives: the mean over the runs of a model, and the run in which it is least alive."""
    header = ["model", "largest attention over uniform", "its smallest run", "norm of W", "its smallest run"]
    rows = []
    for name, each in found.items():
        told = [record["choices"]["loss"]["diagnostics"] for record in each.records.values()]
        values = [[run[key] for run in told if key in run] for key in ("attention", "norm")]
        if all(values):
            rows.append([name, *(f"{cell:.3f}" for each in values for cell in (statistics.fmean(each), min(each)))])
    return Table("LG-MMT on complete validation data", header, rows)


def scan(options: argparse.Namespace) -> None:
    """The network on incomplete views with each coefficient of the penalty, on validation data alone."""
    header = ["lambda", "seed", "validation loss", "accuracy, %", "largest attention over uniform", "norm of W"]
    shown = Table("the penalty's coefficients", header, [])
    for coefficient in COEFFICIENTS:
        for seed in map(int, options.seeds.split(",")):
            seed_everything(seed, verbose=False)
            data = corpus(options)
            settings = {**VIEWS, **dict.fromkeys(DEAD, coefficient)}
            model = fit(CUMDF(network(data, options.dim), **settings), data, plan(options)).restore()
            assert isinstance(model, CUMDF)
            found, alive = measure(data.task, score(model, data.batch_source("valid"))), life(model, data)
            numbers = [f"{found['loss']:.3f}", f"{100 * found['Acc3']:.1f}"]
            shown.rows.append([f"{coefficient:g}", str(seed), *numbers, *(f"{value:.4f}" for value in alive.values())])
    write_tables(options.out, [shown])


def shares(options: argparse.Namespace) -> None:
    """Attribution under known reliabilities: rank agreement (Kendall) of the proportions with the truth."""
    header = ["reliability l, a, v", "effect", "proportions l, a, v", "agreement"]
    shown = Table("attribution under known reliabilities", header, [])
    for reliabilities in permutations((1.0, 0.5, 0.0)):
        for effect in get_args(Effect):
            measured = []
            for seed in map(int, options.seeds.split(",")):
                seed_everything(seed)
                truth: dict[str, Any] = {f"{n}_reliability": r for n, r in zip(MODALITIES, reliabilities, strict=True)}
                scm = SyntheticConfig(rho=1 / 3, sarcasm=0.0, **truth)
                data = corpus(options, scm)
                model = CUMDF(network(data, options.dim), effect=effect)
                found = fit(model, data, plan(options)).restore().diagnostics()
                measured.append([found[f"cumdf/share_{name}"] for name in MODALITIES])
            mean = [statistics.fmean(column) for column in zip(*measured, strict=True)]
            taus = [f"{agreement(each, reliabilities):+.2f}" for each in measured]
            proportions = " ".join(f"{value:.2f}" for value in mean)
            shown.rows.append([" ".join(map(str, reliabilities)), effect, proportions, " ".join(taus)])
    shown.show(Console(width=160))


def agreement(measured: Sequence[float], truth: Sequence[float]) -> float:
    """Kendall's tau: share of pairs in the same order less share of pairs in the other."""
    signs = [(measured[i] - measured[j]) * (truth[i] - truth[j]) for i, j in combinations(range(len(truth)), 2)]
    return sum((sign > 0) - (sign < 0) for sign in signs) / len(signs)


def probe(options: argparse.Namespace) -> None:
    """Cosine of student and teacher for one sample and for samples of two classes, as the distance sees them and as is.

    A distance that teaches something tells the two apart.
    """
    data = corpus(options)
    data.setup("fit")
    (batch,) = SplitSource(data.dataset("valid"), len(data.dataset("valid")))
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    others = batch.target != batch.target[order]
    header = ["model", "sequence", "projected: same", "other class", "plain: same", "other class", "told", "not told"]
    shown = Table("cosine of student and teacher; accuracy of the teacher, %", header, [])
    for name in options.models.split(","):
        settings = CUMDFS.get(name, {"teacher": None})
        if settings.get("teacher", "joint") != "joint" or not settings.get("srd_weight", 1):
            continue
        seed_everything(0, verbose=False)
        model = fit(CUMDF(network(data, options.dim), **settings, seed=0), data, plan(options)).restore()
        assert isinstance(model, CUMDF)
        with torch.no_grad():
            shown.rows += [[name, *row] for row in _cosines(model, batch, data.spec, others, order)]
    shown.show(Console(width=140))


def _cosines(model: CUMDF, batch: Batch, spec: DataSpec, others: Tensor, order: Tensor) -> list[list[str]]:
    assert model.teacher is not None
    assert model.distillation is not None
    view = model.views(batch, spec)
    student = model.guided(model.backbone, model.backbone(view), view)
    told, not_told = model.teacher(batch, batch.target), model.teacher(batch)
    right = [f"{100 * float((t.logits.argmax(-1) == batch.target).float().mean()):.1f}" for t in (told, not_told)]
    pairs = {"joint": (student.h, told.h)}
    pairs |= {n: (student.pooled()[:, i], told.pooled()[:, i]) for i, n in enumerate(MODALITIES)}
    rows = []
    for name, (s, t) in pairs.items():
        seen = [(s, t)]
        if name in model.distillation.w_s:
            seen.insert(0, (s @ model.distillation.w_s[name].T, t @ model.distillation.w_t[name].T))
        cells = []
        for a, b in seen:
            same, other = F.cosine_similarity(a, b), F.cosine_similarity(a, b[order])[others]
            cells += [f"{float(same.mean()):.3f}", f"{float(other.mean()):.3f}"]
        rows.append([name, *(["", ""] if len(seen) == 1 else []), *cells, *right])
    return rows


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "scan", "shares", "probe"):
        runs = commands.add_parser(name)
        add_run_options(runs, seeds="0,1,2,3,4", epochs=20, batch_size=32)
        runs.add_argument("--path", help="a CMU-MOSI file; SyntheticMER when left out")
        runs.add_argument("--models", default=",".join(["MulT", *CUMDFS]))
        runs.add_argument("--dim", type=int, default=32)
        runs.add_argument("--lr", type=float, default=1e-3)
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    shown.add_argument("--against", default="views")
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Run models, or print a table."""
    options = parser().parse_args(args)
    if options.command == "table":
        table(options.folder, options.against)
    elif options.command == "run":
        kept = {name: getattr(options, name) for name in ("path", "epochs", "dim", "lr", "batch_size")}
        jobs = simple_jobs(options.models.split(","), options.seeds)
        Study(options.out, kept, partial(train, options)).run(jobs, options.part)
    else:
        {"scan": scan, "shares": shares, "probe": probe}[options.command](options)


if __name__ == "__main__":
    main()
