"""How evenly the parts of a network that belong to single modalities are trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import override

from mer_zoo.batch import MODALITIES
from mer_zoo.errors import MERError
from mer_zoo.functional.shapley import gradient_imbalance
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.training.owners import owners

__all__ = ["GradientBalance"]


class GradientBalance(Callback):
    """Logs how uneven the gradients of the modalities' own parameters are, once an epoch.

    At each optimiser step n_m is the norm of the gradient of modality m's own parameters over the root of their number.
    ``train/gradient_imbalance`` is the mean over the steps of the deviation of the n_m over their mean, 0 where all are
    trained alike; ``train/gradient_text`` and the others are the means of the n_m, as far as a modality has a gradient.

    Args:
        parts: Glob pattern of parameter names by modality. By default a parameter of a model of the zoo is a modality's
            own that the scores depend on by way of this modality alone, see :func:`mer_zoo.training.owners.owners`; in
            another module one whose name has the word text, audio or vision in it, and of these only one.

    Raises:
        MERError: When training begins, if fewer than two modalities have parameters of their own.

    References:
        Made for the question of MissBench's Modality Learning Index, see
        :func:`mer_zoo.functional.shapley.gradient_imbalance`.

    Example:
        >>> from mer_zoo import LFLSTM, SyntheticMER
        >>> from mer_zoo.data import SyntheticConfig
        >>> from mer_zoo.module import MERModule
        >>> data = SyntheticMER(SyntheticConfig(train=8, valid=8, test=4), standardize=False)
        >>> quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        >>> trainer = Trainer(callbacks=[GradientBalance()], max_epochs=1, enable_checkpointing=False, **quiet)
        >>> trainer.fit(MERModule(LFLSTM(data.spec, data.task, dim=4)), data)
        >>> 0 < trainer.callback_metrics["train/gradient_imbalance"] < 2 ** 0.5
        tensor(True)
    """

    def __init__(self, parts: Mapping[str, str] | None = None) -> None:
        super().__init__()
        unknown = [name for name in parts or {} if name not in MODALITIES]
        if unknown:
            raise MERError(f"parts names {unknown[0]!r}; give patterns for {', '.join(MODALITIES)}")
        self.parts = parts
        self._own: dict[str, list[nn.Parameter]] = {}
        self._norms: list[Tensor] = []

    def own(self, module: nn.Module) -> dict[str, list[nn.Parameter]]:
        """The trained parameters that belong to one modality alone.

        Args:
            module: The network.
        """
        found: dict[str, list[nn.Parameter]] = {}
        if isinstance(module, MERModule) and self.parts is None:
            module = module.model
        whose = owners(module) if isinstance(module, Model) and self.parts is None else self._named(module)
        for name, parameter in module.named_parameters():
            if name in whose and parameter.requires_grad:
                found.setdefault(whose[name], []).append(parameter)
        return {modality: found[modality] for modality in MODALITIES if modality in found}

    def _named(self, module: nn.Module) -> dict[str, str]:
        named = {name: [m for m in MODALITIES if self._is_of(name, m)] for name, _ in module.named_parameters()}
        return {name: modalities[0] for name, modalities in named.items() if len(modalities) == 1}

    def _is_of(self, name: str, modality: str) -> bool:
        if self.parts is None:
            return modality in re.split(r"[._]", name)
        return modality in self.parts and fnmatchcase(name, self.parts[modality])

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._own = self.own(pl_module)
        if len(self._own) < 2:
            raise MERError(
                f"GradientBalance finds parameters of {' and '.join(self._own) or 'no modality'} alone in"
                f" {type(pl_module).__name__}; name those of two modalities or more by its parts"
            )

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._norms.clear()

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        norms = [_norm(parameters, pl_module.device) for parameters in self._own.values()]
        self._norms.append(torch.stack(norms))  # read at the end of the epoch, so that a GPU need not wait

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._norms:
            return
        norms = torch.stack(self._norms).double().cpu()
        trained = norms[(norms > 0).any(1) & norms.isfinite().all(1)]
        if not len(trained):
            return
        told: dict[str, Any] = {
            f"train/gradient_{name}": float(mean) for name, mean in zip(self._own, trained.mean(0), strict=True)
        }
        each = [gradient_imbalance(step) for step in trained.tolist()]
        pl_module.log_dict({"train/gradient_imbalance": sum(each) / len(each), **told})


def _norm(parameters: list[nn.Parameter], device: torch.device) -> Tensor:
    squares = [parameter.grad.float().square().sum() for parameter in parameters if parameter.grad is not None]
    count = sum(parameter.numel() for parameter in parameters)
    return (torch.stack(squares).sum() / count).sqrt() if squares else torch.zeros((), device=device)
