"""CIDer and its parts on SyntheticMER or a CMU-MOSI file: several seeds, one resumable command, one table.

    python benchmarks/cider.py run --out runs/cider_synthetic
    python benchmarks/cider.py run --path clean_unaligned_50.pkl --out runs/cider_mosi
    python benchmarks/cider.py table runs/cider_synthetic

Every network is trained once a seed and the epoch of the smallest validation loss is kept, which no choice of tau changes. A model
with MACI is then tested under each choice of tau, from the same weights. A finished run is skipped, so the command may be stopped
and started again; several may run side by side on other seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor
from typing_extensions import override

from mer_zoo.backbones import CIDerNet, MulT
from mer_zoo.data.conditions import Condition
from mer_zoo.data.datamodule import MOSI, MERDataModule, SyntheticMER
from mer_zoo.data.patterns import RMFM
from mer_zoo.functional.deconfounding import TAUS
from mer_zoo.functional.language_bias import debias
from mer_zoo.model import Backbone, Model
from mer_zoo.module import MERModule
from mer_zoo.reports.record import save_results
from mer_zoo.scores import Scores, measure
from mer_zoo.task import Task
from mer_zoo.wrappers import MACI, MSSD

Make = Callable[[MERDataModule], Model]
RATES = [step / 10 for step in range(1, 11)]
SELECTIONS = {"deconfounded": 0.0, "validation": 0.0, "tau 0": 0.0, "tau 1": 1.0, "oracle": 0.0}
KINDS: dict[str, Literal["text", "text_alone"]] = {"paper": "text", "text alone": "text_alone"}


def mult(data: MERDataModule) -> Backbone:
    """MulT of the quickstart."""
    return MulT(data.spec, data.task, d_model=16, num_heads=4, layers=1)


def cider(data: MERDataModule) -> Backbone:
    """CIDerNet with its default sizes."""
    return CIDerNet(data.spec, data.task)


MODELS: dict[str, Make] = {
    "MulT": mult,
    "MulT+MACI": lambda data: MACI(mult(data)),
    "CIDerNet": cider,
    "CIDerNet+MACI": lambda data: MACI(cider(data)),
    "CIDerNet+views": lambda data: MSSD(cider(data), alpha=0, beta=0, gamma=0),
    "CIDerNet+MSSD": lambda data: MSSD(cider(data)),
    "CIDerNet+MSSD+MACI": lambda data: MSSD(MACI(cider(data))),
}


def corpus(options: argparse.Namespace, seed: int) -> MERDataModule:
    """The data with complete test splits and every rate of random frames missing."""
    first = "test_iid" if options.path is None else "test"
    missing = [Condition(f"RMFM {rate}", first, RMFM(rate)) for rate in RATES]
    common: dict[str, Any] = {"task": "binary", "batch_size": options.batch_size, "conditions": ["default", *missing]}
    if options.path is None:
        return SyntheticMER(**common)
    if options.ood:
        common["conditions"] = ["default"]
    return MOSI(options.path, **common, seed=seed)


def run(name: str, seed: int, options: argparse.Namespace) -> None:
    """Train one model with one seed and test it, unless that is done."""
    folder = options.out / name / f"seed{seed}"
    if (folder / "done").exists():
        return
    seed_everything(seed)
    data = corpus(options, seed)
    module = MERModule(MODELS[name](data), optimizer=lambda p: torch.optim.Adam(p, lr=options.lr), clip_norm=1.0)
    best = ModelCheckpoint(folder, "best", monitor="val/loss", enable_version_counter=False)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    stop = EarlyStopping("val/loss", patience=options.patience)
    trainer = Trainer(max_epochs=options.epochs, callbacks=[best, stop], num_sanity_val_steps=0, **quiet)
    if not (folder / "trained").exists():
        trainer.fit(module, datamodule=data)
        (folder / "trained").touch()
    module.load_state_dict(torch.load(folder / "best.ckpt", weights_only=True)["state_dict"])
    tester = Trainer(enable_checkpointing=False, callbacks=[KeepsBias()], **quiet)
    for selection, (results, scores) in tested(module, data, tester).items():
        save_results(folder / selection, results, scores)
    (folder / "done").touch()


class KeepsBias(Callback):
    """Lets MACI score the text alone in tests without missing frames, too, so that one pass serves every choice."""

    @override
    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        assert isinstance(pl_module, MERModule)
        assert pl_module.datamodule is not None
        complete = pl_module.datamodule.conditions[dataloader_idx].pattern is None
        for model in pl_module.model.nest:
            model.calibrating = complete
            if isinstance(model, MACI):  # an oracle scores the paper's counterfactual whatever tau is
                model.language_bias.selection = "deconfounded" if complete else "oracle"


def tested(
    module: MERModule, data: MERDataModule, tester: Trainer
) -> dict[str, tuple[dict[str, Any], dict[str, Scores]]]:
    """Results and scores of one trained model, under each choice of tau where it has MACI, from one pass over the test data."""
    macis = [model for model in module.model.nest if isinstance(model, MACI)]
    chosen: dict[str, dict[str, float]] = {}
    for kind, selection in [(k, s) for k in KINDS for s in SELECTIONS] if macis else []:
        bias = macis[0].language_bias
        macis[0].counterfactual, bias.fixed_tau = KINDS[kind], SELECTIONS[selection]
        bias.selection = "fixed" if "tau" in selection else selection  # type: ignore[assignment]
        tester.validate(module, datamodule=data, verbose=False)
        chosen[f"{kind}, {selection}"] = module.model.diagnostics()
    for maci in macis:
        maci.counterfactual = "text"
    tester.test(module, datamodule=data, verbose=False)
    return {
        choice: _under(choice, numbers, module, data.task)
        for choice, numbers in (chosen.items() if chosen else [("", {})])
    }


def _under(
    choice: str, numbers: dict[str, float], module: MERModule, task: Task
) -> tuple[dict[str, Any], dict[str, Scores]]:
    """Results and scores under one choice of the counterfactual and of tau."""
    tables, all_scores = {}, {}
    for condition, scores in module.test_scores.items():
        candidates: list[Tensor] = []
        if choice:
            kept = scores.effects.get("counterfactual" if KINDS[choice.split(",")[0]] == "text" else "bias")
            if kept is None:
                continue
            taus = TAUS if "oracle" in choice else [numbers["maci/tau"]]
            candidates = [debias(scores.effects["plain"], kept, tau) for tau in taus]
            scores = replace(scores, logits=candidates[0])
        tables[condition] = {"metrics": measure(task, scores, candidates)}
        all_scores[condition] = scores
    label = f"{module.model.name} {choice}".strip()
    return {"model": label, "conditions": tables, "diagnostics": numbers}, all_scores


def variants(folder: Path) -> dict[str, list[Path]]:
    """Result folders of every model and choice of tau, one a seed, by name."""
    found: dict[str, list[Path]] = {}
    for file in sorted(folder.rglob("results.json")):
        model, _, *selection = file.relative_to(folder).parent.parts
        found.setdefault(" ".join([model, *selection]), []).append(file.parent)
    return found


class Answers:
    """Which samples of each condition a model of several seeds gets right, three classes or without neutral."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.results = [json.loads((folder / "results.json").read_text()) for folder in folders]
        self.scores = [load_file(folder / "scores.safetensors") for folder in folders]
        self.seeds = [folder.parts[-1] if "seed" in folder.parts[-1] else folder.parts[-2] for folder in folders]

    def classes(self, condition: str) -> tuple[Tensor, Tensor]:
        """Predicted (seeds, N) and true (N,) classes."""
        truth = self.scores[0][f"{condition}.target"]
        truth = (truth.sign() + 1).long() if truth.is_floating_point() else truth
        return torch.stack([scores[f"{condition}.logits"].argmax(1) for scores in self.scores]), truth

    def right(self, condition: str, neutral: bool) -> tuple[Tensor, Tensor]:
        """Correctness (seeds, N) and the weight of each sample."""
        predicted, truth = self.classes(condition)
        return (predicted == truth).double(), torch.ones(len(truth)) if neutral else (truth != 1).double()

    def area(self, neutral: bool) -> tuple[Tensor, Tensor]:
        """As :meth:`right`, averaged over the missing rates 0 to 1 by the trapezoid rule."""
        curve = [self.right(name, neutral) for name in ["iid", *(f"RMFM {rate}" for rate in RATES)]]
        values = torch.stack([right for right, _ in curve], -1)
        rates = torch.tensor([0.0, *RATES], dtype=values.dtype)
        return torch.trapezoid(values, rates), curve[0][1]


def difference(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor], draws: int = 2000) -> tuple[float, float, float]:
    """Mean difference of two models and its 95 % interval, samples and seeds resampled together."""
    (right_a, weight), (right_b, _) = a, b
    gain, generator = (right_a - right_b) * weight, torch.Generator().manual_seed(0)
    resampled = []
    for _ in range(draws):
        seeds = torch.randint(len(gain), (len(gain),), generator=generator)
        rows = torch.randint(len(weight), (len(weight),), generator=generator)
        resampled.append(float(gain[seeds][:, rows].sum(1).mean() / weight[rows].sum()))
    ends = torch.tensor(resampled).quantile(torch.tensor([0.025, 0.975])).tolist()
    return float(gain.sum(1).mean() / weight.sum()), ends[0], ends[1]


def _cell(model: tuple[Tensor, Tensor], plain: tuple[Tensor, Tensor] | None) -> str:
    values = [100 * float((right * model[1]).sum() / model[1].sum()) for right in model[0]]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    text = f"{statistics.fmean(values):.1f} ± {spread:.1f}"
    if plain is None or len(plain[0]) != len(values):
        return text
    mean, low, high = (100 * value for value in difference(model, plain))
    return f"{text} ({mean:+.1f} [{low:.1f}, {high:.1f}])"


def table(folder: Path) -> None:
    """Print AUILC and accuracies of every model with the difference to its plain network, then the chosen taus."""
    console, found = Console(width=200), {name: Answers(paths) for name, paths in variants(folder).items()}
    conditions = [name for name in next(iter(found.values())).results[0]["conditions"] if not name.startswith("RMFM")]
    curve = "RMFM 1.0" in next(iter(found.values())).results[0]["conditions"]
    for neutral, title in ((False, "without neutral"), (True, "three classes")):
        shown = Table("model", *(["AUILC"] if curve else []), *conditions, title=f"accuracy, {title}, %")
        for name, answers in found.items():
            plain = found.get(name.split("+")[0])
            measures = ([lambda a: a.area(neutral)] if curve else []) + [  # noqa: B023
                lambda a, condition=c: a.right(condition, neutral)  # noqa: B023
                for c in conditions
            ]
            pairs = [(m(answers), None if plain in (None, answers) else m(plain)) for m in measures]
            shown.add_row(name, *(_cell(model, base) for model, base in pairs))
        console.print(shown)
    for name, answers in found.items():
        taus = [result["diagnostics"] for result in answers.results if result.get("diagnostics")]
        if taus:
            console.print(name, "; ".join(" ".join(f"{k}={v:.2f}" for k, v in each.items()) for each in taus))
        for condition in conditions:
            predicted, truth = answers.classes(condition)
            counts = torch.stack([truth.repeat(len(predicted), 1) * 3 + predicted]).flatten().bincount(minlength=9)
            shares = (counts.view(3, 3) / counts.sum() * 100).round(decimals=1).tolist()
            console.print(f"  {name} {condition}: % of samples, truth by prediction {shares}")


def main() -> None:
    """Run every model with every seed, or print the table of finished runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run")
    runs.add_argument("--path", help="a CMU-MOSI file; SyntheticMER when left out")
    runs.add_argument(
        "--ood", action="store_true", help="the file is an OOD split: test on it as it is, without missing data"
    )
    runs.add_argument("--models", default=",".join(MODELS))
    runs.add_argument("--seeds", default="0,1,2,3,4")
    runs.add_argument("--epochs", type=int, default=15)
    runs.add_argument("--patience", type=int, default=4)
    runs.add_argument("--lr", type=float, default=2e-3)
    runs.add_argument("--batch_size", type=int, default=64)
    runs.add_argument("--out", type=Path, default=Path("runs/cider"))
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "table":
        table(options.folder)
        return
    for seed in options.seeds.split(","):
        for name in options.models.split(","):
            run(name, int(seed), options)


if __name__ == "__main__":
    main()
