"""Validation metrics under weights that undo the confounding, for a LightningModule that is not to be rewritten."""

from __future__ import annotations

from typing import Any, get_args

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mer_zoo.callbacks.outside import Unseen, batch_of, check_own, corpus_of, output_of
from mer_zoo.callbacks.propensity_weights import PropensityWeights
from mer_zoo.confounding import ValidationWeights, Words
from mer_zoo.options import check_choice
from mer_zoo.training.kept import KeptScores

__all__ = ["DeconfoundedMetrics"]


class DeconfoundedMetrics(Callback):
    """Logs each validation metric, and the loss, as if biased words had been dealt out at random.

    They are ``val/Acc3_deconfounded`` and the like, which early stopping and checkpoints may follow, with
    ``val/ess_deconfounded``, the effective number of samples that they rest on. The ``validation_step`` has to return
    the logits (B, *task shape), or a mapping that holds them as ``logits``; the datamodule has to be a MERDataModule.

    Args:
        words: Which words count as biased, ``frequent`` or ``maci``; by default what PropensityWeights among the
            callbacks goes by, else ``frequent``.

    Raises:
        MERError: For unknown words; when validation begins, without a MERDataModule; where ``validation_step`` returns
            something else.

    Example:
        >>> import torch
        >>> from mer_zoo import SyntheticMER
        >>> from mer_zoo.data import SyntheticConfig
        >>> class Net(LightningModule):
        ...     def validation_step(self, batch, batch_idx):
        ...         return {"logits": torch.nn.functional.one_hot(batch.target, 3).float()}
        >>> data = SyntheticMER(SyntheticConfig(train=600, valid=200, test=8))
        >>> quiet = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
        >>> (found,) = Trainer(callbacks=[DeconfoundedMetrics()], **quiet).validate(Net(), data, verbose=False)
        >>> found["val/Acc3_deconfounded"]
        1.0
    """

    def __init__(self, words: Words | None = None) -> None:
        super().__init__()
        if words is not None:
            check_choice("DeconfoundedMetrics", "words", words, get_args(Words))
        self.words = words
        self._kept = KeptScores()
        self._weights: ValidationWeights | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_own(pl_module, "DeconfoundedMetrics", "the option deconfounded")
        self._weights = None

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = corpus_of(trainer, "DeconfoundedMetrics")
        if self._weights is None:
            found = (each for each in trainer.callbacks if isinstance(each, PropensityWeights))  # type: ignore[attr-defined]
            trained = next((each.weighting for each in found if each.weighting is not None), None)
            self._weights = ValidationWeights(trained or Unseen(data.spec, data.task), self.words or True)
        self._weights.fit(lambda: data.batch_source("train"))
        self._kept.start(self._weights.model, calibrating=False)

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert self._weights is not None
        batch, step = batch_of(batch, "DeconfoundedMetrics"), f"validation_step of {type(pl_module).__name__}"
        output = output_of(outputs, batch, self._weights.model.task, step)
        self._kept.keep(dataloader_idx, output, batch, self._weights.effects(batch))

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert self._weights is not None
        scores = self._kept.take(0, "validation")
        if scores is None:
            return
        self._weights.attach(scores)
        for name, value in self._weights.measure(scores, quiet=trainer.sanity_checking).items():
            pl_module.log(f"val/{name}", value, batch_size=len(scores))
