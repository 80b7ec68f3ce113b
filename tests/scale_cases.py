"""What is trained on several processes, in half precision and compiled:
every backbone, every wrapper, tiny and without dropout.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from lightning.pytorch.plugins.precision import HalfPrecision, MixedPrecision, Precision
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from toys import TINY_BERT, TwoStep, step_loss
from zoo_cases import BACKBONES, TINY

import mer_zoo.backbones
from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.model import Backbone
from mer_zoo.module import MERModule
from mer_zoo.task import Task
from mer_zoo.wrappers import (
    AGM,
    CLUE,
    CUMDF,
    DFR,
    GEAR,
    JTT,
    MACI,
    MCIS,
    MSSD,
    OGMGE,
    RWG,
    CausalMER,
    GBlend,
    GroupDRO,
    MMPareto,
    MulDeF,
    PropensityWeighting,
)

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
SMALL_CLUE = partial(CLUE, lstm_dim=4, dim=8)
SPEAKERS = {f"train_{i:05d}": str(i % 3) for i in range(64)}
SMALL_MULDEF = partial(MulDeF, heads=2, dim=8, gru_dim=4)
SMALL_GEAR = partial(GEAR, dim=8, branch_dim=8, swap_epochs=1)


@dataclass(frozen=True)
class Case:
    """A nest in training.

    Args:
        backbone: Name of the network.
        wrappers: What stands around it, from the inside out.
        task: Name of the task.
        options: Options of the network.
        training: Options of MERModule.
        frozen_norms: Whether batch norm keeps to its running statistics.
    """

    backbone: str
    wrappers: tuple[Any, ...] = ()
    task: str = "binary"
    options: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    frozen_norms: bool = False


PLAIN = {name: Case(name) for name in BACKBONES} | {"SelfMM, regression": Case("SelfMM", task="regression")}
# Two steps of its sampler leap far, and so do unclipped ones of plain gradient descent after them.
PLAIN["IMDer"] = Case("IMDer", options={"sampler_steps": 20}, training={"clip_norm": 0.5})
WEIGHTED = partial(PropensityWeighting, words="maci", gate=False)  # so few samples would leave its weights at 1
WRAPPED = {
    "CausalMER(MulT)": Case("MulT", (CausalMER,)),
    "MACI(MulT)": Case("MulT", (MACI,)),
    "CLUE(MulT)": Case("MulT", (SMALL_CLUE,)),
    "MCIS(MulT)": Case("MulT", (partial(MCIS, strengths="fixed", x=0.5, y=-0.5, z=0.5, attribute=SPEAKERS),)),
    "MulDeF(MulT)": Case("MulT", (SMALL_MULDEF,)),
    "GEAR(MulT)": Case("MulT", (SMALL_GEAR,)),
    "MSSD(MulT)": Case("MulT", (MSSD,)),
    "MSSD(MulT), one step": Case("MulT", (partial(MSSD, two_stage=False),)),
    "MSSD(MulT), gradients kept": Case("MulT", (partial(MSSD, accumulate_stage_gradients=True),)),
    "CUMDF(CUMDFNet)": Case("CUMDFNet", (CUMDF,)),
    "CUMDF(LFLSTM), no teacher": Case("LFLSTM", (partial(CUMDF, teacher=None, views=2),)),
    "CUMDF(LFLSTM), teacher": Case("LFLSTM", (partial(CUMDF, role="teacher"),)),
    "PropensityWeighting(LFLSTM)": Case("LFLSTM", (WEIGHTED,)),
    "PropensityWeighting(LFLSTM), product": Case("LFLSTM", (partial(WEIGHTED, mode="product"),)),
    "PropensityWeighting(LFLSTM), exchange": Case("LFLSTM", (partial(WEIGHTED, mode="exchange"),)),
    "RWG(LFLSTM)": Case("LFLSTM", (partial(RWG, draw=False),)),
    "GroupDRO(LFLSTM)": Case("LFLSTM", (partial(GroupDRO, draw=False, step_size=0.5, min_group=1),)),
    "JTT(LFLSTM)": Case("LFLSTM", (partial(JTT, epochs=1),)),
    "DFR(LFLSTM)": Case("LFLSTM", (partial(DFR, retrains=1, strengths=[0.3], min_group=1),)),
    "AGM(LFLSTM)": Case("LFLSTM", (AGM,)),
    "GBlend(LFLSTM)": Case("LFLSTM", (partial(GBlend, epochs=1),)),
    "MMPareto(LFLSTM)": Case("LFLSTM", (partial(MMPareto, mode="train"),)),
    "OGMGE(LFLSTM)": Case("LFLSTM", (partial(OGMGE, noise=False),)),  # noise is that of each process' gradients
    "MSSD(MACI(CIDerNet))": Case("CIDerNet", (MACI, MSSD)),
    "CausalMER(MSSD(LFLSTM))": Case("LFLSTM", (MSSD, CausalMER)),
}
TRAINED = {
    "LFLSTM, accumulated and clipped": Case("LFLSTM", training={"accumulate": 2, "clip_norm": 0.1}),
    "MSSD(LFLSTM), accumulated and clipped": Case("LFLSTM", (MSSD,), training={"accumulate": 2, "clip_norm": 0.1}),
    "LFLSTM, emotions": Case("LFLSTM", task="emotions"),
    "LFLSTM, text encoder": Case("LFLSTM", options={"text_encoder": {"config": TINY_BERT | NO_DROPOUT}}),
    "TwoStep(LFLSTM)": Case("LFLSTM", (TwoStep,)),
}


@dataclass
class Numbers:
    """What a network said of a batch.

    Args:
        losses: Of each optimiser step.
        gradient: (P,) of all parameters, summed over the steps.
        logits: At test time.
    """

    losses: list[float]
    gradient: Tensor
    logits: Tensor

    def distance(self, other: Numbers) -> tuple[float, float, float]:
        """Largest relative difference of a loss, relative distance of the gradients,
        and of the logits by the largest of them.
        """
        pairs = zip(self.losses, other.losses, strict=True)
        logits = (other.logits - self.logits).abs().max() / self.logits.abs().max()
        gradient = (other.gradient - self.gradient).norm() / self.gradient.norm()
        return max(abs(b - a) / abs(a) for a, b in pairs), float(gradient), float(logits)


def options(case: Case, tiny: bool = True) -> dict[str, Any]:
    """No dropout: processes draw different ones, and so do compiled networks."""
    made = inspect.signature(getattr(mer_zoo.backbones, case.backbone)).parameters.values()
    dropouts = {option.name: option.default for option in made if "dropout" in option.name}
    none = {name: 0.0 if isinstance(rate, float) else (0.0,) * len(rate) for name, rate in dropouts.items()}
    return {**(TINY[case.backbone] if tiny else {"seed": 0} if "seed" in made else {}), **none, **case.options}


def make(case: Case, spec: DataSpec, task: Task, tiny: bool = True, **training: Any) -> MERModule:
    """The module of a case, always with the same first weights."""
    torch.manual_seed(0)
    net: Backbone = getattr(mer_zoo.backbones, case.backbone)(spec, task, **options(case, tiny))
    module = MERModule(net, list(case.wrappers), **{**case.training, **training})
    for norm in module.modules():
        if case.frozen_norms and isinstance(norm, _BatchNorm):
            _keep_evaluating(norm)
    return module


def _keep_evaluating(norm: nn.Module) -> None:
    norm.eval()
    norm.train = lambda mode=True: norm  # type: ignore[method-assign]


def plugin(precision: Any, device: str) -> Precision:
    """What Lightning does for a precision; on a CPU 16-mixed computes in half precision,
    where the Trainer would take bf16-mixed.
    """
    if precision in ("bf16-true", "16-true"):
        return HalfPrecision(precision)
    if precision in ("bf16-mixed", "16-mixed"):
        scaler = torch.amp.GradScaler(device) if precision == "16-mixed" else None
        return MixedPrecision(precision, device, scaler)
    return Precision()


def synthetic_batch(task: str, modalities: Sequence[str] = MODALITIES) -> tuple[DataSpec, Task, Batch]:
    """Eight samples of SyntheticMER."""
    data = SyntheticMER(SyntheticConfig(train=8, valid=1, test=1), task=task, batch_size=8, modalities=modalities)
    data.setup("fit")
    (batch,) = data.batch_source("train")
    return data.spec, data.task, batch


@contextmanager
def _without_onednn() -> Iterator[None]:
    # oneDNN refuses LSTMs of float16 on most CPUs; torch by itself runs them in float32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.backends.mkldnn.flags(enabled=False):
            yield


def measure(
    module: MERModule, batch: Batch, precision: str = "32-true", device: str = "cpu", test: bool = True
) -> Numbers:
    """Losses and gradients of one batch in training and, if wanted, test-time scores,
    without a change of the weights.
    """
    given = plugin(precision, device)
    module = given.convert_module(module.to(device))  # type: ignore[assignment]
    batch = given.convert_input((batch if module.model.fixed_length else batch.trim()).to(torch.device(device)))
    with _without_onednn() if (precision, device) == ("16-mixed", "cpu") else nullcontext():
        with given.forward_context(), torch.no_grad():
            module.model.eval().prepare([batch])
        losses = []
        with given.forward_context():
            for step in module.model.train().steps(batch):
                losses.append(step_loss(module.model, step))
                torch.autograd.backward(losses[-1])
        logits = torch.ones(1)
        if test:
            with given.forward_context(), torch.inference_mode():
                logits = module.model.eval().predict(batch).logits
    grads = [p.grad.double().flatten().cpu() for p in module.parameters() if p.grad is not None]
    return Numbers([float(loss.detach()) for loss in losses], torch.cat(grads), logits.double().cpu())
