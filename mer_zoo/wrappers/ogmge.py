r"""OGM-GE (on-the-fly gradient modulation, generalisation enhanced): the encoder of the stronger modality slows down.

Idea: where one modality alone tells the label better than the others do, its encoder learns the task for all, and the
others' are left behind. So in each step the gradients of its parameters are made smaller, the more the stronger it is;
noise as large as the gradients keeps the chance of a flat minimum that smaller gradients would take away.

Input and shapes (B batch, M modalities in use):
    each step of the inner model, and its logits where one modality alone is there, (B, *task shape) for each, by M
    forward passes in evaluation mode, without gradient; gradients of the parameters that belong to one modality alone.
    Losses, forward and predict are the inner model's.

Where the paper is in the code (equations in functional/gradient_modulation.py):
    discrepancy ratio :math:`\rho`, equation (8)    ogm_ratios
    coefficient k, equation (10)                    ogm_coefficients
    noise, equations (11) and (12)                  enhanced
    whose parameters they are                       mer_zoo.training.owners

Differences from the released code:
    * what one modality says is what the network says of it without the others, so that any network will do; there it is
      the part of a linear classifier that reads this modality;
    * parameters are a modality's own by the autograd graph, and all with two dimensions or more are meant but
      embeddings, where noise would move words that are not there; the code means those of two-dimensional convolutions;
    * three modalities: the ratio to the mean of the others;
    * scores as good as each other change nothing, where the code then slows one of them down;
    * a real-valued score counts :math:`\exp(-|error|)`, in place of the probability of the label; several emotions the
      mean of theirs.
On several processes coefficients are those of the whole batch, and the noise is as large as the gradient of each
process before they are averaged.

Nests: outside everything with one step a batch, and inside what keeps the network's classifier: CausalMER, CLUE and
those that weigh samples. It acts where a network has encoders of single modalities, see docs/zoo.md. Under fsdp a
process has shards of parameters, so that it is refused.

References:
    Peng, Wei, Deng, Wang and Hu, "Balanced Multimodal Learning via On-the-fly Gradient Modulation", CVPR 2022,
    arXiv:2203.15332. Released code: GeWu-Lab/OGM-GE_CVPR2022 (MIT by its file); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Step
from mer_zoo.data.missing.drop import blanked
from mer_zoo.data.missing.pattern import derive_key
from mer_zoo.distributed import global_sum
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import global_seed, normal
from mer_zoo.functional.gradient_modulation import enhanced, ogm_coefficients, ogm_ratios, running_mean
from mer_zoo.model import Model, Wrapper
from mer_zoo.options import check_weights
from mer_zoo.training.gradient_hooks import GradientHooks
from mer_zoo.training.modes import evaluating
from mer_zoo.wrappers.own_parameters import check_several, few_own, few_told, own_parameters, shares_told
from mer_zoo.wrappers.passes import Passes

__all__ = ["OGMGE"]


class OGMGE(Wrapper):
    """On-the-fly gradient modulation with noise; see the module's text for the idea.

    Args:
        backbone: The model to train.
        alpha: The paper's alpha, how strongly gradients are modulated.
        noise: Whether noise is added (OGM-GE); without it this is OGM.
        start: The first pass through the training split that is modulated, counted from 0.
        end: The first that is no longer; None for none.
        seed: Seed of the noise; None for the global one.

    Raises:
        MERError: For data of one modality, an inner model of several steps a batch, or an option out of range; in
            ``prepare`` if no parameter of the network belongs to one modality alone; when trained before it.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> model = OGMGE(LFLSTM(spec, task))
        >>> model.prepare([])
        >>> (step,) = model.steps(Batch.random(spec, task, size=4))
        >>> min(model.diagnostics().values()) > 0, model.notes()
        (True, ['OGMGE acts on text 27.5 %, audio 27.1 %, vision 26.7 % of the parameters of LFLSTM'])
    """

    prepared: Tensor
    ratios: Tensor
    coefficients: Tensor
    count: Tensor

    def __init__(
        self,
        backbone: Model,
        alpha: float = 0.3,
        noise: bool = True,
        start: int = 0,
        end: int | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(backbone)
        check_several("OGMGE", backbone)
        check_weights("OGMGE", {"alpha": alpha})
        self.alpha, self.noise = alpha, noise
        self.passes = Passes("OGMGE", start, end)
        self.blanks_modalities = self.changes_gradients = True
        self.seed, self.drawn = (global_seed() or 0) if seed is None else seed, 0
        self.shares: dict[str, float] = {}
        self._own: dict[str, tuple[int, int]] = {}  # by name: number of the modality, and of the parameter
        self._hooks = GradientHooks()
        self._k: Tensor | None = None
        # Not saved: whose the parameters are is found anew when training is resumed.
        self.register_buffer("prepared", torch.tensor(False), persistent=False)
        for name, start_value in {"ratios": 1.0, "coefficients": 1.0}.items():
            self.register_buffer(name, torch.full((len(self.spec.modalities),), start_value))
        self.register_buffer("count", torch.tensor(0))

    def get_extra_state(self) -> Tensor:
        """Seed of the noise, and for how many steps it was drawn."""
        return torch.tensor([self.seed, self.drawn])

    def set_extra_state(self, state: Tensor) -> None:
        """Take both over."""
        if state.shape != (2,) or state.is_floating_point() or state.is_complex():
            raise MERError("the checkpoint holds other than OGMGE's seed and count; use one that mer-zoo fit wrote")
        if not state.is_meta:
            self.seed, self.drawn = state.tolist()

    @override
    def drop_head(self) -> None:
        raise MERError(
            "OGMGE goes by the scores of the network's own classifier, which what stands around it would drop; put"
            " OGMGE outside, or leave one of them out"
        )

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        self.passes.measure(train)
        if self.prepared:
            return
        own, self.shares = own_parameters("OGMGE", self, matrices=True)
        places = {name: place for place, name in enumerate(self.spec.modalities)}
        self._own = {name: (places[modality], number) for number, (name, modality) in enumerate(own.items())}
        self._hooks.remove()
        self.prepared.fill_(True)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        if not self._own:
            raise MERError("OGMGE does not know yet whose the parameters are; fit it, or call prepare")
        if not self._hooks.installed:
            parameters = {n: p for n, p in self.nest[-1].named_parameters() if n in self._own and p.requires_grad}
            self._hooks.install(parameters, self._changed)
        acts = self.passes.acts_on(batch, counts=self.training)
        for step in self.backbone.steps(batch):
            self._k = self._coefficients(step) if acts else None
            yield step

    @torch.no_grad()
    def _coefficients(self, step: Step) -> Tensor:
        """(M,) coefficients of the modalities' gradients in this step."""
        scores = []
        with evaluating(self.backbone):
            for name in self.spec.modalities:
                alone = self.backbone(blanked(step.batch, (name,), self.spec))
                scores.append((-self.task.losses(alone.logits.float(), step.batch.target)).exp().mean())
        size = len(step.batch)
        ratios = ogm_ratios(global_sum(size * torch.stack(scores)))
        k = ogm_coefficients(ratios, self.alpha)
        if self.training:
            self.drawn += 1
            finite = ratios.isfinite().all()  # losses that are not are for those who watch them
            self.ratios = torch.where(finite, running_mean(self.ratios, self.count, ratios), self.ratios)
            self.coefficients = torch.where(finite, running_mean(self.coefficients, self.count, k), self.coefficients)
            self.count = self.count + finite
        return k

    def _changed(self, name: str, gradient: Tensor) -> Tensor:
        if self._k is None or not self.training:
            return gradient
        place, number = self._own[name]
        noise = self._noise(number, gradient) if self.noise else None
        return enhanced(gradient, self._k[place].to(gradient.dtype), noise)

    def _noise(self, number: int, gradient: Tensor) -> Tensor:
        """Drawn by seed, step and parameter, so that processes draw alike and a resumed run goes on."""
        key, device = derive_key(self.seed, self.drawn, "OGMGE"), gradient.device
        drawn = normal(key, torch.tensor([number], device=device), torch.arange(gradient.numel(), device=device))
        return drawn.view_as(gradient).to(gradient.dtype)

    @override
    def diagnostics(self) -> dict[str, float]:
        means = {"k": self.coefficients.tolist(), "ratio": self.ratios.tolist()}
        found = {
            f"ogmge/{kind}_{name}": value
            for kind, values in means.items()
            for name, value in zip(self.spec.modalities, values, strict=True)
        }
        return {**super().diagnostics(), **found}

    @override
    def notes(self) -> list[str]:
        if not self.shares:
            return super().notes()
        network = self.nest[-1]
        own = {name: self.shares[name] for name in self.spec.modalities}
        told = f"OGMGE acts on {shares_told(own)} of the parameters of {network.name}"
        return [few_told("OGMGE", network, self.shares) if few_own(network, self.shares) else told, *super().notes()]
