"""Late-fusion network (LF-DNN): one vector of each modality, joined and read by a small network.

Idea: TFN without its tensor. What it gains over this baseline is what products of modalities are worth.

Input and shapes (B batch, T_m steps and D_m features of modality m, d_m width of its vector, p post-fusion width):
    batch.text (B, T_l, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not;
    the joined vector (B, d_a + d_v + d_l); output.features (B, p); output.hidden is None, there are no sequences.

There is no one paper; this is the form of the usual code (MMSA), with the subnets of TFN (layers/subnets.py). One and
two modalities work.

Differences from the usual code, and why:
    * means and the LSTM leave padding out; ``mask_padding=False`` brings its behaviour back, on batches of fixed
      length;
    * a batch of one sample is normalised by the running statistics (layers/batch_norm.py), where the code stops.

Reproduction: unimodal vectors, joined vector, scores and loss of thuiar/MMSA to 1e-5 from its parameters
(``load_released(..., source="mmsa")``); published accuracies not yet run.

References:
    Usual code: thuiar/MMSA (MIT); nothing copied.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.subnets import UtteranceSubnets
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.unimodal import UnimodalHeads
from mer_zoo.model import Backbone
from mer_zoo.task import Task

__all__ = ["LFDNN"]


class LFDNN(Backbone):
    """Late-fusion network; see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; one, two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        hidden_dims: Widths of the subnets of text, audio and vision.
        text_out: Width of the vector of text.
        fusion_dim: Width p of the two layers behind the joined vector.
        embed_dropout: Dropout of what enters the subnets of audio and vision.
        out_dropout: Dropout of the joined vector.
        mask_padding: Leave padding out everywhere. False, as in the usual code, keeps batches at full length.
        unimodal_weight: Weight of the losses of heads that learn the corpus' labels of modalities alone, as MLF-DNN of
            the CH-SIMS paper has them; with 0 there are no such heads.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> model = LFDNN(spec, task, hidden_dims=(8, 4, 4), text_out=4, fusion_dim=8)
        >>> output = model(Batch.random(spec, task, size=3))
        >>> output.logits.shape, output.features.shape
        (torch.Size([3, 1]), torch.Size([3, 8]))
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        hidden_dims: tuple[int, int, int] = (128, 32, 128),
        text_out: int = 32,
        fusion_dim: int = 64,
        embed_dropout: float = 0.2,
        out_dropout: float = 0.2,
        mask_padding: bool = True,
        unimodal_weight: float = 0.0,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        self.fixed_length = self.reads_padding = not mask_padding
        self.out_dropout = out_dropout
        self.subnets = UtteranceSubnets(self.input_dims, hidden_dims, text_out, embed_dropout, mask_padding)
        self.fc1 = nn.Linear(sum(self.subnets.output_dims.values()), fusion_dim)
        self.fc2 = nn.Linear(fusion_dim, fusion_dim)
        self.head = nn.Linear(fusion_dim, task.num_outputs)
        self.feature_dim = fusion_dim
        self.unimodal = None
        if unimodal_weight:
            dims = self.subnets.output_dims
            self.unimodal = UnimodalHeads("LFDNN", dims, fusion_dim, task, unimodal_weight, out_dropout)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        vectors = self.subnets(self.in_use(text, audio, vision))
        joined = torch.cat(list(vectors.values()), 1)
        inner = F.relu(self.fc1(dropout(joined, self.out_dropout, self.training)))
        features = F.relu(self.fc2(inner))
        return Output(self.classify(features), features, aux=vectors)

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {} if self.unimodal is None else self.unimodal.losses(output.aux, batch)
