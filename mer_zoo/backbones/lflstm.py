"""Late-fusion LSTM (LF-LSTM): each modality is read by an LSTM of its own, the last states are joined.

Idea: no alignment is needed, because the modalities meet only after each has been read to its end.

Input and shapes (B batch, T_m steps and D_m features of modality m, h hidden width, n modalities in use):
    batch.text (B, T_t, D_t) and so on; output.features (B, h); output.hidden[m] (B, T_m, h), the states of the LSTM of
    m.

There is no one official code; this is the usual form: last real states, concatenated, one hidden layer, classifier.
Padding is never read.

Reproduction: no official code to be compared with; published accuracies not yet run.

References:
    A baseline of Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019, Section
    4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from typing_extensions import override

from mer_zoo.batch import DataSpec, Modality, Output
from mer_zoo.layers.recurrent import masked_rnn
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.task import Task

__all__ = ["LFLSTM"]


class LFLSTM(Backbone):
    """Late-fusion LSTM; see the module's text for the idea.

    Args:
        spec: Shapes of the data.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width h of each LSTM and of the joint representation.
        depth: Layers of each LSTM.
        out_dropout: Dropout around the joint representation and, of the same share, between the layers.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> LFLSTM(spec, task, dim=8)(Batch.random(spec, task, size=3)).hidden["audio"].shape
        torch.Size([3, 8, 8])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 64,
        depth: int = 1,
        out_dropout: float = 0.2,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        between = out_dropout if depth > 1 else 0.0
        self.lstms = nn.ModuleDict(
            {
                name: nn.LSTM(width, dim, num_layers=depth, batch_first=True, dropout=between)
                for name, width in self.input_dims.items()
            }
        )
        self.linear = nn.Linear(len(self.lstms) * dim, dim)
        self.out_dropout = out_dropout
        self.head = nn.Linear(dim, task.num_outputs)
        self.feature_dim = dim
        self.hidden_shape = {name: (spec.length(name), dim) for name in spec.modalities}

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        hidden, last = {}, []
        for name, lstm in self.lstms.items():
            assert isinstance(lstm, nn.LSTM)
            hidden[name], final = masked_rnn(lstm, given[name].x, given[name].mask)
            last.append(final)
        joint = F.dropout(torch.cat(last, 1), self.out_dropout, self.training)
        features = F.dropout(F.relu(self.linear(joint)), self.out_dropout, self.training)
        return Output(self.classify(features), features, hidden)
