"""CIDer and its parts on SyntheticMER or a CMU-MOSI file: several seeds, one resumable command, one table.

    python -m benchmarks.studies.cider --out runs/cider_synthetic
    python -m benchmarks.studies.cider --path clean_unaligned_50.pkl --out runs/cider_mosi
    python -m benchmarks.studies.cider_table runs/cider_synthetic

Every network is trained once a seed and the epoch of the smallest validation loss is kept, which no choice of tau
changes. A model with MACI is then tested under each choice of tau, from the same weights. A finished run is skipped, so
the command may be stopped and started again; several may run side by side on other seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from torch import Tensor
from typing_extensions import override

from mer_zoo.backbones import CIDerNet, MulT
from mer_zoo.data.datamodule import MOSI, MERDataModule, SyntheticMER
from mer_zoo.data.missing.conditions import Condition
from mer_zoo.data.missing.frames import RMFM
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
    return MulT(data.spec, data.task, dim=16, heads=4, depth=1)


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
    """Results and scores of one trained model from one pass over the test data; with MACI, for each choice of tau."""
    macis = [model for model in module.model.nest if isinstance(model, MACI)]
    chosen: dict[str, dict[str, float]] = {}
    for kind, selection in [(k, s) for k in KINDS for s in SELECTIONS] if macis else []:
        bias = macis[0].language_bias
        macis[0].counterfactual, bias.fixed = KINDS[kind], SELECTIONS[selection]
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


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    runs = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    return runs


def main(args: Sequence[str] | None = None) -> None:
    """Run every model with every seed."""
    options = parser().parse_args(args)
    for seed in options.seeds.split(","):
        for name in options.models.split(","):
            run(name, int(seed), options)


if __name__ == "__main__":
    main()
