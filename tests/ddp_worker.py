"""Trains small models on one or two processes and saves what became of them; started by test_ddp.py.

The processes are forked, which costs no import, and find each other as those of a job on several machines do.
Everything is computed in double precision, where what is the same sum in another order differs by 1e-15 and what is not
stands out.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fault_worker import free_port
from forks import process_context
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy
from scale_cases import PLAIN, TRAINED, WRAPPED, Case, make
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from typing_extensions import override

from mer_zoo.batch import Batch
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.module import MERModule
from mer_zoo.wrappers import PropensityWeighting

SIZES = SyntheticConfig(train=19, valid=15, test=15)
GLOBAL_BATCH, PROCESSES = 8, 2
LIGHTNINGS_SAMPLER = "CausalMER(MulT), Lightning's sampler"
# What stands in the way of equality, and the same network without it.
EXCEPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    **dict.fromkeys(
        ("DCCA", "DCCAE", "TFN", "LMF", "LFDNN", "EMTDLFR"),
        ("batch norm takes the statistics of the samples of a process", {"frozen_norms": True}),
    ),
    "MISA": (
        "moments and differences are those of the samples of a process",
        {"options": {"similarity": "adversarial", "difference_weight": 0.0}},
    ),
    "MFM": (
        "codes are compared with draws of a process, those of its samples with each other",
        {"options": {"mmd_weight": 0.0}},
    ),
    "FDMER": (
        "moments and dependences are those of the samples of a process",
        {"options": {"consistency_weight": 0.0, "disparity_weight": 0.0}},
    ),
    "TFRNet": (
        "moments are those of the frames, and batch norm takes the statistics of the samples, of a process",
        {"frozen_norms": True, "options": {"similarity_weight": 0.0}},
    ),
    "PropensityWeighting(LFLSTM), exchange": (
        "words are exchanged among the samples of a process",
        {"wrappers": (partial(PropensityWeighting, mode="exchange", words="maci", gate=False, strength=0.0),)},
    ),
    "DLF": ("the margin loss compares pairs of samples of a process", {"options": {"disentanglement_weight": 0.0}}),
    "DMD": (
        "the margin loss compares pairs of samples, and edges are compared with their prior and with each other by"
        " their means,"
        " of a process",
        {"options": {"disentanglement_weight": 0.0, "distillation_weight": 0.0}},
    ),
}
WHOLE = {name: case for name, case in (PLAIN | WRAPPED).items() if name in EXCEPTIONS}
WITHOUT = {f"{name} without": replace(WHOLE[name], **change) for name, (_, change) in EXCEPTIONS.items()}
CASES: dict[str, Case] = {
    **{name: case for name, case in (PLAIN | WRAPPED).items() if name not in EXCEPTIONS},
    **WITHOUT,
    **TRAINED,
    LIGHTNINGS_SAMPLER: WRAPPED["CausalMER(MulT)"],
    **WHOLE,
}


class Shards(DistributedSampler[Batch]):
    """Deals an order out to the processes, which get shards of unequal size: no sample is repeated to even them out.

    Args:
        dataset: What is sampled.
        even: Repeat samples from the start as Lightning's sampler does for ``PROCESSES`` processes; for one process
            alone.
    """

    def __init__(self, dataset: Dataset[Batch], even: bool = False) -> None:
        known = torch.distributed.is_initialized()
        place = (torch.distributed.get_world_size(), torch.distributed.get_rank()) if known else (1, 0)
        super().__init__(dataset, *place)
        self.samples = len(dataset)  # type: ignore[arg-type]
        self.repeated = -self.samples % PROCESSES if even else 0

    @override
    def __iter__(self) -> Iterator[int]:  # type: ignore[override]
        order = torch.randperm(self.samples, generator=torch.Generator().manual_seed(self.epoch)).tolist()
        return iter((order + order[: self.repeated])[self.rank :: self.num_replicas])

    @override
    def __len__(self) -> int:
        return len(range(self.rank, self.samples + self.repeated, self.num_replicas))


class Sharded(SyntheticMER):
    """SyntheticMER in which one process and several train on the same batches.

    Args:
        lightnings: Leave sharding to Lightning on several processes.
        **options: See :class:`SyntheticMER`.
    """

    def __init__(self, lightnings: bool, **options: Any) -> None:
        self.lightnings = lightnings
        super().__init__(SIZES, **options)

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        loader = super().train_dataloader()
        if self.lightnings and torch.distributed.is_initialized():
            return loader
        sampler = Shards(loader.dataset, even=self.lightnings)
        return DataLoader(loader.dataset, self.batch_size, sampler=sampler, collate_fn=loader.collate_fn)


Results = dict[str, dict[str, Any]]


def launch(processes: int, folder: Path, names: Sequence[str] = ()) -> Results:
    """Train cases on some processes, all of them in the same ones.

    Args:
        processes: How many.
        folder: For the results; it must not exist.
        names: Which cases; none are all.
    """
    folder.mkdir(parents=True)
    port, start = free_port(), process_context().Process
    children = [start(target=work, args=(rank, processes, port, folder, list(names))) for rank in range(processes)]
    for child in children:
        child.start()
    end = time.monotonic() + 1200
    for child in children:
        child.join(max(0.0, end - time.monotonic()))
        child.kill()
    found = {name: folder / f"{number}.0.pt" for number, name in enumerate(CASES)}
    results: Results = {name: torch.load(at, weights_only=True) for name, at in found.items() if at.exists()}
    if len(results) < len(names or CASES):
        log = folder / "log.txt"
        said = log.read_text()[-3000:] if log.exists() else "they said nothing"
        raise RuntimeError(f"{len(results)} cases were trained on {processes} processes: {said}")
    return results


def work(rank: int, processes: int, port: str, folder: Path, names: list[str]) -> None:
    """Be one of the processes; what it prints goes to a file."""
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", closefd=False) for stream in (1, 2))
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, CUDA_VISIBLE_DEVICES="")
    if processes > 1:
        os.environ["LOCAL_RANK"] = str(rank)  # that all are there already: Lightning starts no other
    torch.set_num_threads(1)  # others are not there after a fork
    main(processes, folder, names)


def gap(one: dict[str, Any], two: dict[str, Any]) -> float:
    """Largest difference of a parameter or buffer."""
    pairs = [(value.double(), two["state"][name].double()) for name, value in one["state"].items() if value.numel()]
    return max(float((a - b).abs().max()) for a, b in pairs)


def train(name: str, processes: int, precision: Any = "64-true") -> dict[str, Any]:
    """Train a case for two epochs of three batches; test it where Lightning shards the data."""
    case, lightnings = CASES[name], name == LIGHTNINGS_SAMPLER
    seed_everything(0, verbose=False)
    data = Sharded(lightnings, task=case.task, batch_size=GLOBAL_BATCH // processes)
    module = make(case, data.spec, data.task, optimizer=lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9))
    start = {key: value.clone() for key, value in module.named_parameters()}
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy=DDPStrategy(timeout=timedelta(seconds=200)) if processes > 1 else "auto",
        precision=precision,
        max_epochs=2,
        check_val_every_n_epoch=2,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        **quiet,
    )
    began = time.perf_counter()
    trainer.fit(module, datamodule=data)
    metrics, seconds = numbers(trainer), time.perf_counter() - began
    if lightnings:
        trainer.test(module, datamodule=data, verbose=False)
        metrics |= numbers(trainer)
    state = {key: value for key, value in module.state_dict().items() if isinstance(value, Tensor)}
    found = {"moved": _moved(module, start), "apart": _apart(module), "metrics": metrics, "seconds": seconds}
    return {**found, "state": state}


def numbers(trainer: Trainer) -> dict[str, float]:
    """The metrics that were logged."""
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def _moved(module: MERModule, start: dict[str, Tensor]) -> float:
    return max(float((p.detach() - start[key]).abs().max()) for key, p in module.named_parameters())


def _apart(module: MERModule) -> float:
    """Largest difference of a parameter between the processes."""
    if not torch.distributed.is_initialized():
        return 0.0
    mine = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    first = mine.clone()
    torch.distributed.broadcast(first, 0)
    gap = (mine - first).abs().max()
    torch.distributed.all_reduce(gap, torch.distributed.ReduceOp.MAX)
    return float(gap)


def main(processes: int, folder: Path, names: list[str]) -> None:
    """Train every case; what goes wrong is told in its file."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for number, name in enumerate(CASES):
        if names and name not in names:
            continue
        try:
            result = train(name, processes)
        except Exception:  # of any kind: the test of the case tells it
            result = {"error": traceback.format_exc()}
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        torch.save(result, folder / f"{number}.{rank}.pt")
