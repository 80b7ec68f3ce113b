"""RAVEN: what is heard and seen during a word moves its vector, and an LSTM reads the moved words.

Idea: the same word means something else said with a frown. For each modality beside the text an LSTM reads the frames
that belong to a word; a gate says how much of its last state counts for this word, and what the modalities say together
moves the word's vector, by no more than a share of its length.

Input and shapes (B batch, T words of D_l features, L_m frames of D_m features, h width of the word LSTM):
    batch.text (B, T, D_l); batch.audio, batch.vision (B, L_m, D_m), aligned or not, either or none of them;
    output.features (B, h), the state after the last word; output.hidden[m] (B, T, h), the states of the word LSTM under
    the name of every modality in use.

Where the paper is in the code (h_m the state after the frames of a word, e its vector):
    frames of a word               backbones/raven/subwords.py
    w_m = sigmoid(W [h_m; e] + b)  RAVEN.gates
    h = sum of w_m W_m h_m + b_h   RAVEN.maps, RAVEN.bias
    e' = e + alpha h               functional/word_shift.py, shift_words, alpha = min(beta ||e|| / ||h||, 1)
    LSTM over e'                   RAVEN.lstm

What is decided here, as the paper has frames with the times of words, which the usual files have not:
    * aligned data have one step a word; of other data the frames are cut evenly over the words, and a word of many
      frames has ``steps`` means of them;
    * frames that are not observed make no step; a word without any step of a modality has the state zero, and is not
      moved where no modality has one;
    * beta is that of the code, as the paper's was not at hand: search it. So are the widths; the place of the dropout.

The authors' code computes something else, which ``variant="released"`` brings back as it was read, and was not run:
    * nothing of what is heard and seen learns: its maps, LSTMs, gates and shift get no gradient and are a fixed random
      function, of which the words alone learn to make something; these parameters are frozen;
    * gates have no sigmoid; a shift is first cut to a length of beta, then multiplied by the word's length, so that a
      short one is made shorter;
    * the audio is normalised by the statistics of the batch for each place of a word, at test, too, so that a
      prediction hangs on the other samples;
    * a word without anything heard or seen is moved by the bias all the same.

Reproduction: every equation above against a plain transcription; no parity is claimed. Scores not yet run.

References:
    Wang, Shen, Liu, Liang, Zadeh, Morency, "Words Can Shift: Dynamically Adjusting Word Representations Using Nonverbal
    Behaviors", AAAI 2019, arXiv:1811.09362.
    Released code: victorywys/RAVEN (no licence); nothing copied.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.raven.subwords import SubwordLSTM, subwords
from mer_zoo.batch import DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.functional.word_shift import shift_words
from mer_zoo.layers.recurrent import masked_rnn
from mer_zoo.layers.sequence import check_lengths
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["RAVEN"]

Variant = Literal["ours", "released"]


class RAVEN(Backbone):
    """Recurrent Attended Variation Embedding Network of Wang et al. (2019); see the module's text.

    Args:
        spec: Shapes of the data; text, and any of the others.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width h of the LSTM over the words.
        nonverbal_dim: Width of the LSTMs over the frames of a word.
        beta: Largest length of a shift, relative to that of the word.
        steps: Largest number of steps that a word has of a modality.
        frame_dropout: Dropout of the frames.
        word_dropout: Dropout of the moved words.
        variant: "ours", or "released" for what the authors' code computes.

    Raises:
        MERError: If text is not in use, or for an option out of range.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> output = RAVEN(spec, task, dim=8, nonverbal_dim=4)(Batch.random(spec, task, size=3))
        >>> output.features.shape, output.hidden["audio"].shape
        (torch.Size([3, 8]), torch.Size([3, 6, 8]))
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 300,
        nonverbal_dim: int = 150,
        beta: float = 0.2,
        steps: int = 20,
        frame_dropout: float = 0.2,
        word_dropout: float = 0.2,
        variant: Variant = "ours",
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("RAVEN", "variant", variant, get_args(Variant))
        if "text" not in spec.modalities:
            raise MERError(f"RAVEN moves words, but the data has {', '.join(spec.modalities)}; give text, too")
        for name, value in {"beta": beta, "steps": steps}.items():
            if value <= 0:
                raise MERError(f"{name} of RAVEN is {value}, but must be above 0")
        self.beta, self.steps_a_word, self.word_dropout = beta, steps, word_dropout
        self.released = self.fixed_length = self.reads_padding = variant == "released"
        others, words = [name for name in spec.modalities if name != "text"], self.input_dims["text"]
        self.frames = nn.ModuleDict(
            {
                name: SubwordLSTM(
                    self.input_dims[name],
                    nonverbal_dim,
                    frame_dropout,
                    spec.text_len if self.released and name == "audio" else None,
                )
                for name in others
            }
        )
        self.gates = nn.ModuleDict({name: nn.Linear(nonverbal_dim + words, 1) for name in others})
        self.maps = nn.ModuleDict({name: nn.Linear(nonverbal_dim, words, bias=False) for name in others})
        self.bias = nn.Parameter(torch.zeros(words)) if others else None
        if self.released and self.bias is not None:
            for part in (self.frames, self.gates, self.maps, self.bias):
                part.requires_grad_(False)
        self.lstm = nn.LSTM(words, dim, batch_first=True)
        self.feature_dim = dim
        self.head = nn.Linear(dim, task.num_outputs)
        self.hidden_shape = dict.fromkeys(spec.modalities, (spec.text_len, dim))
        self.hidden_axes = dict.fromkeys(spec.modalities, "text")

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        if self.released:
            check_lengths("RAVEN", {"text": text.x}, {"text": self.spec.text_len})
        moved = dropout(self._move(text, given), self.word_dropout, self.training)
        states, features = masked_rnn(self.lstm, moved, text.mask)
        return Output(self.classify(features), features, dict.fromkeys(self.spec.modalities, states))

    def _move(self, text: Modality, given: dict[str, Modality]) -> Tensor:
        """The words (B, T, D_l), moved by what is heard and seen."""
        if self.bias is None:
            return text.x
        words = text.x.detach() if self.released else text.x
        states, seen = {}, torch.zeros_like(text.mask)
        for name, read in self.frames.items():
            x, there = subwords(given[name], text.mask, self.steps_a_word, self.spec.aligned)
            states[name], seen = read(x, there), seen | there.any(2)
        shift = torch.stack([self.weigh(name, h, words) * self.maps[name](h) for name, h in states.items()]).sum(0)
        shift = shift + self.bias
        if self.released:
            length: Tensor = torch.linalg.vector_norm(shift, dim=2, keepdim=True)
            shift = (shift * self.beta / length.clamp(min=1)).detach()
            released: Tensor = text.x + torch.linalg.vector_norm(text.x, dim=2, keepdim=True) * shift
            return released
        return shift_words(text.x, torch.where(seen[..., None], shift, 0.0), self.beta)

    def weigh(self, name: str, h: Tensor, words: Tensor) -> Tensor:
        """How much the states (B, T, .) of a modality count for words (B, T, D_l): (B, T, 1)."""
        scores: Tensor = self.gates[name](torch.cat([h, words], 2))
        return scores if self.released else scores.sigmoid()
