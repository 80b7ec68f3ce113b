"""MSSD: multimodal self-distillation, which makes any backbone robust to missing frames, words and modalities.

Idea: the network sees each training batch twice, complete and with frames and words missing at random. What it makes of
the incomplete view is drawn towards what it makes of the complete one: the joint representation, the attention of the
last layer, and the missing inputs themselves, which small decoders restore from the hidden sequences. Teacher and
student are one network; the teacher's side gets no gradient. After training nothing of it is left but the weights:
forward and predict are the inner model's.

Input and shapes (B batch, m each modality in use, T_m steps and D_m features of its input, h hidden steps and d hidden
width):
    inner model: features (B, D); for the reconstruction hidden[m] (B, h, d) and inputs[m] (B, T_m, D_m); for the
        attention term attention (B * heads, T, T).

Where the paper is in the code:
    two views (Eq. 2 and the appendix)   data/missing/views.py, data/missing/frames.py
    the three distances (Eqs. 17-19)     functional/distillation.py
    the objectives (Eqs. 28-30)          MSSD.steps, MSSD._distil
    decoders                             Decoder

Which view weighs what: both have their task loss. With ``two_stage`` they are two optimiser steps, complete first; the
targets are what the network said before the first of them. Without, both losses are summed in one step.

What to know of the attention term: it is least where both views look at everything alike, and in a short training it
takes the last layer of CIDerNet there, in both variants (docs/life.md); ``beta=0`` leaves it out.

Differences between the paper and the authors' code; the code is followed, ``variant="paper"`` brings what is printed:
    * reconstruction (17): the code averages over what is missing, the paper over all positions;
    * attention (18): the code's divergence is KL(complete, incomplete), the paper's KL(incomplete, complete).
These have options of their own:
    * the code keeps the first step's gradient, so that the second step takes the sum of both:
      ``accumulate_stage_gradients``;
    * the code draws a missing rate for each position, the paper says for each sample: ``rate``.
Differences of ours:
    * what the reconstruction counts, also where a backbone reads sequences that are already incomplete, is what the
      complete batch has and the view lacks;
    * any inner model: the attention term is left out where there is no attention map, a decoder of text has a map over
      time where the hidden sequence has another length than the text, and only modalities with a hidden sequence are
      restored.

Reproduction: losses to 1e-5 and two training steps to 1e-4 of the released code; on SyntheticMER see docs/results.md,
no figure of the paper yet.

References:
    Zhong, Huan, Wu, Liang and Chen, "Towards Robust Multimodal Emotion Recognition under Missing Modalities and
    Distribution Shifts", 2025, arXiv:2506.10452. Released code: gw-zhong/CIDer; nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, Output, Step
from mer_zoo.data.missing.frames import RMFM
from mer_zoo.data.missing.views import IncompleteViews, view_maker
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.distillation import attention_divergence, joint_distance, reconstruction_error
from mer_zoo.functional.variants import Variant
from mer_zoo.model import Model, Wrapper
from mer_zoo.options import check_choice, check_weights

__all__ = ["MSSD"]

_BETA = 0.1


class MSSD(Wrapper):
    """Self-distillation from complete to incomplete views; see the module's text for the idea.

    A term of weight 0 is not computed, and needs nothing of the inner model; with all three 0, training on incomplete
    views (augmentation) remains.

    Args:
        backbone: The model to train.
        alpha: The paper's alpha, weight of the reconstruction of what is missing.
        beta: The paper's beta, weight of the attention term; None is 0.1, or 0 where the inner model has no attention
            map.
        gamma: The paper's gamma, weight of the distance between joint representations.
        two_stage: Two optimiser steps a batch, complete view first; otherwise one step on the sum.
        rate: How the missing rate is drawn, ``per_sample`` or ``per_position``, or one rate in [0, 1].
        accumulate_stage_gradients: Keep the gradient of the first step, as it was clipped there, in the second.
        seed: Seed of the views; None for the global one.
        variant: ``released``, or ``paper`` for the printed Equations 17 and 18.

    Raises:
        MERError: If the inner model takes several optimiser steps or makes incomplete views itself, if it lacks what a
            term needs, or for an option out of range.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> model = MSSD(LFLSTM(spec, task))
        >>> complete, incomplete = model.steps(Batch.random(spec, task, size=2))
        >>> sorted(incomplete.losses)
        ['mssd/joint', 'mssd/recon']
    """

    def __init__(
        self,
        backbone: Model,
        alpha: float = 0.1,
        beta: float | None = None,
        gamma: float = 0.1,
        two_stage: bool = True,
        rate: float | Literal["per_sample", "per_position"] = "per_sample",
        accumulate_stage_gradients: bool = False,
        seed: int | None = None,
        variant: Variant = "released",
    ) -> None:
        super().__init__(backbone)
        check_choice("MSSD", "variant", variant, get_args(Variant))
        self.variant: Variant = variant
        self.alpha, self.gamma = alpha, gamma
        self.beta = (_BETA if backbone.attention_shape else 0.0) if beta is None else beta
        self._without_attention = beta is None and not backbone.attention_shape
        self._check_inner()
        if accumulate_stage_gradients and not two_stage:
            raise MERError(
                "MSSD can keep gradients only between two stages; set two_stage or leave out accumulate_stage_gradients"
            )
        self.num_steps = 2 if two_stage else 1
        self.accumulates_stages = accumulate_stage_gradients
        self.views = IncompleteViews(RMFM(rate), seed)
        self.decoders = nn.ModuleDict()
        if alpha:
            self.decoders.update({name: self._decoder(name) for name in backbone.hidden_shape or {}})
            self.fixed_length = True  # maps over time have the lengths of the spec built in

    def _check_inner(self) -> None:
        """Refuse weights out of range, nests that mean nothing, and terms that the inner model can't serve."""
        check_weights("MSSD", {"alpha": self.alpha, "beta": self.beta, "gamma": self.gamma})
        inner, name = self.backbone, self.backbone.name
        maker = view_maker(inner)
        if maker is not None:
            raise MERError(
                f"MSSD and {type(maker).__name__} both make the incomplete view; leave one of them out of the nest"
                f" {name}"
            )
        if inner.num_steps > 1:
            raise MERError(
                f"MSSD needs one optimiser step a batch inside, but {name} takes {inner.num_steps}; leave out one of"
                f" the two"
            )
        if inner.blanks_modalities:
            raise MERError(
                f"MSSD trains on incomplete views, in which modalities can't be weighed against each other as {name}"
                " does; leave one of them out"
            )
        if self.alpha and not inner.hidden_shape:
            raise MERError(
                f"MSSD restores inputs from hidden sequences of known shape, which {name} does not offer; give its"
                " hidden_shape, as to mer_zoo.adapt, or set alpha to 0"
            )
        if self.beta and not inner.attention_shape:
            raise MERError(f"MSSD compares attention maps, which {name} does not offer; set beta to 0, or leave it out")

    def _decoder(self, name: str) -> Decoder:
        assert self.hidden_shape is not None
        steps, width = self.hidden_shape[name]
        length = self.spec.length(name)
        timeless = name == "text" and steps == length
        return Decoder(width, self.input_dims[name], None if timeless else (steps, length))

    @override
    def notes(self) -> list[str]:
        missing = f"MSSD has no attention term: {self.backbone.name} offers no attention maps."
        return [*super().notes(), *([missing] if self._without_attention else [])]

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        view: Batch = self.views(batch, self.spec)
        targets = []
        for step in self.backbone.steps(batch):
            targets.append(self._target(step.output))
            yield step
        # The complete view's tensors are large, and nothing needs them any more.
        del step
        for step in self.backbone.steps(view):
            yield self._distil(step, targets.pop(0), batch)

    def _target(self, output: Output) -> Output:
        """What of the complete view the losses need, without gradient."""
        attention = output.attention.detach() if self.beta and output.attention is not None else None
        inputs = {name: output.inputs[name].detach() for name in self.decoders}
        return Output(output.logits.detach(), output.features.detach(), None, attention, inputs)

    def _distil(self, step: Step, target: Output, complete: Batch) -> Step:
        """L = L_task + alpha * L_recon + beta * L_attn + gamma * L_joint on the incomplete view."""
        losses = dict(step.losses)
        if self.alpha:
            losses["mssd/recon"] = self.alpha * self._reconstruction(step, target, complete)
        if self.beta:
            assert step.output.attention is not None
            assert target.attention is not None
            losses["mssd/attention"] = self.beta * distributed_mean(
                attention_divergence(step.output.attention, target.attention, self.variant)
            )
        if self.gamma:
            losses["mssd/joint"] = self.gamma * distributed_mean(joint_distance(step.output.features, target.features))
        return replace(step, losses=losses)

    def _reconstruction(self, step: Step, target: Output, complete: Batch) -> Tensor:
        """Sum over the modalities of the mean over the elements that are missing; as printed, over all."""
        assert step.output.hidden is not None
        losses = []
        for name, decoder in self.decoders.items():
            missing = complete.modality(name).observed & ~step.batch.modality(name).observed
            error = reconstruction_error(decoder(step.output.hidden[name]), target.inputs[name])
            counted = torch.ones_like(missing) if self.variant == "paper" else missing
            losses.append(distributed_mean(error, counted.to(error.dtype)))
        return torch.stack(losses).sum()


class Decoder(nn.Module):
    """Restores an input sequence from a hidden one: a map over time where there is one, a ReLU, then a map of features.

    Args:
        width: Hidden width.
        dim: Width of the input.
        lengths: Hidden steps and steps of the input; None for the same without a map over time.

    Example:
        >>> Decoder(8, 5, (6, 10))(torch.zeros(2, 6, 8)).shape
        torch.Size([2, 10, 5])
    """

    def __init__(self, width: int, dim: int, lengths: tuple[int, int] | None) -> None:
        super().__init__()
        self.time = None if lengths is None else nn.Linear(*lengths)
        self.features = nn.Linear(width, dim)

    @override
    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, steps, width) to (B, length, dim)."""
        if self.time is not None:
            if hidden.shape[1] != self.time.in_features:
                raise MERError(
                    f"MSSD's decoder was built for {self.time.in_features} hidden steps, not {hidden.shape[1]};"
                    " pad batches to the lengths of the spec"
                )
            hidden = F.relu(self.time(hidden.transpose(1, 2))).transpose(1, 2)
        result: Tensor = self.features(hidden)
        return result
