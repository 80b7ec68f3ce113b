"""Small trainings on few samples, of which all that happens is noted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor, nn
from toys import MeanNet
from typing_extensions import override

from mer_zoo.batch import Modality, Output
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.training.resume import LastCheckpoint

Net = Callable[[SyntheticMER], Model]


class DropNet(MeanNet):
    """Means with dropout."""

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        output = super().fuse(text, audio, vision)
        assert output.features is not None
        features = nn.functional.dropout(output.features, 0.3, self.training)
        return output.replace(logits=self.classify(features), features=features)


def measured(trainer: Trainer, prefix: str) -> str:
    return str(
        sorted((name, float(value)) for name, value in trainer.callback_metrics.items() if name.startswith(prefix))
    )


class Course(Callback):
    """Notes what happens, and what is measured."""

    def __init__(self) -> None:
        self.events: list[str] = []

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.events.append(f"batch {batch_idx}: {batch.index.tolist()}")

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.events.append(measured(trainer, "val/"))

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        means = measured(trainer, "train/")
        self.events.append(f"epoch {trainer.current_epoch}, step {trainer.global_step}, {means}")


def drop_net(data: SyntheticMER) -> Model:
    return DropNet(data.spec, data.task)


def adam(parameters: Any) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr=0.02)


def train(
    folder: Path,
    seed: int,
    net: Net = drop_net,
    every: int | None = None,
    resumed: Path | None = None,
    trainer: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    callbacks: tuple[Callback, ...] = (),
    train_size: int = 28,
    **options: Any,
) -> tuple[list[Tensor], list[str]]:
    """Train three epochs of few batches, or their rest; gives all state of model and optimiser, and the course."""
    seed_everything(seed, verbose=False)
    source = SyntheticMER(
        SyntheticConfig(train=train_size, valid=8, test=8), **{"batch_size": 8, "task": "binary", **(data or {})}
    )
    module, course = MERModule(net(source), **{"optimizer": adam, **options}), Course()
    module.stretches.may_differ = frozenset({"seed"})
    steps: dict[str, Any] = {"every_n_train_steps": every} if every else {}
    last = LastCheckpoint(folder, filename="{step}", save_top_k=-1, **steps)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"max_epochs": 3, "accelerator": "cpu", "default_root_dir": folder, "num_sanity_val_steps": 1}
    runner = Trainer(**{**quiet, **(trainer or {})}, callbacks=[course, *callbacks, last])
    runner.fit(module, datamodule=source, ckpt_path=resumed)
    state = list(module.state_dict().values())
    for optimizer in runner.optimizers:
        found = optimizer.state_dict()
        state += [torch.as_tensor(value) for values in found["state"].values() for value in values.values()]
        state += [torch.tensor(group["lr"]) for group in found["param_groups"]]
    return state, course.events
