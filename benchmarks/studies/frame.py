"""What every study does: train each job once, skip what is done, keep a record of each result, share the work out.

A record is a JSON file, OUT/PLACE/seedN.json, where the place is a path of names that ends with the row of a table. It
holds for each way of choosing the epoch the metrics and the predicted class of every sample, so that differences can be
resampled. Test splits are read when the epoch is chosen. A command may be stopped and started again, and several may
run side by side: on other seeds, or on parts of the jobs.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from rich.console import Console
from torch import Tensor
from typing_extensions import override

from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.runs.files import whole_file
from mer_zoo.runs.provenance import code_state
from mer_zoo.scores import Scores, baselines, measure
from mer_zoo.task import Task
from mer_zoo.training import score

Record = dict[str, Any]
Place = tuple[str, ...]
Results = Mapping[Place, Record]
Choices = Mapping[str, tuple[str, int]]  # by name the metric of the validation split, and whether 1 large or -1 small
LOSS: Choices = {"loss": ("val/loss", -1)}
QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


@dataclass(frozen=True)
class Job:
    """One training.

    Args:
        what: What is trained, in the study's own words.
        places: Where its results belong.
        seed: Its seed.
    """

    what: tuple[str, ...]
    places: tuple[Place, ...]
    seed: int


@dataclass(frozen=True)
class Study:
    """Jobs of one kind whose records stand in one folder.

    Args:
        out: The folder.
        options: What all records of the folder have in common.
        train: Does a job: the results by their places.
    """

    out: Path
    options: Mapping[str, Any]
    train: Callable[[Job], Results]

    def path(self, place: Place, seed: int) -> Path:
        """Where a record stands."""
        return self.out.joinpath(*place, f"seed{seed}.json")

    def is_done(self, job: Job) -> bool:
        """Whether all results of a job are recorded."""
        return all(self.path(place, job.seed).exists() for place in job.places)

    def run(self, jobs: Sequence[Job], part: str = "1/1") -> None:
        """Do the jobs whose records are not there yet; one that cannot be done is named and left out.

        Args:
            jobs: All jobs.
            part: Which of them are this process', see :func:`part_of`.

        Raises:
            MERError: If the folder holds records of other options, or for a part that there is not.
        """
        jobs = part_of(jobs, part)
        read_records(self.out, self.options)
        console = Console(width=140)
        for number, job in enumerate(jobs, 1):
            if self.is_done(job):
                continue
            title, started, processor = ", ".join(job.what), time.perf_counter(), time.process_time()
            try:
                results = self.train(job)
            except MERError as error:
                console.log(f"left out: {title}: {error}")
                continue
            seconds = {"wall": time.perf_counter() - started, "processor": time.process_time() - processor}
            gc.collect()  # a Trainer and its module hold each other, and gigabytes of data with them
            for place, result in results.items():
                self._record(place, job.seed, {"seconds": seconds, **result})
            spent = " ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
            console.log(f"{number}/{len(jobs)} {title}, seed {job.seed}: {spent}")

    def _record(self, place: Place, seed: int, result: Record) -> None:
        of = {"options": dict(self.options), "place": place, "seed": seed, "code": code_state()}
        with whole_file(self.path(place, seed)) as part:
            part.write_text(json.dumps({**of, **result}))


def read_records(folder: Path, options: Mapping[str, Any] | None = None) -> list[Record]:
    """All records of a folder.

    Raises:
        MERError: If they were not all made with these options, or with those of the first of them.
    """
    records: list[Record] = [json.loads(file.read_text()) for file in sorted(folder.rglob("seed*.json"))]
    for record in records:
        wanted, found = json.loads(json.dumps(options or records[0]["options"])), record["options"]
        for name in (*wanted, *found):
            if wanted.get(name) != found.get(name):
                raise MERError(
                    f"{folder} holds a record with {name} {found.get(name)} beside {wanted.get(name)}; use the same"
                    " options, or another folder"
                )
    return records


def commits_of(folder: Path) -> str:
    """The commits that the records of a folder were made with, as a figure of results/ tells them."""
    known = [record["code"] for record in read_records(folder) if record.get("code")]
    return " ".join(dict.fromkeys(state["commit"][:7] + "+" * bool(state.get("dirty")) for state in known))


def add_run_options(parser: argparse.ArgumentParser, seeds: str, epochs: int, batch_size: int) -> None:
    """Options of every study's ``run``."""
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", default=seeds)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--batch_size", type=int, default=batch_size)
    parser.add_argument("--part", default="1/1", help="K/N: every N-th job from the K-th on, for N processes")


def simple_jobs(names: Sequence[str], seeds: str) -> list[Job]:
    """A training of each name with each seed."""
    return [Job((name,), ((name,),), int(seed)) for seed in seeds.split(",") for name in names]


def by_name(folder: Path) -> dict[str, list[Record]]:
    """The records of each row of a table, where their places are names alone."""
    found: dict[str, list[Record]] = {}
    for record in read_records(folder):
        (name,) = record["place"]
        found.setdefault(name, []).append(record)
    return found


def part_of(jobs: Sequence[Job], part: str) -> Sequence[Job]:
    """The share of one of several processes.

    Raises:
        MERError: For a part that is not K/N with 1 <= K <= N.
    """
    k, _, n = part.partition("/")
    if not (k.isdigit() and n.isdigit() and 1 <= int(k) <= int(n)):
        raise MERError(f"part is {part!r}; give K/N with K from 1 to N, such as 1/2")
    return jobs[int(k) - 1 :: int(n)]


class Plan(NamedTuple):
    """How a network is trained: Adam, gradients of norm 1 at most.

    Args:
        rate: Learning rate.
        epochs: Most epochs.
        choices: How the epoch is chosen.
        patience: Epochs without a smaller validation loss after which training ends; None for all epochs.
        deconfounded: Whether validation is also measured under deconfounding weights.
    """

    rate: float
    epochs: int
    choices: Choices = LOSS
    patience: int | None = None
    deconfounded: bool = False


class Trained(NamedTuple):
    """A trained network, and the state of the best epoch by each choice."""

    module: MERModule
    trainer: Trainer
    states: Mapping[str, tuple[int, dict[str, Any]]]

    def restore(self, choice: str = "loss") -> Model:
        """The network in the state of the epoch that a choice is for, in evaluation mode."""
        self.module.load_state_dict(self.states[choice][1])
        return self.module.eval().model


class Best(Callback):
    """Keeps the state of the best epoch by each choice, in memory.

    Args:
        choices: How the epoch is chosen.

    Attributes:
        states: By choice the epoch and its state.
    """

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.states: dict[str, tuple[int, dict[str, Any]]] = {}
        self.values: dict[str, float] = {}

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        state: dict[str, Any] = {}
        for choice, (metric, sign) in self.choices.items():
            value = sign * float(trainer.callback_metrics[metric]) if metric else trainer.current_epoch
            if value > self.values.get(choice, -float("inf")):
                state = state or copy.deepcopy(pl_module.state_dict())
                self.values[choice], self.states[choice] = value, (trainer.current_epoch, state)


def fit(model: Model, data: MERDataModule, plan: Plan) -> Trained:
    """Train a network, keeping the best epoch by each choice."""
    module = MERModule(
        model, optimizer=partial(torch.optim.Adam, lr=plan.rate), clip_norm=1.0, deconfounded=plan.deconfounded
    )
    best = Best(plan.choices)
    stop = [] if plan.patience is None else [EarlyStopping("val/loss", patience=plan.patience)]
    callbacks = [best, *stop]
    trainer = Trainer(
        max_epochs=plan.epochs, callbacks=callbacks, num_sanity_val_steps=0, enable_checkpointing=False, **QUIET
    )
    trainer.fit(module, datamodule=data)
    return Trained(module, trainer, best.states)


def tested(trained: Trained, test: Callable[[MERModule], Results]) -> Results:
    """Test the epoch of every choice, one that several are for once.

    Args:
        trained: The network.
        test: Results by their places; what they hold under ``result`` belongs to the epoch.
    """
    records: dict[Place, Record] = {}
    done: dict[int, Results] = {}
    for choice, (epoch, _) in trained.states.items():
        if epoch not in done:
            trained.restore(choice)
            done[epoch] = test(trained.module)
        for place, record in done[epoch].items():
            about = {name: value for name, value in record.items() if name != "result"}
            records.setdefault(place, {**about, "choices": {}})["choices"][choice] = {
                "epoch": epoch,
                **record["result"],
            }
    return records


def score_conditions(model: Model, data: MERDataModule, calibrating: bool = False) -> dict[str, Scores]:
    """Scores under every test condition of the data."""
    return {c.name: score(model, data.condition_source(c), calibrating=calibrating) for c in data.conditions}


def result_of(task: Task, scores: Scores, candidates: Sequence[Tensor] = (), metric: str = "") -> Record:
    """Metrics and predicted classes of one condition.

    Args:
        task: What the logits mean.
        scores: The scores.
        candidates: An oracle's logits, of which those count that have the largest value of the metric here.
        metric: The metric by which an oracle chooses.
    """
    tables = [(measure(task, replace(scores, logits=logits)), logits) for logits in candidates or [scores.logits]]
    metrics, logits = max(tables, key=lambda pair: pair[0][metric]) if candidates else tables[0]
    found = {"metrics": metrics, "classes": digits(logits.argmax(-1))}
    if scores.weights is not None:
        found["deconfounded"] = measure(task, replace(scores, logits=logits), weights=scores.weights)
    return found


def simple_test(module: MERModule, data: MERDataModule, place: Place) -> Results:
    """What a network says under every condition of its data, as it is."""
    model, scores = module.model, score_conditions(module.model, data)
    splits = {name: result_of(data.task, each) for name, each in scores.items()}
    result = {"splits": splits, "diagnostics": model.diagnostics()}
    return {place: {**about(model, scores), "ids": same_samples(scores), "result": result}}


def about(model: Model, scores: Mapping[str, Scores]) -> Record:
    """What a table tells of a network beside its results, and the true classes that these are compared with."""
    first = next(iter(scores.values()))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "majority": baselines(model.task, first.target)["majority"],
        "truth": {name: digits(model.task.encode(each.target)) for name, each in scores.items()},
    }


def same_samples(scores: Mapping[str, Scores]) -> dict[str, list[str]]:
    """Samples by their places, where all seeds are tested on the same."""
    return {name: [str(place) for place in each.index.tolist()] for name, each in scores.items()}


def digits(classes: Tensor) -> str:
    """Classes as one digit a sample."""
    return "".join(map(str, classes.tolist()))
