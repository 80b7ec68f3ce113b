r"""MMPareto: does what a modality would learn alone stand against what all learn together, and can both be had?

Idea: losses of single modalities help encoders that a joint loss leaves behind. But for the same encoder the gradients
of the two may point against each other. Then the direction that lowers both is taken, and no conflict is left.

Input and shapes (B batch, M modalities in use, T_m steps and d_m width of a hidden sequence):
    each step of the inner model, of which hidden[m] (B, T_m, d_m) is read: a linear head on its mean over the real
    steps predicts the label, loss L_m. For the parameters that belong to m alone, gradients of L_m and of the step's
    task loss L_0. Forward and predict are the inner model's.

By default (``mode="watch"``) the network is trained as it would be without: heads learn beside it, and the log has how
often the gradients are in conflict. ``mode="train"`` is the method, which adds the losses and changes gradients.

Where the paper is in the code (equations in functional/gradient_conflict.py):
    weights of the two gradients              pareto_weights
    their sum, rescaled by its norm, gamma    pareto_gradient
    whose parameters they are                 mer_zoo.training.owners

Differences from the released code:
    * where both gradients cancel, the plain sum stays, where the code divides by zero;
    * what is added to the gradient is the difference that the method makes to L_0 + L_m, so that losses that networks
      and wrappers add themselves keep their own;
    * on several processes conflicts are those of the whole batch.
``gamma`` acts on the modalities' own parameters alone, so it is a larger learning rate for them, too.

Nests: outside everything that takes one step a batch and has hidden sequences; what stands outside of it changes the
task's loss after the conflict was measured. Refused under fsdp and 16-mixed: it reads gradients that are not scaled.

References:
    Wei and Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024,
    arXiv:2405.17730. Released code: GeWu-Lab/MMPareto_ICML2024 (no licence stated); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Output, Step
from mer_zoo.data.missing.drop import blanked
from mer_zoo.distributed import distributed_mean, process_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.gradient_conflict import cosine, pareto_gradient, pareto_weights
from mer_zoo.functional.gradient_modulation import running_mean
from mer_zoo.model import Model, Wrapper
from mer_zoo.options import check_choice, check_weights
from mer_zoo.training.gradient_hooks import GradientHooks
from mer_zoo.training.modes import evaluating
from mer_zoo.wrappers.hidden_heads import head_losses, hidden_heads, pooled_hidden
from mer_zoo.wrappers.own_parameters import check_several, few_own, few_told, own_parameters

__all__ = ["MMPareto"]

Mode = Literal["watch", "train"]


class MMPareto(Wrapper):
    """Unimodal losses whose gradients do not stand against the joint one; see the module's text for the idea.

    Args:
        backbone: The model to train.
        mode: ``watch`` for the statistics of conflict alone, ``train`` for the method.
        gamma: The paper's gamma, what new gradients are multiplied by.
        unimodal_weight: Weight of the losses of single modalities.

    Raises:
        MERError: For data of one modality, an inner model of several steps a batch or without hidden sequences of known
            shape, or an option out of range; in ``prepare`` if no parameter of the network belongs to one modality
            alone; when trained before it.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> model = MMPareto(LFLSTM(spec, task))
        >>> model.prepare([])
        >>> (step,) = model.steps(Batch.random(spec, task, size=4))
        >>> sorted(step.losses), sorted(model.diagnostics())[:2]
        (['mmpareto/audio', 'mmpareto/text', 'mmpareto/vision'], ['mmpareto/conflict_audio', 'mmpareto/conflict_text'])
    """

    prepared: Tensor
    cosines: Tensor
    conflicts: Tensor
    count: Tensor

    def __init__(self, backbone: Model, mode: Mode = "watch", gamma: float = 1.5, unimodal_weight: float = 1.0) -> None:
        super().__init__(backbone)
        check_several("MMPareto", backbone)
        check_choice("MMPareto", "mode", mode, get_args(Mode))
        check_weights("MMPareto", {"gamma": gamma, "unimodal_weight": unimodal_weight})
        self.mode, self.gamma, self.unimodal_weight = mode, gamma, unimodal_weight
        self.heads = hidden_heads("MMPareto", backbone)
        self.changes_gradients = self.reads_gradients = True
        self.shares: dict[str, float] = {}
        self.mixed: list[str] = []  # modalities whose hidden sequence has seen others
        self._own: dict[str, str] = {}
        self._hooks = GradientHooks()
        self._changes: dict[str, Tensor] = {}
        # Not saved: whose the parameters are is found anew when training is resumed.
        self.register_buffer("prepared", torch.tensor(False), persistent=False)
        self.register_buffer("cosines", torch.zeros(len(self.spec.modalities)))
        self.register_buffer("conflicts", torch.zeros(len(self.spec.modalities)))
        self.register_buffer("count", torch.tensor(0))

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.prepared:
            return
        self._own, self.shares = own_parameters("MMPareto", self)
        self.mixed = self._mixed()
        self._hooks.remove()
        self.prepared.fill_(True)

    def _mixed(self) -> list[str]:
        """The modalities whose hidden sequence is another one where the others are taken away."""
        reference = next(self.parameters())
        batch = Batch.random(self.spec, self.task).to(reference.device)
        given = {name: batch.modality(name) for name in self.spec.modalities if not batch.modality(name).is_tokens}
        batch = batch.replace(**{name: part.replace(x=part.x.to(reference.dtype)) for name, part in given.items()})
        with torch.no_grad(), evaluating(self.backbone):
            hidden = self._hidden(self.backbone(batch))
            alone = {m: self._hidden(self.backbone(blanked(batch, (m,), self.spec)))[m] for m in self.spec.modalities}
        return [name for name in alone if not torch.allclose(alone[name], hidden[name], atol=1e-4)]

    def _hidden(self, output: Output) -> dict[str, Tensor]:
        assert output.hidden is not None
        return output.hidden

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        if not self._own:
            raise MERError("MMPareto does not know yet whose the parameters are; fit it, or call prepare")
        parameters = {n: p for n, p in self.nest[-1].named_parameters() if n in self._own and p.requires_grad}
        if self.mode == "train" and not self._hooks.installed:
            self._hooks.install(parameters, self._changed)
        for step in self.backbone.steps(batch):
            yield self._meet(step, parameters)

    def _meet(self, step: Step, parameters: dict[str, nn.Parameter]) -> Step:
        """L = L_0 + w sum L_m, whose gradients for the parameters of m are compared."""
        pooled = pooled_hidden(self, step)
        losses = self._losses(pooled, step)
        task = self.task.weighted(step.output.logits, step.batch.target, step.task_weight)
        if torch.is_grad_enabled():
            self._compare(distributed_mean(task), losses, parameters)
        if self.mode == "watch":  # heads learn, and the network learns nothing of them
            losses = self._losses({name: vectors.detach() for name, vectors in pooled.items()}, step)
        return replace(step, losses={**step.losses, **{f"mmpareto/{name}": loss for name, loss in losses.items()}})

    def _losses(self, pooled: dict[str, Tensor], step: Step) -> dict[str, Tensor]:
        found = head_losses(self.heads, self.task, pooled, step)
        return {name: self.unimodal_weight * loss for name, loss in found.items()}

    def _compare(self, joint: Tensor, losses: dict[str, Tensor], parameters: dict[str, nn.Parameter]) -> None:
        """Notes whether gradients are in conflict and, for ``train``, what is to be added to them."""
        cosines, self._changes = [], {}
        of_joint = _gradients(joint, parameters)
        for name in self.spec.modalities:
            own = {n: p for n, p in parameters.items() if self._own[n] == name}
            if not own:
                cosines.append(joint.new_zeros(()))
                continue
            of_alone = _gradients(losses[name], own)
            pairs = {n: (process_mean(of_joint[n]), process_mean(of_alone[n])) for n in own}
            flat = [torch.cat([pair[i].flatten() for pair in pairs.values()]).float() for i in (0, 1)]
            cosines.append(cosine(flat[0], flat[1]))
            if self.mode == "train":
                weights = pareto_weights(flat[0], flat[1])
                for n, (first, second) in pairs.items():
                    self._changes[n] = pareto_gradient(first, second, weights, self.gamma) - first - second
        if self.training:
            found = torch.stack(cosines).float()
            finite = found.isfinite().all()  # losses that are not are for those who watch them
            self.cosines = torch.where(finite, running_mean(self.cosines, self.count, found), self.cosines)
            against = running_mean(self.conflicts, self.count, (found < 0).float())
            self.conflicts = torch.where(finite, against, self.conflicts)
            self.count = self.count + finite

    def _changed(self, name: str, gradient: Tensor) -> Tensor:
        change = self._changes.get(name)
        return gradient if change is None or not self.training else gradient + change.to(gradient.dtype)

    @override
    def diagnostics(self) -> dict[str, float]:
        means = {"conflict": self.conflicts.tolist(), "cosine": self.cosines.tolist()}
        owners = set(self._own.values()) or set(self.spec.modalities)
        found = {
            f"mmpareto/{kind}_{name}": value
            for kind, values in means.items()
            for name, value in zip(self.spec.modalities, values, strict=True)
            if name in owners
        }
        return {**super().diagnostics(), **found}

    @override
    def notes(self) -> list[str]:
        found, network = [], self.nest[-1]
        if self.shares and few_own(network, self.shares):
            found.append(few_told("MMPareto", network, self.shares))
        if self.mixed:
            found.append(
                f"MMPareto: hidden sequences of {', '.join(self.mixed)} in {network.name} have seen other modalities,"
                " so that their losses are not of one alone"
            )
        return [*found, *super().notes()]


def _gradients(loss: Tensor, parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Gradients of a loss; zeros for parameters on which it does not hang."""
    each = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(parameters.items(), each, strict=True)
    }
