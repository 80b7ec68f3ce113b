"""Recurrent Multistage Fusion Network (RMFN): what goes on at a word is fused in stages, each of which looks elsewhere.

Idea: an LSTM for each modality reads word by word, and each also reads a vector in which all were fused at the word
before. That vector is made in stages: a first recurrence over the stages highlights some of the states, a second one
fuses what was highlighted with what the stages before have found, and a summary of all stages goes back into the LSTMs.

Input and shapes (B batch, T words, D_m features and h_m LSTM width of modality m, h their sum, d cross-modal width):
    batch.text (B, T, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v); where audio and vision have other
    steps than the text they are averaged over as many equal spans as it has words (layers/sequence.py, at_words);
    output.features (B, h + d), the last states and the last fused vector; output.hidden[m] (B, T, h_m), the states of
    the LSTM of m.

Where the paper is in the code:
    LSTHM, the LSTMs that read z        RMFN.cells, RMFN.cross, functional/multistage_fusion.py, multistage_states
    HIGHLIGHT                           RMFN.highlight, RMFN.attention, functional/multistage_fusion.py, fuse_stages
    FUSE                                RMFN.fuse_stage, the same function
    SUMMARIZE                           RMFN.summary

One and two modalities work. Without text, the first modality's steps are the words.

What is inferred, as no faithful code is known and of the paper the abstract, the introduction and a reader's note on
its stages were at hand:
    * from the note: the two recurrences over the stages, that what is highlighted is a product with the states, that
      the summary reads the outputs of all stages, and that it goes back into every LSTM at the next word;
    * attention: that the weights of the coordinates sum up to 1 ("softmax"), or that each is by itself ("sigmoid");
      that a linear map stands between the state of the recurrence and them;
    * that both recurrences start from zero at every word and have one set of weights for all words and stages;
    * that the classifier is linear and reads the last states and the last fused vector; all widths, that the summary
      has one hidden layer (summary_dim), and where dropout stands; three stages.
Padding is moved to the end, where it meets no state that is read. The paper has no protocol for what is missing: zeros
go in.

Reproduction: every equation above against a plain transcription; no parity is claimed, as there is nothing to compare
with. Scores not yet run.

References:
    Liang, Liu, Zadeh, Morency, "Multimodal Language Analysis with Recurrent Multistage Fusion", EMNLP 2018,
    arXiv:1808.03920.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.functional.multistage_fusion import Cell, Stages, multistage_states
from mer_zoo.functional.padding import left_align, undo_left_align
from mer_zoo.layers.mlp import MLP
from mer_zoo.layers.sequence import at_words, masked_last
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["RMFN"]

Attention = Literal["softmax", "sigmoid"]


class RMFN(Backbone):
    """Recurrent Multistage Fusion Network (Liang et al., 2018); see the module's text for what is inferred.

    Args:
        spec: Shapes of the data; one, two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        hidden_dims: Widths of the LSTMs of text, audio and vision.
        cross_dim: Width d of the fused vector.
        stages: Number K of stages.
        highlight_dim: Width of the recurrence that highlights.
        fuse_dim: Width of the recurrence that fuses.
        summary_dim: Width between the two maps of the summary.
        attention: Weights of the coordinates, "softmax" or "sigmoid".
        summary_dropout: Dropout between the two maps of the summary.
        out_dropout: Dropout in front of the classifier.

    Raises:
        MERError: For less than one stage, or an unknown attention.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> output = RMFN(spec, task, hidden_dims=(8, 4, 4), cross_dim=6)(Batch.random(spec, task, size=3))
        >>> output.features.shape, output.hidden["audio"].shape
        (torch.Size([3, 22]), torch.Size([3, 6, 4]))
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        hidden_dims: tuple[int, int, int] = (128, 32, 32),
        cross_dim: int = 64,
        stages: int = 3,
        highlight_dim: int = 64,
        fuse_dim: int = 64,
        summary_dim: int = 64,
        attention: Attention = "softmax",
        summary_dropout: float = 0.2,
        out_dropout: float = 0.2,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("RMFN", "attention", attention, get_args(Attention))
        if stages < 1:
            raise MERError(f"stages of RMFN is {stages}, but must be at least 1")
        self.words, self.stages = spec.modalities[0], stages
        self.softmax, self.out_dropout = attention == "softmax", out_dropout
        widths = dict(zip(MODALITIES, hidden_dims, strict=True))
        self.widths = [widths[name] for name in spec.modalities]
        total = sum(self.widths)
        self.cells = nn.ModuleDict({m: nn.LSTMCell(width, widths[m]) for m, width in self.input_dims.items()})
        self.cross = nn.ModuleDict({m: nn.Linear(cross_dim, 4 * widths[m], bias=False) for m in spec.modalities})
        self.highlight, self.fuse_stage = nn.LSTMCell(total, highlight_dim), nn.LSTMCell(total, fuse_dim)
        self.attention = nn.Linear(highlight_dim, total)
        self.summary = MLP(stages * fuse_dim, summary_dim, cross_dim, summary_dropout)
        self.feature_dim = total + cross_dim
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        self.hidden_shape = {name: (spec.length(self.words), widths[name]) for name in spec.modalities}
        self.hidden_axes = dict.fromkeys(spec.modalities, self.words)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        words = given[self.words].mask
        joined = torch.cat([at_words(modality, words, self.spec.aligned) for modality in given.values()], 2)
        x, real, order = left_align(joined, words)
        h, z = self._read(x)
        features = dropout(masked_last(torch.cat([h, z], 2), real), self.out_dropout, self.training)
        states = undo_left_align(torch.where(real[..., None], h, 0.0), order)
        hidden = dict(zip(self.spec.modalities, torch.split(states, self.widths, 2), strict=True))
        return Output(self.classify(features), features, hidden)

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """States (B, T, h) and fused vectors (B, T, d) over the joined words (B, T, sum of D_m)."""
        cells = [_weights(module) for module in self.cells.values()]
        parts = torch.split(x, list(self.input_dims.values()), 2)
        inputs = [F.linear(part, cell.weight, cell.bias) for part, cell in zip(parts, cells, strict=True)]
        stages = Stages(_weights(self.highlight), self._choose, _weights(self.fuse_stage), self.stages)
        cross = [module.weight for module in self.cross.values() if isinstance(module, nn.Linear)]
        return multistage_states(inputs, [cell.recurrent for cell in cells], cross, stages, self.summary)

    def _choose(self, q: Tensor) -> Tensor:
        """Weights (B, h) of the coordinates, of a state (B, H) of the recurrence that highlights."""
        scores: Tensor = self.attention(q)
        return scores.softmax(1) if self.softmax else scores.sigmoid()


def _weights(cell: nn.Module) -> Cell:
    assert isinstance(cell, nn.LSTMCell)
    return Cell(cell.weight_ih, cell.weight_hh, cell.bias_ih + cell.bias_hh)
