"""One training of a method in the benchmarks of debiasers, and what is tested of it."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from torch import Tensor
from typing_extensions import override

import mer_zoo.backbones
from benchmarks.studies.debias import (
    CHOICES,
    METRIC,
    RATES,
    SIZES,
    TAUS,
    Job,
    Record,
    Study,
    build,
    labels,
    read_records,
)
from mer_zoo.confounding.strength import Selection
from mer_zoo.data.corpus.overlap import recordings
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.runs.files import whole_file
from mer_zoo.runs.provenance import git_state
from mer_zoo.scores import Scores, measure
from mer_zoo.training import score
from mer_zoo.wrappers import MACI

QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def run(study: Study, jobs: Sequence[Job]) -> None:
    """Do the trainings whose records are not there yet."""
    read_records(study.out, study.options)
    console = Console(width=140)
    for number, job in enumerate(jobs, 1):
        if all(path.exists() for path in job.records(study)):
            continue
        started, processor = time.perf_counter(), time.process_time()
        try:
            records = train(study, job)
        except MERError as error:
            console.log(f"left out: {job.method} on {job.backbone}: {error}")
            continue
        seconds = {"wall": time.perf_counter() - started, "processor": time.process_time() - processor}
        for path, record in records.items():
            with whole_file(path) as part:
                part.write_text(json.dumps({**record, "seconds": seconds}))
        spent = " ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
        console.log(f"{number}/{len(jobs)} {job.backbone}, {job.trained}, {job.method}, seed {job.seed}: {spent}")


def train(study: Study, job: Job) -> dict[Path, Record]:
    """Train once, and test the chosen epoch of every choice."""
    seed_everything(job.seed, verbose=False)
    data = study.load(job.trained, job.seed)
    network = getattr(mer_zoo.backbones, job.backbone)(data.spec, data.task, **SIZES[job.backbone])
    rate, epochs = RATES[job.backbone], study.options["epochs"]
    model = build(job.method, network)
    module = MERModule(model, optimizer=lambda p: torch.optim.Adam(p, lr=rate), clip_norm=1.0, deconfounded=True)
    best = Best()
    trainer = Trainer(max_epochs=epochs, callbacks=[best], num_sanity_val_steps=0, enable_checkpointing=False, **QUIET)
    trainer.fit(module, datamodule=data)
    records: dict[Path, Record] = {}
    tested: dict[int, dict[Path, Record]] = {}
    for choice, (epoch, state) in best.states.items():
        if epoch not in tested:
            module.load_state_dict(state)
            tested[epoch] = _test(study, job, module.eval(), data)
        for path, record in tested[epoch].items():
            about = {name: value for name, value in record.items() if name != "result"}
            records.setdefault(path, {**about, "choices": {}})["choices"][choice] = {"epoch": epoch, **record["result"]}
    return records


class Best(Callback):
    """Keeps the state of the best epoch by each choice, in memory.

    Attributes:
        states: By choice the epoch and its state.
    """

    def __init__(self) -> None:
        self.states: dict[str, tuple[int, dict[str, Any]]] = {}
        self.values: dict[str, float] = {}

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        state: dict[str, Any] = {}
        for choice, (metric, sign) in CHOICES.items():
            value = sign * float(trainer.callback_metrics[metric]) if metric else trainer.current_epoch
            if value > self.values.get(choice, -float("inf")):
                state = state or copy.deepcopy(pl_module.state_dict())
                self.values[choice], self.states[choice] = value, (trainer.current_epoch, state)


def _test(study: Study, job: Job, module: MERModule, data: MERDataModule) -> dict[Path, Record]:
    """Results in each setting, and what they belong to."""
    model, weights = module.model, module.validation_weights
    about = {
        "options": dict(study.options),
        "backbone": job.backbone,
        "seed": job.seed,
        "code": git_state(Path(mer_zoo.__file__).parent, "__init__.py"),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    valid, records = weights.attach(score(model, data.batch_source("valid"), weights.effects)), {}
    for setting in job.tested:
        place = data if setting == job.trained else study.load(setting, job.seed)
        place.load_scaler_state(data.scaler_state())
        scores = {"valid": valid, **{c.name: score(model, place.condition_source(c)) for c in place.conditions}}
        truth = {name: digits(data.task.encode(each.target)) for name, each in scores.items()}
        ids = {} if study.fresh else {c.name: _recordings(place.corpus.split(c.split).ids) for c in place.conditions}
        for label, result in answers(job.method, model, scores).items():
            named = {"method": label, "setting": setting, "truth": truth, "ids": ids, "result": result}
            records[job.path(study, setting, label)] = {**about, **named}
    return records


def _recordings(ids: Sequence[str]) -> list[str]:
    return recordings(ids) or list(ids)


def answers(method: str, model: Model, scores: Mapping[str, Scores]) -> dict[str, Record]:
    """Metrics and predicted classes of every split, under each choice of tau where there is MACI.

    Args:
        method: Name of the method.
        model: The trained model.
        scores: Its scores on ``valid`` and on every test split.
    """
    macis = [each for each in model.nest if isinstance(each, MACI)]
    found = {}
    taus: Iterable[tuple[Selection, float]] = TAUS.values() if macis else [("fixed", 0.0)]
    for label, (selection, tau) in zip(labels(method), taus, strict=True):
        with ExitStack() as stack:
            for maci in macis:
                stack.enter_context(maci.language_bias.selecting(selection, tau))
            if macis:
                model.calibrate(scores["valid"])
            candidates = {
                name: model.oracle(each) or [model.rescore(each) if macis else each.logits]
                for name, each in scores.items()
            }
            splits = {name: _result(model, scores[name], logits) for name, logits in candidates.items()}
            found[label] = {"splits": splits, "diagnostics": model.diagnostics()}
    return found


def _result(model: Model, scores: Scores, candidates: Sequence[Tensor]) -> Record:
    """Of an oracle's candidates, those logits that have the best accuracy on this very split."""
    tables = [measure(model.task, replace(scores, logits=logits)) for logits in candidates]
    best = max(range(len(tables)), key=lambda place: tables[place][METRIC])
    found = {"metrics": tables[best], "classes": digits(candidates[best].argmax(-1))}
    if scores.weights is not None:
        found["deconfounded"] = measure(model.task, replace(scores, logits=candidates[best]), weights=scores.weights)
    return found


def digits(classes: Tensor) -> str:
    """Classes as one digit a sample."""
    return "".join(map(str, classes.tolist()))
