"""The port of MCTN in MultiBench, another network than that of MMSA (network.py), of the same idea.

Differences from network.py: gated recurrent units; decoders carry their state, see the true step before theirs in a
share of the steps of training alone, and look at the source by weights that sum up to nothing in particular; the
representation is read from the second modality as it was decoded, not from the source; the classifier has a layer of
its own. So a prediction in training reads the true second modality, and one in a test the source alone.

Input and shapes (B batch, T steps of the source, D_m features of modality m, P the largest, h width, r of features):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), the first `max_steps` of each;
    output.features (B, r), the last state of a recurrent network over what the second encoder says; output.hidden[m]
    (B, T, h), under all names what the second encoder says of each step.

Differences from the released code, and why; ``variant="released"`` brings its behaviour back:
    * in a test it hands on the two final states of the first encoder in place of its sequence, and so again behind the
      second, so that training and test compute different functions (`test: states`); here sequences in both;
    * what is predicted goes through a log-softmax, though targets are features of any sign; here not (`log_softmax`);
    * dropout strikes the prediction itself; here the features alone;
    * padding and columns that only fill the width are targets; here real and observed steps (`masked_targets`).
Kept from it: the weights of the attention, a softmax over time of each feature, of which a ReLU of a sum is taken; here
the sum starts positive.

Reproduction: the training branch with given draws, losses and gradients, and both readings of the test branch, to 1e-5.
Scores not yet run.

References:
    Pham et al., "Found in Translation", AAAI 2019; Liang et al., "MultiBench: Multiscale Benchmarks for Multimodal
    Representation Learning", NeurIPS 2021 (datasets and benchmarks). Released code: pliang279/MultiBench (MIT); nothing
    copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

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

__all__ = ["MultiBenchMCTN", "Translated", "taught"]

Variant = Literal["ours", "released"]
Test = Literal["sequences", "states"]
CHAIN = ("text", "vision", "audio")


class Translated(NamedTuple):
    """What was translated in training, each (B, T, P); None in a test, or where there is no third modality."""

    there: Tensor | None
    back: Tensor | None = None
    second: Tensor | None = None


def taught(steps: int, share: float) -> list[bool]:
    """For each step whether the next one is told the truth, drawn anew.

    Args:
        steps: Their number.
        share: Probability.

    Example:
        >>> taught(3, 0.0), taught(2, 1.0)
        ([False, False, False], [True, True])
    """
    return (torch.rand(steps) < share).tolist()


class Decoder(nn.Module):
    """Make a sequence step by step of its own steps, or of true ones, and an attention over the encoded source.

    Args:
        output_dim: Width P of the sequence.
        dim: Width h.
        log_softmax: Whether predictions are log-probabilities.
    """

    def __init__(self, output_dim: int, dim: int, log_softmax: bool) -> None:
        super().__init__()
        self.log_softmax, self.output_dim = log_softmax, output_dim
        self.attn = nn.Linear(2 * dim, dim)
        # not below 0, where the ReLU would give every step the weight 0 and no gradient
        self.v = nn.Parameter(torch.empty(dim).uniform_(0, dim**-0.5))
        self.gru = nn.GRUCell(output_dim + dim, dim)
        self.out = nn.Linear(2 * dim, output_dim)

    @override
    def forward(
        self, states: Tensor, state: Tensor, mask: Tensor, truth: Modality | None, told: list[bool] | None
    ) -> Tensor:
        """As many steps (B, T, P) as the source has.

        Args:
            states: (B, T, h) of the source.
            state: (B, h), where the decoder starts.
            mask: (B, T) bool.
            truth: (B, T', P) true steps, for those of `told`.
            told: For each step whether the next one is told the true one.
        """
        y = states.new_zeros(len(states), self.output_dim)
        made = []
        for step in range(states.shape[1]):
            scores = self.attn(torch.cat([state[:, None].expand_as(states), states], 2))
            energy = scores.masked_fill(~mask[..., None], -torch.inf).softmax(1).nan_to_num(0.0)
            weights = torch.relu(match_type(energy, self.v) @ self.v)
            context = (weights[:, None].to(states.dtype) @ states).squeeze(1)
            state = self.gru(torch.cat([y.to(states.dtype), context], 1), state).to(states.dtype)
            y = self.out(torch.cat([state, context], 1))
            y = y.log_softmax(1) if self.log_softmax else y
            made.append(y)
            if truth is not None and told is not None and told[step] and step < truth.x.shape[1]:
                y = torch.where(truth.observed[:, step, None], truth.x[:, step].to(y.dtype), y)
        return torch.stack(made, 1)


class Pair(nn.Module):
    """An encoder whose directions are added, and the decoder that starts where its forward direction ends.

    Args:
        input_dim: Width of the source.
        output_dim: Width P of what is made.
        dim: Width h.
        log_softmax: Whether predictions are log-probabilities.
    """

    def __init__(self, input_dim: int, output_dim: int, dim: int, log_softmax: bool) -> None:
        super().__init__()
        self.encoder = nn.GRU(input_dim, dim, batch_first=True, bidirectional=True)
        self.decoder = Decoder(output_dim, dim, log_softmax)

    def encode(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, h), and the final states of both directions (B, 2, h)."""
        states, final = masked_rnn(self.encoder, x, mask)
        forward, backward = states.chunk(2, 2)
        return forward + backward, torch.stack(final.chunk(2, 1), 1)


class MultiBenchMCTN(Backbone):
    """Multimodal cyclic translation network as in MultiBench; see the module's text.

    Args:
        spec: Shapes of the data; text, vision and audio.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width h of encoders and decoders.
        feature_dim: Width r of what is classified.
        head_dim: Width of the layer before the scores.
        translation_weight: Weight of each of the three translations.
        teacher_rate: Share of the steps of training behind which the decoder is told the truth.
        max_steps: So many first steps of a modality are read.
        dropout: Of the features.
        log_softmax: Whether predictions are log-probabilities.
        test: What the first encoder hands on in a test, its "sequences", or its final "states".
        masked_targets: Whether losses leave out padding and what is not observed.
        variant: "ours", or "released".

    Raises:
        MERError: If a modality is not in use, or for an option out of range.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> (step,) = MultiBenchMCTN(spec, task, dim=4, feature_dim=6).steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 6]), ['mctn/cycle', 'mctn/second', 'mctn/translation'])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 32,
        feature_dim: int = 32,
        head_dim: int = 64,
        translation_weight: float = 0.01,
        teacher_rate: float = 0.5,
        max_steps: int = 20,
        dropout: float = 0.15,
        log_softmax: bool | None = None,
        test: Test | None = None,
        masked_targets: bool | None = None,
        variant: Variant = "ours",
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("MultiBenchMCTN", "variant", variant, get_args(Variant))
        released = variant == "released"
        test = ("states" if released else "sequences") if test is None else test
        check_choice("MultiBenchMCTN", "test", test, get_args(Test))
        check_weights("MultiBenchMCTN", {"translation_weight": translation_weight})
        if len(spec.modalities) < len(MODALITIES):
            raise MERError(
                "MultiBenchMCTN translates text into vision and audio, but the data is used with"
                f" {', '.join(spec.modalities)}; take MCTN"
            )
        if max_steps < 1 or not 0 <= teacher_rate <= 1:
            raise MERError(
                f"max_steps and teacher_rate of MultiBenchMCTN are {max_steps} and {teacher_rate}; give at least 1 step"
                " and a rate in [0, 1]"
            )
        self.weight, self.teacher_rate, self.max_steps = translation_weight, teacher_rate, max_steps
        self.hands_on_states = test == "states"
        self.masked_targets = not released if masked_targets is None else masked_targets
        log_softmax = released if log_softmax is None else log_softmax
        self.width = max(self.input_dims.values())
        self.first = Pair(self.width, self.width, dim, log_softmax)
        self.second = Pair(dim, self.width, dim, log_softmax)
        self.rnn = nn.GRU(dim, feature_dim, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.feature_dim = feature_dim
        last = [nn.Dropout(dropout)] if released else []
        self.head = nn.Sequential(
            nn.Linear(feature_dim, head_dim), nn.ReLU(), nn.Linear(head_dim, task.num_outputs), *last
        )
        if not self.hands_on_states:
            self.hidden_shape = dict.fromkeys(MODALITIES, (min(spec.text_len, max_steps), dim))
            self.hidden_axes = dict.fromkeys(MODALITIES, "text")

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        source, target, third = (self._given(given[name]) for name in CHAIN)
        mask = source.mask
        there = self._decode(self.first, *self.first.encode(source.x, mask), mask, target)
        states, final = self.first.encode(zero_padding(there, mask), mask)
        translated = Translated(None)
        if self.training:
            back = self._decode(self.first, states, final, mask, source)
        elif self.hands_on_states:
            states, mask = final, torch.ones_like(mask[:, :1]).expand(-1, 2)
        joint, last = self.second.encode(states, mask)
        if self.training:
            translated = Translated(there, back, self._decode(self.second, joint, last, mask, third))
        elif self.hands_on_states:
            joint = last
        features = self.dropout(masked_rnn(self.rnn, joint, mask)[1])
        hidden = None if self.hands_on_states else dict.fromkeys(MODALITIES, joint)
        return Output(self.classify(features), features, hidden, aux=translated)

    def _given(self, modality: Modality) -> Modality:
        """The first steps at the common width, zero at padding."""
        cut = modality.window(0, self.max_steps)
        x = F.pad(cut.x, (0, self.width - cut.x.shape[2]))
        return cut.replace(x=zero_padding(x, cut.mask), observed=cut.mask & cut.observed)

    def _decode(self, pair: Pair, states: Tensor, final: Tensor, mask: Tensor, truth: Modality) -> Tensor:
        told = taught(states.shape[1], self.teacher_rate) if self.training else None
        made: Tensor = pair.decoder(states, final[:, 0], mask, truth, told)
        return made

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        translated: Translated = output.aux
        made = {"translation": translated.there, "cycle": translated.back, "second": translated.second}
        names = dict(zip(made, (CHAIN[1], CHAIN[0], CHAIN[2]), strict=True))
        return {
            f"mctn/{kind}": self.weight * self._error(x, batch, names[kind], output.inputs)
            for kind, x in made.items()
            if x is not None
        }

    def _error(self, made: Tensor, batch: Batch, name: str, inputs: Mapping[str, Tensor]) -> Tensor:
        """Mean squared error over the steps that source and target both have."""
        truth = self._given(batch.modality(name).replace(x=inputs[name].detach(), token_ids=None))
        steps = min(made.shape[1], truth.x.shape[1])
        squares = (widen(made[:, :steps]) - widen(truth.x[:, :steps])).square()
        if not self.masked_targets:
            return distributed_mean(squares)
        seen = truth.observed[:, :steps] & batch.text.mask[:, : self.max_steps][:, :steps]
        columns = squares[..., : self.input_dims[name]].mean(2)
        return distributed_mean(columns, seen.to(columns.dtype))
