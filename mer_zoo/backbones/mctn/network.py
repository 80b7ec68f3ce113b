"""MCTN: the text is translated into the other modalities and back, and what its encoders say is the representation.

Idea: a modality is translated into a second one and back, by the same encoder and decoder; what the encoder says of it
must then hold what both have in common. Its states are translated into a third modality by a second pair, and a
recurrent network with an attention reads the states of that encoder. The prediction needs the first modality alone.

Input and shapes (B batch, T_m steps and D_m features of modality m, P the largest D_m, h width):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not, any of them alone;
    output.features (B, h), the states weighted by the attention; output.hidden[m] (B, T, h), under all names the
    states of the last encoder along the source; output.aux, a :class:`Chain`.

Where the paper is in the code:
    encoder, decoder with attention       backbones/mctn/translation.py
    cyclic and second translation         MCTN.losses
    regression                            MCTN.fuse

Missing modalities: training needs the source and what it is translated into; a prediction reads the source, by default
the text, and nothing else. So a missing target changes no prediction, and where the source is missing all samples get
the same one; with sets of modalities, the figures of a test hang on whether the source is in them. Papers that print
different figures for audio, for vision and for both must have trained a chain for each: `chain` chooses it.

What is decided here:
    * chain: the first modality in use is the source, two others are translated into; of two modalities there is the
      cycle alone, of one no translation;
    * steps: the first `max_steps` steps of a modality are translated into, as each takes a pass of the decoder.

Differences from the usual code (MMSA), and why; options bring its behaviour back:
    * variant: it takes the batch for time: every recurrence and every attention but the last runs over the samples of
      the batch, so that a prediction hangs on the others and on their order; here over time, padding hidden;
    * masked_targets: padding, columns that only fill the width, and the first step, which is never predicted, count in
      its losses; here steps that are real and observed, in the columns of their modality;
    * no gradient runs into what is translated into, which matters behind a text encoder (fixed);
    * recurrent weights of the decoders, of which nothing hangs on one step from zero states, are not built (fixed).
The port of MultiBench is another network, multibench.py; the authors' own code, whose decoders see no true step, is not
here.

Reproduction: outputs, losses and gradients of the usual code (MMSA), over the batch and over time, to 1e-5. Scores not
yet run.

References:
    Pham, Liang, Manzini, Morency, Póczos, "Found in Translation: Learning Robust Joint Representations by Cyclic
    Translations Between Modalities", AAAI 2019.
    Released code: thuiar/MMSA (MIT), hainow/MCTN (GPL); nothing copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.mctn.translation import Decoder, Encoded, Encoder, masked_softmax
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.precision import match_type, widen
from mer_zoo.layers.recurrent import masked_rnn
from mer_zoo.layers.sequence import zero_padding
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task

__all__ = ["MCTN", "Chain"]

Variant = Literal["ours", "released"]


class Chain(NamedTuple):
    """What the encoders say of the source, for the translations; time and batch are changed in the released variant."""

    first: Encoded
    second: Encoded | None


class MCTN(Backbone):
    """Multimodal cyclic translation network of Pham et al. (2019); see the module's text.

    Args:
        spec: Shapes of the data; any modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width h.
        chain: The source and what it is translated into, in that order; modalities not in use are passed over.
        translation_weight: Weight of the translation of the source into the second modality.
        cycle_weight: Weight of the way back.
        second_weight: Weight of the translation into the third.
        max_steps: So many first steps of a modality are translated into.
        masked_targets: Whether the losses leave out padding, what is not observed, and the first step.
        variant: "ours", or "released" for the recurrence over the batch.

    Raises:
        MERError: For an option out of range, and in the released variant for lengths that differ.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> (step,) = MCTN(spec, task, dim=8).steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 8]), ['mctn/cycle', 'mctn/second', 'mctn/translation'])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 32,
        chain: Sequence[str] = ("text", "vision", "audio"),
        translation_weight: float = 0.1,
        cycle_weight: float = 0.1,
        second_weight: float = 0.1,
        max_steps: int = 50,
        masked_targets: bool | None = None,
        variant: Variant = "ours",
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("MCTN", "variant", variant, get_args(Variant))
        if sorted(chain) != sorted(MODALITIES):
            raise MERError(
                f"chain of MCTN is {list(chain)}; name each of {', '.join(MODALITIES)} once, the source first"
            )
        if max_steps < 1:
            raise MERError(f"max_steps of MCTN is {max_steps}, but must be at least 1")
        self.weights = {"translation": translation_weight, "cycle": cycle_weight, "second": second_weight}
        check_weights("MCTN", {f"{name}_weight": weight for name, weight in self.weights.items()})
        self.released, self.max_steps = variant == "released", max_steps
        self.masked_targets = not self.released if masked_targets is None else masked_targets
        self.fixed_length = self.reads_padding = self.released
        self.chain = [name for name in chain if name in spec.modalities]
        lengths = {self._length(name) for name in self.chain}
        if self.released and len(lengths) > 1:
            raise MERError(f"MCTN as released needs equal lengths, but those in use are {sorted(lengths)}; choose ours")
        self.width = max(self.input_dims[name] for name in self.chain)

        self.encoder1 = Encoder(self.width, dim, starts=len(self.chain) > 1)
        self.decoder1 = Decoder(self.width, dim) if len(self.chain) > 1 else None
        self.encoder2 = Encoder(dim, dim) if len(self.chain) > 2 else None
        self.decoder2 = Decoder(self.width, dim) if len(self.chain) > 2 else None
        self.rnn = nn.LSTM(dim, dim, batch_first=True)
        self.score = nn.Linear(dim, 1)
        self.feature_dim = dim
        self.head = nn.Linear(dim, task.num_outputs)
        self.hidden_shape = dict.fromkeys(spec.modalities, (self._length(self.chain[0]), dim))
        self.hidden_axes = dict.fromkeys(spec.modalities, self.chain[0])

    def _length(self, name: str) -> int:
        length = self.spec.length(name)
        return min(length, self.max_steps) if self.released else length

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        source = self.in_use(text, audio, vision)[self.chain[0]]
        x, mask = self._given(source.x, source.mask)
        first = self.encoder1(x, mask)
        second = None if self.encoder2 is None else self.encoder2(first.states, mask)
        states = first.states if second is None else second.states
        read = masked_rnn(self.rnn, states, mask)[0]
        # Here alone the released code takes the second axis for time, which it is.
        states, read, mask = self._turned(states), self._turned(read), self._turned(mask)
        weights = masked_softmax(torch.tanh(self.score(read)).squeeze(2), mask)
        features = (match_type(weights, read)[:, None] @ read).squeeze(1)
        return Output(
            self.classify(features), features, dict.fromkeys(self.spec.modalities, states), aux=Chain(first, second)
        )

    def _given(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A sequence at the common width; in the released variant its first steps without a mask, batch for time."""
        x = F.pad(x, (0, self.width - x.shape[2]))
        if not self.released:
            return zero_padding(x, mask), mask
        x = x[:, : self.max_steps].transpose(0, 1)
        return x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)

    def _turned(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1) if self.released else x

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        chain: Chain = output.aux
        if self.decoder1 is None:
            return {}
        source, target = self.chain[:2]
        truth = {name: self._target(output, batch, name) for name in self.chain}
        there = self.decoder1(chain.first, truth[target][0])
        encoded = self.encoder1(there, truth[target][1])
        back = self.decoder1(encoded, truth[source][0])
        losses = {
            "translation": self._error(there, batch, target, truth),
            "cycle": self._error(back, batch, source, truth),
        }
        if self.decoder2 is not None and chain.second is not None:
            third = self.chain[2]
            losses["second"] = self._error(self.decoder2(chain.second, truth[third][0]), batch, third, truth)
        return {f"mctn/{name}": self.weights[name] * loss for name, loss in losses.items()}

    def _target(self, output: Output, batch: Batch, name: str) -> tuple[Tensor, Tensor]:
        """What is translated into, at the common width, and the mask of its steps."""
        x, mask = output.inputs[name].detach(), batch.modality(name).mask
        return self._given(x[:, : self.max_steps], mask[:, : self.max_steps])

    def _error(self, made: Tensor, batch: Batch, name: str, truth: dict[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Mean squared error of a translation."""
        x, mask = truth[name]
        squares = (widen(made) - widen(x)).square()
        if not self.masked_targets:
            return distributed_mean(squares)
        observed = self._turned(batch.modality(name).observed[:, : self.max_steps])
        steps = mask & observed & (mask.cumsum(1) > 1)
        columns = squares[..., : self.input_dims[name]].mean(2)
        return distributed_mean(columns, steps.to(columns.dtype))
