"""The sample weights of PropensityWeighting for a LightningModule that is not to be rewritten."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec
from mer_zoo.callbacks.outside import Unseen, check_own, corpus_of
from mer_zoo.data import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentClassification
from mer_zoo.training.preparing import prepare
from mer_zoo.wrappers import PropensityWeighting

__all__ = ["PropensityWeights"]

FIELD = "sample_weight"


class PropensityWeights(Callback):
    """Gives each training batch the weights under which label and biased words are independent, as ``sample_weight``.

    They are :class:`~mer_zoo.PropensityWeighting`'s, (B,), or (B, E) for E emotions, with mean 1 over the training
    split. The loss has to use them: ``(loss_of_each_sample * batch.sample_weight).mean()``; one that does not is told
    at the first batch. Batches are those of a MERDataModule, or mappings whose ``index`` says where in the training
    split of ``data`` each sample stands. Everything else, the product of experts too, needs the network's inside: make
    the network a Backbone by :func:`mer_zoo.adapt`.

    Args:
        data: Whose training split the weights are of; the Trainer's datamodule when left out.
        **options: Options of PropensityWeighting, but for ``mode`` and ``balance``.

    Attributes:
        weighting: What has fitted them; its ``trace.report`` says what was found. None before the fit.

    Raises:
        MERError: For an option that PropensityWeighting refuses; when training begins, without a MERDataModule; at the
            first batch, where the loss does not depend on the weights.

    Example:
        >>> from mer_zoo import SyntheticMER
        >>> from mer_zoo.data import SyntheticConfig
        >>> class Net(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.read = torch.nn.Linear(SyntheticMER(SMALL).spec.audio_dim, 3)
        ...     def training_step(self, batch, batch_idx):
        ...         losses = torch.nn.functional.cross_entropy(
        ...             self.read(batch.audio.x.mean(1)), batch.target, reduction="none"
        ...         )
        ...         return (losses * batch.sample_weight).mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.Adam(self.parameters())
        >>> SMALL, weights = SyntheticConfig(train=64, valid=8, test=8), PropensityWeights(strength=0.5, gate=False)
        >>> names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
        >>> quiet = dict.fromkeys(names, False)
        >>> trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[weights], **quiet)
        >>> trainer.fit(Net(), datamodule=SyntheticMER(SMALL))
        >>> weights.weighting.weights(torch.arange(64)).mean()
        tensor(1.0000)
    """

    def __init__(self, data: MERDataModule | None = None, **options: Any) -> None:
        super().__init__()
        beyond = sorted({"mode", "balance"} & options.keys())
        if beyond:
            raise MERError(
                f"PropensityWeights only weighs samples, and {beyond[0]} needs the network's scores; make the network a"
                " Backbone by mer_zoo.adapt(network, spec, task, feature_dim=...) for PropensityWeighting"
            )
        # Names and ranges are checked at once, sources and words when there is a corpus.
        PropensityWeighting(Unseen(DataSpec(tokens=True), SentimentClassification(3)), **options)
        self.data, self.options = data, options
        self.weighting: PropensityWeighting | None = None
        self._probe: Tensor | None = None
        self._is_backward = self._is_checked = False

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_own(pl_module, "PropensityWeights", "the wrapper PropensityWeighting")
        data = corpus_of(trainer, "PropensityWeights") if self.data is None else self.data
        self.weighting = PropensityWeighting(Unseen(data.spec, data.task), **self.options)
        prepare(self.weighting, lambda: data.batch_source("train"))
        self._probe, self._is_backward, self._is_checked = None, False, False

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert self.weighting is not None
        index = batch.index if isinstance(batch, Batch) else batch.get("index") if isinstance(batch, dict) else None
        if not isinstance(index, Tensor) or index.dim() != 1:
            raise MERError(
                f"PropensityWeights was given a {type(batch).__name__} without an index (B,) of the samples in the"
                " training split; use batches of a MERDataModule, or mappings with one"
            )
        weights = self.weighting.weights(index)
        if not self._is_checked:  # the loss's derivative by this one tells whether it uses the weights
            self._probe = torch.ones((), device=weights.device, requires_grad=True)
            weights = weights * self._probe
        if isinstance(batch, MutableMapping):
            batch[FIELD] = weights
        else:
            setattr(batch, FIELD, weights)  # of a batch that was made for this step alone

    @override
    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._is_backward = True

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._probe is None or not self._is_backward:
            return
        if self._probe.grad is None:
            raise MERError(
                f"the loss of {type(pl_module).__name__} does not depend on the weights; multiply each sample's loss"
                f" with batch.{FIELD} in training_step, as in (losses * batch.{FIELD}).mean()"
            )
        self._probe, self._is_checked = None, True
