"""CUMDF and its parts under missing modalities, on SyntheticMER or a CMU-MOSI file: one resumable command, tables.

    python -m benchmarks.studies.cumdf run --out runs/cumdf_synthetic
    python -m benchmarks.studies.cumdf run --path clean_unaligned_50.pkl --out runs/cumdf_mosi
    python -m benchmarks.studies.cumdf table runs/cumdf_synthetic --against "views"
    python -m benchmarks.studies.cumdf shares --out runs/cumdf_shares       # attribution against the true reliabilities
    python -m benchmarks.studies.cumdf probe --out runs/cumdf_synthetic     # does the distance tell samples apart?

Every model has the same network. The epoch of the smallest validation loss on complete data is kept. A finished run is
skipped, so the command may be stopped and started again; several may run side by side on other seeds. "complete" is
trained on complete data without a teacher, "views" on the incomplete views of CUMDF without a teacher and without any
of its losses.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.backbones import CUMDFNet, MulT
from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.callbacks import RunRecord
from mer_zoo.data.datamodule import MOSI, MERDataModule, SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.model import Backbone, Model
from mer_zoo.module import MERModule
from mer_zoo.wrappers import CUMDF
from mer_zoo.wrappers.cumdf.attribution import Effect

SETS = ["{l}", "{a}", "{v}", "{l,a}", "{l,v}", "{a,v}"]
RATES = [step / 10 for step in range(1, 8)]
PARTS: dict[str, Any] = {"srd_weight": 0.0, "attribution_weight": 0.0, "penalty_weight": 0.0}
CUMDFS: dict[str, dict[str, Any]] = {
    "views": {"teacher": None, **PARTS},
    "CUMDF joint": {},
    "CUMDF frozen": {"teacher": "frozen"},
    "CUMDF without SRD": {"srd_weight": 0.0},
    "CUMDF without attribution": {"attribution_weight": 0.0},
    "CUMDF without penalty": {"penalty_weight": 0.0},
    "SRD alone": {**PARTS, "srd_weight": 0.1},
    "SRD alone without projections": {**PARTS, "srd_weight": 0.1, "projection": "none"},
    "SRD alone with expected labels": {**PARTS, "srd_weight": 0.1, "teacher_labels": "expected"},
    "SRD alone with weight 1": {**PARTS, "srd_weight": 1.0},
    # A plain distance of weight 1 to a teacher that is never told the label.
    "SRD changed": {**PARTS, "srd_weight": 1.0, "projection": "none", "teacher_labels": "expected", "label_drop": 1.0},
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


def fit(model: Model, data: MERDataModule, folder: Path, options: argparse.Namespace) -> tuple[MERModule, Path]:
    """Train, and take the epoch with the smallest validation loss."""
    module = MERModule(model, optimizer=lambda p: torch.optim.Adam(p, lr=options.lr), clip_norm=1.0)
    best = ModelCheckpoint(folder, "best", monitor="val/loss", enable_version_counter=False)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(max_epochs=options.epochs, callbacks=[best], num_sanity_val_steps=0, **quiet).fit(module, datamodule=data)
    module.load_state_dict(torch.load(best.best_model_path, weights_only=True)["state_dict"])
    return module, Path(best.best_model_path)


def build(name: str, data: MERDataModule, folder: Path, options: argparse.Namespace) -> Model:
    """A model by name; a frozen teacher is trained first."""
    if name == "complete":
        return network(data, options.dim)
    if name == "MulT":
        return mult(data, options.dim)
    settings = dict(CUMDFS[name])
    if settings.get("teacher") == "frozen":
        teacher = CUMDF(network(data, options.dim), role="teacher")
        settings["teacher"] = str(fit(teacher, data, folder / "teacher", options)[1])
    return CUMDF(network(data, options.dim), **settings)


def run(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train one model with one seed and test it, unless that is done."""
    folder: Path = options.out / name / f"seed{seed}"
    if (folder / "results.json").exists():
        return
    seed_everything(seed)
    data = corpus(options)
    module, _ = fit(build(name, data, folder, options), data, folder, options)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    tester = Trainer(callbacks=[RunRecord(str(folder), pictures=False)], enable_checkpointing=False, **quiet)
    tester.test(module, datamodule=data, verbose=False)


class Answers:
    """Which samples a model of several seeds gets right under each condition, and its other metrics."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.results = [json.loads((folder / "results.json").read_text()) for folder in folders]
        self.scores = [load_file(folder / "scores.safetensors") for folder in folders]

    def right(self, conditions: Sequence[str]) -> Tensor:
        """Correctness (seeds, N) of the predicted class, averaged over conditions."""
        found = []
        for condition in conditions:
            truth = self.scores[0][f"{condition}.target"]
            logits = torch.stack([scores[f"{condition}.logits"] for scores in self.scores])
            if truth.is_floating_point():
                truth = truth.clamp(-3, 3).round().long() + 3
            found.append((logits.argmax(-1) == truth).double())
        return torch.stack(found).mean(0)

    def metric(self, name: str, conditions: Sequence[str]) -> list[float]:
        """One value a seed, averaged over conditions."""
        return [
            statistics.fmean(result["conditions"][condition]["metrics"][name] for condition in conditions)
            for result in self.results
        ]


def difference(a: Tensor, b: Tensor, draws: int = 2000) -> tuple[float, float, float]:
    """Mean difference of two models (seeds, N) and its 95 % interval, samples and seeds resampled together."""
    gain, generator = a - b, torch.Generator().manual_seed(0)
    resampled = []
    for _ in range(draws):
        seeds = torch.randint(len(gain), (len(gain),), generator=generator)
        rows = torch.randint(gain.shape[1], (gain.shape[1],), generator=generator)
        resampled.append(float(gain[seeds][:, rows].mean()))
    low, high = torch.tensor(resampled).quantile(torch.tensor([0.025, 0.975])).tolist()
    return float(gain.mean()), low, high


def _cell(right: Tensor, base: Tensor | None) -> str:
    values = [100 * float(row.mean()) for row in right]
    text = f"{statistics.fmean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0.0:.1f}"
    if base is None or base.shape != right.shape:
        return text
    mean, low, high = (100 * value for value in difference(right, base))
    return f"{text} ({mean:+.1f} [{low:.1f}, {high:.1f}])"


def table(folder: Path, against: str) -> None:
    """Print accuracies with the difference to one of the models, then the curve, other metrics and attribution."""
    paths: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*/seed*/results.json")):
        paths.setdefault(file.parts[-3], []).append(file.parent)
    found, console = {name: Answers(each) for name, each in paths.items()}, Console(width=220)
    columns = {"iid": ["iid"], "six sets": SETS, "MRMS 0.1-0.7": [f"MRMS {rate}" for rate in RATES]}
    columns |= {name: [name] for name in SETS}
    shown = Table(
        "model", "seeds", *columns, title=f"accuracy of the class, %; in brackets the difference to {against}"
    )
    for name, answers in found.items():
        base = found.get(against) if name != against else None
        cells = [_cell(answers.right(c), None if base is None else base.right(c)) for c in columns.values()]
        shown.add_row(name, str(len(answers.results)), *cells)
    console.print(shown)
    curve = Table("model", *(f"MRMS {rate}" for rate in RATES), title="accuracy against the drop ratio, %")
    for name, answers in found.items():
        curve.add_row(name, *(_cell(answers.right([f"MRMS {rate}"]), None) for rate in RATES))
    console.print(curve)
    for name, answers in found.items():
        names = [key for key in answers.results[0]["conditions"]["iid"]["metrics"] if key in ("MAE", "F1_3", "F1_non0")]
        for key in names:
            rows = {title: statistics.fmean(answers.metric(key, c)) for title, c in columns.items()}
            console.print(name, key, " ".join(f"{title} {value:.3f}" for title, value in rows.items()))
        shares = [result["diagnostics"] for result in answers.results if result.get("diagnostics")]
        if shares:
            console.print(name, {key: round(statistics.fmean(s[key] for s in shares), 3) for key in shares[0]})


def shares(options: argparse.Namespace) -> None:
    """Attribution under known reliabilities: rank agreement (Kendall) of the proportions with the truth."""
    console = Console(width=160)
    shown = Table("reliability l, a, v", "effect", "proportions l, a, v", "agreement")
    for reliabilities in (
        (1.0, 0.5, 0.0),
        (0.0, 0.5, 1.0),
        (0.5, 0.0, 1.0),
        (0.5, 1.0, 0.0),
        (1.0, 0.0, 0.5),
        (0.0, 1.0, 0.5),
    ):
        for effect in get_args(Effect):
            measured = []
            for seed in map(int, options.seeds.split(",")):
                seed_everything(seed)
                truth: dict[str, Any] = {f"{n}_reliability": r for n, r in zip(MODALITIES, reliabilities, strict=True)}
                scm = SyntheticConfig(rho=1 / 3, sarcasm=0.0, **truth)
                data = corpus(options, scm)
                model = CUMDF(network(data, options.dim), effect=effect)
                module, _ = fit(model, data, options.out / "last", options)
                found = module.model.diagnostics()
                measured.append([found[f"cumdf/share_{name}"] for name in MODALITIES])
            mean = [statistics.fmean(column) for column in zip(*measured, strict=True)]
            taus = [f"{agreement(each, reliabilities):+.2f}" for each in measured]
            proportions = " ".join(f"{value:.2f}" for value in mean)
            shown.add_row(" ".join(map(str, reliabilities)), effect, proportions, " ".join(taus))
    console.print(shown)


def agreement(measured: Sequence[float], truth: Sequence[float]) -> float:
    """Kendall's tau: share of pairs in the same order less share of pairs in the other."""
    signs = [(measured[i] - measured[j]) * (truth[i] - truth[j]) for i, j in combinations(range(len(truth)), 2)]
    return sum((sign > 0) - (sign < 0) for sign in signs) / len(signs)


def probe(options: argparse.Namespace) -> None:
    """Cosine of student and teacher for one sample and for samples of two classes, as the distance sees them and as is.

    A distance that teaches something tells the two apart.
    """
    options.batch_size = 400
    data = corpus(options)
    data.setup("fit")
    batch = next(iter(data.batch_source("valid")))
    console, order = Console(width=140), torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    others = batch.target != batch.target[order]
    shown = Table(
        "model", "sequence", "projected: same", "other class", "plain: same", "other class", "told", "not told"
    )
    for file in sorted(options.out.glob("*/seed*/best.ckpt")):
        settings = CUMDFS.get(file.parts[-3], {"teacher": None})
        if settings.get("teacher", "joint") != "joint" or not settings.get("srd_weight", 1):
            continue
        model = CUMDF(network(data, options.dim), **settings, seed=0)
        MERModule(model).load_state_dict(torch.load(file, weights_only=True)["state_dict"])
        with torch.no_grad():
            for row in _cosines(model.eval(), batch, data.spec, others, order):
                shown.add_row("/".join(file.parts[-3:-1]), *row)
    console.print(shown)


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
    for name in ("run", "shares", "probe"):
        runs = commands.add_parser(name)
        runs.add_argument("--path", help="a CMU-MOSI file; SyntheticMER when left out")
        runs.add_argument("--models", default=",".join(["complete", "MulT", *CUMDFS]))
        runs.add_argument("--seeds", default="0,1,2,3,4")
        runs.add_argument("--epochs", type=int, default=20)
        runs.add_argument("--dim", type=int, default=32)
        runs.add_argument("--lr", type=float, default=1e-3)
        runs.add_argument("--batch_size", type=int, default=32)
        runs.add_argument("--out", type=Path, default=Path("runs/cumdf"))
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
        for seed in options.seeds.split(","):
            for name in options.models.split(","):
                run(name, int(seed), options)
    else:
        {"shares": shares, "probe": probe}[options.command](options)


if __name__ == "__main__":
    main()
