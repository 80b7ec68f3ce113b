"""Tests under missing modalities and shifts for a LightningModule that is not to be rewritten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from mer_zoo.callbacks.outside import Unseen, batch_of, check_own, corpus_of, output_of
from mer_zoo.callbacks.results import about, with_data
from mer_zoo.reports import write_results
from mer_zoo.reports.merge import results_to_add_to
from mer_zoo.runs.folder import is_trial
from mer_zoo.runs.provenance import provenance
from mer_zoo.scores import Scores
from mer_zoo.training.kept import KeptScores, facts_of, results_on

__all__ = ["ConditionMetrics"]


class ConditionMetrics(Callback):
    """Measures a test under each condition of the datamodule: modalities missing, other splits, other corpora.

    The MERDataModule takes away what a condition says is missing before ``test_step`` sees the batch, one loader a
    condition. ``test_step`` has to return the logits (B, *task shape), or a mapping that holds them as ``logits``. The
    metrics of the task are logged as ``test/{a,v}/Acc3`` and the like, those of the complete split as ``test/Acc3``.

    Args:
        folder: Where to write results.json, results.md, scores and pictures as ``mer-zoo report`` reads them; a second
            test of the same weights adds its conditions. Nothing is written when left out.
        name: What tables call the network; the name of its class by default.
        pictures: Whether to draw.
        overwrite: Replace the results of other weights in the folder.

    Attributes:
        results: Condition -> its number of samples, metrics and those of ignoring the input.

    Raises:
        MERError: Without a MERDataModule, where ``test_step`` returns something else, or where the folder holds a test
            of other weights.

    Example:
        >>> import torch
        >>> from mer_zoo import SyntheticMER
        >>> from mer_zoo.data import SyntheticConfig
        >>> class Loudness(LightningModule):
        ...     def test_step(self, batch, batch_idx, dataloader_idx=0):
        ...         loud = batch.audio.x.square().mean((1, 2))
        ...         return torch.stack([loud < 1, loud < 0, loud >= 1], 1).float()
        >>> data = SyntheticMER(SyntheticConfig(train=8, valid=4, test=20), conditions="availability")
        >>> metrics, quiet = ConditionMetrics(), {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
        >>> (found, *_) = Trainer(callbacks=[metrics], **quiet).test(Loudness(), data, verbose=False)
        >>> list(metrics.results)
        ['iid', '{l}', '{a}', '{v}', '{l,a}', '{l,v}', '{a,v}']
    """

    def __init__(
        self, folder: str | None = None, name: str | None = None, pictures: bool = True, overwrite: bool = False
    ) -> None:
        super().__init__()
        self.folder = None if folder is None else Path(folder)
        self.name, self.pictures, self.overwrite = name, pictures, overwrite
        self.results: dict[str, dict[str, Any]] = {}
        self._scores: dict[str, Scores] = {}
        self._kept = KeptScores()

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_own(pl_module, "ConditionMetrics", "its own metrics under every condition")
        data = corpus_of(trainer, "ConditionMetrics")
        self._model = Unseen(data.spec, data.task)
        self.results, self._scores = {}, {}
        self._kept.start(self._model, calibrating=False)
        if self._writes(trainer):
            self._earlier(trainer, pl_module)  # what can't be kept is refused before the work, not after it

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        batch, step = batch_of(batch, "ConditionMetrics"), f"test_step of {type(pl_module).__name__}"
        output = output_of(outputs, batch, self._model.task, step)
        self._kept.keep(dataloader_idx, output, batch, {}, facts_of(batch))

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for loader, condition in enumerate(corpus_of(trainer, "ConditionMetrics").conditions):
            scores = self._kept.take(loader, f"condition {condition.name!r}")
            if scores is None:
                continue
            self._scores[condition.name], found = scores, results_on(self._model, scores)
            self.results[condition.name] = found
            prefix = "test" if condition.name == "iid" else f"test/{condition.name}"
            metrics = {f"{prefix}/{key}": value for key, value in found["metrics"].items()}
            pl_module.log_dict(metrics, batch_size=len(scores))

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.folder is None or not self._writes(trainer):
            return
        results, earlier = self._content(trainer, pl_module), self._earlier(trainer, pl_module)
        results["conditions"] = {**earlier, **results["conditions"]}
        write_results(self.folder, {**results, "provenance": provenance()}, self._scores, pictures=self.pictures)

    def _writes(self, trainer: Trainer) -> bool:
        return self.folder is not None and trainer.is_global_zero and not is_trial(trainer)

    def _earlier(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        assert self.folder is not None
        return results_to_add_to(self.folder, self._content(trainer, module), self.overwrite)

    def _content(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        label = type(module).__name__ if self.name is None else self.name
        content = {**about(trainer, module, label), "conditions": dict(self.results), "diagnostics": {}, "notes": []}
        return with_data(content, corpus_of(trainer, "ConditionMetrics"))
