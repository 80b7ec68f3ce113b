"""Early-fusion LSTM (EF-LSTM): the modalities are joined at every word, then read by one LSTM.

Idea: the simplest recurrent baseline. Features of text, audio and vision that belong to one word form one vector; an
LSTM reads the words, and its last state decides.

Input and shapes (B batch, T_m steps and D_m features of modality m, h hidden width):
    batch.text (B, T_t, D_t) and so on; where lengths differ, audio and vision are averaged over as many equal spans as
    the text has real steps (layers/sequence.py, masked_resample), because only then there is a word level;
    output.features (B, h); output.hidden[m] (B, T, h), one and the same sequence under the name of every modality in
    use, T being the text's steps (without text, the first modality's).

Differences from the usual code (MMSA), and why; ``variant="released"`` brings its behaviour back:
    * its batch norm takes the time steps as channels, so that it needs aligned data of one fixed length and sees
      padding; here each joined vector is layer-normalised;
    * it reads the last position, padding or not; here the last real step (layers/recurrent.py).

Reproduction: ``variant="released"`` reproduces scores and loss of thuiar/MMSA to 1e-5 from its parameters
(``load_released(..., source="mmsa")``); published accuracies not yet run.

References:
    Williams, Kleinegesse, Comanescu, Radu, "Recognizing Emotions in Video Using Multimodal DNN Feature Fusion", 2018.
    Usual code: thuiar/MMSA (MIT); nothing copied.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.layers.batch_norm import BatchNorm
from mer_zoo.layers.recurrent import masked_rnn
from mer_zoo.layers.sequence import at_words
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.task import Task

__all__ = ["EFLSTM"]


class EFLSTM(Backbone):
    """Early-fusion LSTM; see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width h of the LSTM.
        depth: Layers of the LSTM.
        out_dropout: Dropout around the joint representation and, of the same share, between the layers.
        variant: "ours", or "released" for batch norm over time steps and the last position.

    Raises:
        MERError: If the released variant is asked for on data that is not aligned.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> EFLSTM(spec, task, dim=8)(Batch.random(spec, task, size=3)).hidden["audio"].shape
        torch.Size([3, 6, 8])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 128,
        depth: int = 2,
        out_dropout: float = 0.2,
        variant: Literal["ours", "released"] = "ours",
    ) -> None:
        super().__init__(spec, task, text_encoder)
        self.fixed_length = variant == "released"
        self.words = spec.modalities[0]
        steps, width = spec.length(self.words), sum(self.input_dims.values())
        if self.fixed_length and any(spec.length(name) != steps for name in spec.modalities):
            raise MERError('EFLSTM variant "released" needs aligned data; use aligned features or variant "ours"')
        self.norm = BatchNorm(steps) if self.fixed_length else nn.LayerNorm(width)
        between = out_dropout if depth > 1 else 0.0
        self.lstm = nn.LSTM(width, dim, num_layers=depth, batch_first=True, dropout=between)
        self.linear = nn.Linear(dim, dim)
        self.out_dropout = out_dropout
        self.head = nn.Linear(dim, task.num_outputs)
        self.feature_dim = dim
        self.hidden_shape = dict.fromkeys(spec.modalities, (steps, dim))
        self.hidden_axes = dict.fromkeys(spec.modalities, self.words)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        if self.fixed_length:
            states, last = self._read_positions(torch.cat([modality.x for modality in given.values()], 2))
        else:
            mask = given[self.words].mask
            joined = torch.cat([at_words(modality, mask, self.spec.aligned) for modality in given.values()], 2)
            states, last = masked_rnn(self.lstm, self.norm(joined), mask)
        inner = F.relu(self.linear(F.dropout(last, self.out_dropout, self.training)))
        features = F.dropout(inner, self.out_dropout, self.training)
        return Output(self.classify(features), features, dict.fromkeys(self.spec.modalities, states))

    def _read_positions(self, joined: Tensor) -> tuple[Tensor, Tensor]:
        states: Tensor = self.lstm(self.norm(joined))[0]
        return states, states[:, -1]
