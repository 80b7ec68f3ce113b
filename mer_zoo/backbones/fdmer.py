"""FDMER: what modalities have in common and what each has alone are kept apart, and attention weighs all of it.

Idea: a common encoder leads every modality into one space, where a discriminator is not to tell which modality a vector
comes from; one of its own leads each into a private space, where it is to tell it. Common vectors of a sample are
to agree, common and private ones are to share nothing, and attention among all of them makes the joint representation.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, h width):
    batch.text (B, T_l, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not, any of them alone;
    output.features (B, 2 n h), the common vectors, then the private ones. There are no hidden sequences.

The paper was not at hand. From its abstract:
    * a common and private encoders, into a modality-invariant and modality-specific subspaces;
    * a modality discriminator that guides their parameters in an adversarial manner;
    * losses of consistency and of disparity on these subspaces;
    * a fusion by attention across modalities that learns adaptive weights.
Inferred, so that this is a network in the manner of the abstract and none whose figures could stand for the paper's:
    * the utterance vectors, means over a transformer's states (``depth``); that encoders are two maps with a ReLU
      between them, the common one with the same weights for all modalities;
    * the discriminator: which modality of n, by cross-entropy, of private vectors as they are and of common ones behind
      a gradient reversal (``reversal``);
    * consistency: the squared distance of two common vectors of a sample, or the distance of their distributions
      ("moments"), over all pairs;
    * disparity: the Hilbert-Schmidt independence criterion ("hsic"), or overlap as in MISA ("overlap"), of the common
      and private vectors of each modality and of all pairs of private ones;
    * fusion: self-attention over the 2 n vectors, added to them, all laid side by side; every width and weight.
What is missing, of which the abstract says nothing: zeros go in, and a modality of which nothing was observed counts in
no consistency and is not shown to the discriminator.

Reproduction: every equation above against a plain transcription; no parity is claimed. No table of the papers that the
zoo reproduces has a row of it.

References:
    Yang, Huang, Kuang, Du, Zhang, "Disentangled Representation Learning for Multimodal Emotion Recognition", ACM MM
    2022, doi:10.1145/3503161.3547754.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.data.missing.drop import missing_modalities
from mer_zoo.distributed import distributed_mean
from mer_zoo.functional.dropout import dropout
from mer_zoo.functional.moments import central_moment_discrepancy, difference_loss, independence_criterion
from mer_zoo.functional.precision import widen
from mer_zoo.layers.attention import Visibility
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.gradient_reversal import reverse_gradient
from mer_zoo.layers.mlp import MLP
from mer_zoo.layers.positions import embed_positions
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.transformer import MultiheadAttention, TransformerEncoder
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task

__all__ = ["FDMER"]

Consistency = Literal["distance", "moments"]
Disparity = Literal["hsic", "overlap"]


class Codes(NamedTuple):
    """Common and private vectors, (B, h) of each modality, and which of them there are, (B, n)."""

    common: dict[str, Tensor]
    private: dict[str, Tensor]
    there: Tensor


class FDMER(Backbone):
    """A network after the abstract of Yang et al. (2022); see the module's text for what is inferred.

    Args:
        spec: Shapes of the data; any modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width h.
        heads: Heads of all attention; divides h.
        depth: Layers of the transformers of the modalities.
        consistency_weight: Weight of the consistency loss.
        disparity_weight: Weight of the disparity loss.
        discriminator_weight: Weight of both losses of the discriminator.
        consistency: "distance" of vectors or "moments" of their distributions.
        disparity: "hsic" or "overlap".
        reversal: Factor of the gradient that comes back to the common encoder.
        attn_dropout: Dropout of the attention weights of the transformers.
        relu_dropout: Dropout behind their ReLU.
        res_dropout: Dropout of what they add to their input.
        out_dropout: Dropout in front of the classifier.

    Raises:
        MERError: For heads that do not divide the width, or an option out of range.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> (step,) = FDMER(spec, task, dim=8).steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 48]), ['fdmer/common', 'fdmer/consistency', 'fdmer/disparity', 'fdmer/private'])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 64,
        heads: int = 4,
        depth: int = 1,
        consistency_weight: float = 0.1,
        disparity_weight: float = 0.1,
        discriminator_weight: float = 0.1,
        consistency: Consistency = "distance",
        disparity: Disparity = "hsic",
        reversal: float = 1.0,
        attn_dropout: float = 0.1,
        relu_dropout: float = 0.1,
        res_dropout: float = 0.1,
        out_dropout: float = 0.1,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("FDMER", "consistency", consistency, get_args(Consistency))
        check_choice("FDMER", "disparity", disparity, get_args(Disparity))
        self.weights = {"consistency": consistency_weight, "disparity": disparity_weight}
        self.weights |= dict.fromkeys(("common", "private"), discriminator_weight)
        given = {"discriminator_weight": discriminator_weight, "reversal": reversal}
        given |= {"consistency_weight": consistency_weight, "disparity_weight": disparity_weight}
        check_weights("FDMER", given)
        self.consistency, self.disparity, self.reversal = consistency, disparity, reversal
        self.names, self.out_dropout = list(spec.modalities), out_dropout
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout)
        self.project = nn.ModuleDict({m: nn.Linear(width, dim) for m, width in self.input_dims.items()})
        self.encoders = nn.ModuleDict({m: TransformerEncoder(dim, heads, depth, dropouts) for m in self.names})
        self.common = MLP(dim, dim, dim)
        self.private = nn.ModuleDict({m: MLP(dim, dim, dim) for m in self.names})
        judged = discriminator_weight > 0 and len(self.names) > 1
        self.discriminator = MLP(dim, dim, len(self.names)) if judged else None
        self.attention = MultiheadAttention(dim, heads)
        self.feature_dim = 2 * len(self.names) * dim
        self.head = nn.Linear(self.feature_dim, task.num_outputs)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        utterance = {name: self._utterance(name, modality) for name, modality in given.items()}
        common = {name: self.common(u) for name, u in utterance.items()}
        private = {name: self.private[name](u) for name, u in utterance.items()}
        tokens = torch.stack([*common.values(), *private.values()], 1)
        fused = (tokens + self.attention(tokens, visible=Visibility())).flatten(1)
        features = dropout(fused, self.out_dropout, self.training)
        codes = Codes(common, private, ~missing_modalities(given, self.spec))
        return Output(self.classify(features), features, aux=codes)

    def _utterance(self, name: str, modality: Modality) -> Tensor:
        """Utterance vector (B, h) of a modality."""
        x = embed_positions(self.project[name](modality.x), modality.mask)
        return masked_mean(self.encoders[name](x, mask=modality.mask), modality.mask)

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        codes: Codes = output.aux
        parts = {"disparity": self._disparity(codes)}
        if len(self.names) > 1:
            parts["consistency"] = self._consistency(codes)
        if self.discriminator is not None:
            parts["private"] = self._recognise(codes.private, codes.there, self.discriminator)
            reversed_codes = {name: reverse_gradient(code, self.reversal) for name, code in codes.common.items()}
            parts["common"] = self._recognise(reversed_codes, codes.there, self.discriminator)
        return {f"fdmer/{name}": self.weights[name] * loss for name, loss in parts.items() if self.weights[name]}

    def _consistency(self, codes: Codes) -> Tensor:
        """Mean over the pairs of modalities, of samples that have both."""
        pairs = []
        for i, j in combinations(range(len(self.names)), 2):
            x, y = codes.common[self.names[i]], codes.common[self.names[j]]
            if self.consistency == "moments":
                pairs.append(central_moment_discrepancy(x.sigmoid(), y.sigmoid()))
            else:
                both = (codes.there[:, i] & codes.there[:, j]).to(torch.float32)
                pairs.append(distributed_mean((widen(x) - widen(y)).square().mean(1), both))
        return torch.stack(pairs).mean()

    def _disparity(self, codes: Codes) -> Tensor:
        """Sum over common and private vectors of each modality, and over pairs of private ones."""
        measure = independence_criterion if self.disparity == "hsic" else difference_loss
        pairs = [(codes.common[name], codes.private[name]) for name in self.names]
        return torch.stack([measure(x, y) for x, y in [*pairs, *combinations(codes.private.values(), 2)]]).sum()

    @staticmethod
    def _recognise(codes: dict[str, Tensor], there: Tensor, discriminator: nn.Module) -> Tensor:
        """Cross-entropy of telling which modality each vector comes from, of those that are there."""
        scores = discriminator(torch.stack(list(codes.values()), 1))
        origin = torch.arange(len(codes), device=scores.device).expand(len(scores), -1)
        errors = F.cross_entropy(widen(scores).flatten(0, 1), origin.flatten(), reduction="none")
        return distributed_mean(errors, there.flatten().to(errors.dtype))
