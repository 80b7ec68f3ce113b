"""Trains a small model on one or two processes and saves its parameters; started by test_ddp.py."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader, DistributedSampler
from toys import TwoStep
from typing_extensions import override

from mer_zoo.backbones import MulT, SelfMM
from mer_zoo.batch import Batch
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic import SyntheticConfig
from mer_zoo.model import Backbone
from mer_zoo.module import MERModule
from mer_zoo.wrappers import CLUE, CUMDF, GEAR, MACI, MSSD, CausalMER, PropensityWeighting

WRAPPERS: dict[str, list[Any]] = {
    "none": [],
    "CausalMER": [CausalMER],
    "MACI": [MACI],
    "CLUE": [partial(CLUE, lstm_dim=4, dim=8)],
    "GEAR": [partial(GEAR, dim=8, branch_dim=8, swap_epochs=1)],
    "TwoStep": [TwoStep],
    "MSSD": [MSSD],
    "MSSD one step": [partial(MSSD, two_stage=False)],
    "CUMDF": [CUMDF],
    "CUMDF without teacher": [partial(CUMDF, teacher=None, views=2)],
    "CUMDF teacher": [partial(CUMDF, role="teacher")],
    "SelfMM": [],
    "PropensityWeighting": [PropensityWeighting],
    "product": [partial(PropensityWeighting, mode="product")],
}


class SameOrder(SyntheticMER):
    """Draws batches in the order of a distributed sampler on one process too."""

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        loader = super().train_dataloader()
        if torch.distributed.is_initialized():
            return loader
        sampler: DistributedSampler[Batch] = DistributedSampler(
            loader.dataset, num_replicas=1, rank=0, shuffle=True, seed=0
        )
        return DataLoader(loader.dataset, self.batch_size, sampler=sampler, collate_fn=loader.collate_fn)


def main(wrapper: str, devices: int, path: str) -> None:
    seed_everything(0)
    sizes = SyntheticConfig(train=32, valid=16, test=15)
    task = "regression" if wrapper == "SelfMM" else "binary"
    data = SameOrder(sizes, task=task, batch_size=8 // devices, conditions="default")
    quiet: dict[str, Any] = {
        "embed_dropout": 0.0,
        "attn_dropout": 0.0,
        "relu_dropout": 0.0,
        "res_dropout": 0.0,
        "out_dropout": 0.0,
    }
    net: Backbone = MulT(data.spec, data.task, d_model=8, num_heads=2, layers=1, **quiet)
    if wrapper == "SelfMM":  # remembers every sample, also those of the other process
        net = SelfMM(data.spec, data.task, post_dropout=0.0)
    module = MERModule(net, WRAPPERS[wrapper], optimizer=lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9))
    options: dict[str, Any] = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
    }
    strategy = "ddp" if devices > 1 else "auto"
    trainer = Trainer(
        accelerator="cpu", devices=devices, strategy=strategy, max_epochs=2, num_sanity_val_steps=0, **options
    )
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    if trainer.is_global_zero:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        torch.save({"state": module.state_dict(), "metrics": metrics}, path)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
