"""Tensor Fusion Network (TFN): what three modalities have to do with each other is the outer product of their vectors.

Idea: each modality becomes one vector, with a one in front of it. The outer product of the three then holds every
vector itself, the products of every two, and those of all three, and a small network reads it.

Input and shapes (B batch, T_m steps and D_m features of modality m, d_m width of its vector, p post-fusion width):
    batch.text (B, T_l, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not;
    the fused tensor (B, (d_a + 1) (d_v + 1) (d_l + 1)); output.features (B, p); output.hidden is None, there are no
    sequences.

Where the paper is in the code (sections of arXiv:1707.07250):
    modality embedding subnetworks        layers/subnets.py                                (Sec. 3.2)
    tensor fusion layer                   functional/tensor_fusion.py, tensor_fusion       (Sec. 3.3)
    sentiment inference subnetwork        TFN.fuse, TFN.classify                           (Sec. 3.4)

One and two modalities work: the product is then that of their vectors.

Differences from the usual code (MMSA), and why:
    * means and the LSTM leave padding out; ``mask_padding=False`` brings its behaviour back, on batches of fixed
      length;
    * a batch of one sample is normalised by the running statistics (layers/batch_norm.py), where the code stops;
    * ``squash``: scores of the regression task are kept in [-3, 3] as there, those of other tasks are never squashed.

Reproduction: unimodal vectors, fused tensor, scores and loss of thuiar/MMSA to 1e-5 from its parameters
(``load_released(..., source="mmsa")``); published accuracies not yet run.

References:
    Zadeh, Chen, Poria, Cambria, Morency, "Tensor Fusion Network for Multimodal Sentiment Analysis", EMNLP 2017,
    arXiv:1707.07250.
    Usual code: thuiar/MMSA (MIT); nothing copied.
"""

from __future__ import annotations

from math import prod

import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.data.corpus.meaning import MOSI_RANGE
from mer_zoo.functional.dropout import dropout
from mer_zoo.functional.tensor_fusion import tensor_fusion
from mer_zoo.layers.subnets import UtteranceSubnets
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.unimodal import UnimodalHeads
from mer_zoo.model import Backbone
from mer_zoo.task import SentimentRegression, Task

__all__ = ["TFN"]


class TFN(Backbone):
    """Tensor Fusion Network (Zadeh et al., 2017); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; one, two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        hidden_dims: Widths of the subnets of text, audio and vision.
        text_out: Width of the vector of text.
        fusion_dim: Width p of the two layers behind the fused tensor.
        embed_dropout: Dropout of what enters the subnets of audio and vision.
        out_dropout: Dropout of the fused tensor.
        squash: Keep the scores of a regression in the range of its labels, [-3, 3] by 6 sigmoid(.) - 3.
        mask_padding: Leave padding out everywhere. False, as in the usual code, keeps batches at full length.
        unimodal_weight: Weight of the losses of heads that learn the corpus' labels of modalities alone, as MTFN of
            the CH-SIMS paper has them; with 0 there are no such heads.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> output = TFN(spec, task, hidden_dims=(8, 4, 4), text_out=4, fusion_dim=8)(Batch.random(spec, task, size=3))
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
        squash: bool = True,
        mask_padding: bool = True,
        unimodal_weight: float = 0.0,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        self.fixed_length = self.reads_padding = not mask_padding
        self.out_dropout = out_dropout
        self.squash = squash and not task.is_classification
        self.limits = task.limits if isinstance(task, SentimentRegression) else MOSI_RANGE
        self.subnets = UtteranceSubnets(self.input_dims, hidden_dims, text_out, embed_dropout, mask_padding)
        self.fc1 = nn.Linear(prod(width + 1 for width in self.subnets.output_dims.values()), fusion_dim)
        self.fc2 = nn.Linear(fusion_dim, fusion_dim)
        self.head = nn.Linear(fusion_dim, task.num_outputs)
        self.feature_dim = fusion_dim
        self.unimodal = None
        if unimodal_weight:
            dims = self.subnets.output_dims
            self.unimodal = UnimodalHeads("TFN", dims, fusion_dim, task, unimodal_weight, out_dropout)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        vectors = self.subnets(self.in_use(text, audio, vision))
        z = tensor_fusion(list(vectors.values()))
        inner = F.relu(self.fc1(dropout(z, self.out_dropout, self.training)))
        features = F.relu(self.fc2(inner))
        return Output(self.classify(features), features, aux=vectors)

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {} if self.unimodal is None else self.unimodal.losses(output.aux, batch)

    @override
    def classify(self, features: Tensor) -> Tensor:
        logits = super().classify(features)
        low, high = self.limits
        return (high - low) * logits.sigmoid() + low if self.squash and self.has_head else logits
