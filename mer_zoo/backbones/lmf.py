"""Low-rank Multimodal Fusion (LMF): the tensor of TFN and its weights, without ever building either.

Idea: a weight tensor of low rank is a sum of outer products of one factor for each modality. Its product with the outer
product of the vectors is then a product of small maps of each vector alone, summed over the rank.

Input and shapes (B batch, T_m steps and D_m features of modality m, R rank, O outputs of the task):
    batch.text (B, T_l, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not;
    output.features (B, O R), the products of the maps before the sum over the rank, output by output; output.hidden is
    None.

Where the paper is in the code (sections of arXiv:1806.00064):
    unimodal vectors                      layers/subnets.py
    low-rank weights and fusion           LMF.factors, functional/tensor_fusion.py, low_rank_fusion     (Sec. 3.2, 3.3)
    sum over the rank                     RankSum, with a weight for each rank, as in the usual code

What is decided here: the sum over the rank is the final classifier, so that a wrapper that drops it reads the products
of O R entries, few as they are. One and two modalities work: the product is then that of their maps.

Differences from the usual code (MMSA), and why:
    * its optimiser never sees the weights of the ranks and the bias; here all parameters are trained;
    * means and the LSTM leave padding out; ``mask_padding=False`` brings its behaviour back, on batches of fixed
      length;
    * a batch of one sample is normalised by the running statistics (layers/batch_norm.py), where the code stops.

Reproduction: unimodal vectors, products, scores and loss of thuiar/MMSA to 1e-5 from its parameters
(``load_released(..., source="mmsa")``); published accuracies not yet run.

References:
    Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency, "Efficient Low-rank Multimodal Fusion with Modality-Specific
    Factors", ACL 2018, arXiv:1806.00064.
    Usual code: thuiar/MMSA (MIT); nothing copied.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.functional.tensor_fusion import low_rank_fusion
from mer_zoo.layers.subnets import UtteranceSubnets
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.unimodal import UnimodalHeads
from mer_zoo.model import Backbone
from mer_zoo.task import Task

__all__ = ["LMF", "RankSum"]


class RankSum(nn.Module):
    """Weighted sum over the rank and a bias.

    Args:
        rank: Number of products an output.
        outputs: Number of outputs.

    Example:
        >>> RankSum(rank=4, outputs=3)(torch.randn(2, 12)).shape
        torch.Size([2, 3])
    """

    def __init__(self, rank: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, rank)))
        self.bias = nn.Parameter(torch.zeros(1, outputs))

    @override
    def forward(self, products: Tensor) -> Tensor:
        """Sum (B, outputs * rank) to (B, outputs)."""
        weighted = products.view(-1, self.bias.shape[1], self.weight.shape[1]) * self.weight
        return weighted.sum(2) + self.bias


class LMF(Backbone):
    """Low-rank Multimodal Fusion (Liu et al., 2018); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; one, two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        hidden_dims: Widths of the subnets of text, audio and vision; the vector of text is half as wide as its subnet.
        rank: Rank R of the weights.
        embed_dropout: Dropout of what enters the subnets of audio and vision.
        mask_padding: Leave padding out everywhere. False, as in the usual code, keeps batches at full length.
        unimodal_weight: Weight of the losses of heads that learn the corpus' labels of modalities alone, as MLMF of
            the CH-SIMS paper has them; with 0 there are no such heads.

    Raises:
        MERError: For a rank below one, or a text subnet narrower than two.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> output = LMF(spec, task, hidden_dims=(8, 4, 4))(Batch.random(spec, task, size=2))
        >>> output.logits.shape, output.features.shape
        (torch.Size([2, 3]), torch.Size([2, 12]))
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        hidden_dims: tuple[int, int, int] = (128, 32, 128),
        rank: int = 4,
        embed_dropout: float = 0.2,
        mask_padding: bool = True,
        unimodal_weight: float = 0.0,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        if rank < 1 or hidden_dims[0] < 2:
            raise MERError(f"LMF has rank {rank} and text width {hidden_dims[0]}; give at least rank 1 and width 2")
        self.fixed_length = self.reads_padding = not mask_padding
        self.subnets = UtteranceSubnets(self.input_dims, hidden_dims, hidden_dims[0] // 2, embed_dropout, mask_padding)
        outputs = task.num_outputs
        self.factors = nn.ParameterDict(
            {
                name: nn.init.xavier_normal_(torch.empty(rank, width + 1, outputs))
                for name, width in self.subnets.output_dims.items()
            }
        )
        self.head = RankSum(rank, outputs)
        self.feature_dim = rank * outputs
        self.unimodal = None
        if unimodal_weight:
            dims = self.subnets.output_dims
            self.unimodal = UnimodalHeads("LMF", dims, hidden_dims[0] // 2, task, unimodal_weight)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        vectors = self.subnets(self.in_use(text, audio, vision))
        features = low_rank_fusion(list(vectors.values()), [self.factors[name] for name in vectors]).flatten(1)
        return Output(self.classify(features), features, aux=vectors)

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {} if self.unimodal is None else self.unimodal.losses(output.aux, batch)
