"""The check as a callback of a Trainer."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from mer_zoo.batch import Batch
from mer_zoo.errors import MERError
from mer_zoo.life.measure import THRESHOLD, Dead, Life, dead_parts, first_samples, measure_life
from mer_zoo.module import MERModule

__all__ = ["LifeCheck"]


class LifeCheck(Callback):
    """Says after training which parts of the model act no longer, or never did.

    Signs of life are measured on the first samples of the first training batch, before and after training: see
    :func:`measure_life`. The model and the draws of training stay as they are.

    Args:
        samples: How many; best a prime number, see :func:`measure_life`.
        threshold: Share of a sign at initialisation below which a part is dead.

    Attributes:
        before: The signs before training; None before that, and in a run that is resumed.
        after: The signs after training.
        dead: The dead parts.

    Raises:
        MERError: On several processes, or for an option out of range; for a module other than MERModule.

    Example:
        >>> from mer_zoo import LFLSTM, SyntheticMER
        >>> from mer_zoo.data import SyntheticConfig
        >>> data = SyntheticMER(SyntheticConfig(train=26, valid=4, test=4), batch_size=13)
        >>> check, quiet = LifeCheck(), {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        >>> trainer = Trainer(callbacks=[check], max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet)
        >>> trainer.fit(MERModule(LFLSTM(data.spec, data.task, dim=4)), data)
        >>> check.dead, min(check.after.swap.values()) > 0.01
        ([], True)
    """

    def __init__(self, samples: int = 13, threshold: float = THRESHOLD) -> None:
        if samples < 2:
            raise MERError(f"samples of LifeCheck is {samples}; give at least 2, so that there are some to swap")
        if not 0 < threshold < 1:
            raise MERError(f"threshold of LifeCheck is {threshold}; give a share between 0 and 1")
        self.samples, self.threshold = samples, threshold
        self.before: Life | None = None
        self.after: Life | None = None
        self.dead: list[Dead] = []
        self._batch: Batch | None = None

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, MERModule):
            raise MERError(f"LifeCheck looks into a MERModule, which {type(pl_module).__name__} is not; leave it out")
        if trainer.world_size > 1:
            raise MERError("LifeCheck looks at a model in one process; train on one device, or leave it out")
        self.before, self.after, self.dead, self._batch = None, None, [], None

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 0 and self.before is None and isinstance(pl_module, MERModule):
            self._batch = first_samples(batch, self.samples)
            self.before = measure_life(pl_module.model, self._batch)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.before is None or self._batch is None or not isinstance(pl_module, MERModule):
            return
        self.after = measure_life(pl_module.model, self._batch)
        self.dead = dead_parts(self.before, self.after, self.threshold)
        if self.dead:
            told = "; ".join(map(str, self.dead))
            rank_zero_warn(f"parts of {pl_module.model.name} that do not act after training: {told}")
