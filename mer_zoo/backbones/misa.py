"""MISA: each modality is seen twice, by what it shares with the others and by what it alone has, then all views meet.

Idea: one map, common to all modalities, leads into a shared space, where the distributions of the modalities are pulled
together; a map of its own leads each modality into a private space that is kept apart from the shared one and from the
other private ones. Both together must suffice to restore the modality. Self-attention over these few vectors, tokens of
one small sequence, joins them.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, h width):
    batch.text (B, T_l, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not, any of them alone;
    output.features (B, n h), what enters the last linear layer. There are no hidden sequences: utterance vectors are
    what is joined.

Where the paper is in the code:
    utterance vectors                        MISA.encoders, layers/recurrent.py, BiLSTMEncoder; MISA.project
    shared and private maps                  MISA.shared, MISA.private
    similarity and difference loss           functional/moments.py
    reconstruction loss                      MISA.restore
    fusion                                   MISA.attention, MISA.join

What is decided here:
    * one or two modalities work: pairs that do not exist have no loss;
    * moments and differences are those of the batch of one process; a batch of one sample has only its codes for means,
      whose distances remain, and no differences.

Differences from the authors' code, and why; options bring its behaviour back:
    * lengths: it reads as many steps of audio and vision as the text has tokens, also of unaligned data, which cuts
      them short; here each modality's own steps are read;
    * text_network: without BERT it reads word vectors by a stacked bi-LSTM as audio and vision ("lstm"); here so are
      token ids without an encoder, while text features, which mostly are those of an encoder, are averaged as its BERT
      states are;
    * its squared error of the task is the absolute error of SentimentRegression here (fixed);
    * a classifier of shared and private codes, in no loss, is not built (fixed).

Reproduction: outputs and losses of the usual code (MMSA) to 1e-5; results on corpora not yet run.

References:
    Hazarika, Zimmermann, Poria, "MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment
    Analysis", ACM MM 2020, arXiv:2005.03545.
    Released code: declare-lab/MISA, thuiar/MMSA (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.moments import central_moment_discrepancy, difference_loss
from mer_zoo.functional.precision import widen
from mer_zoo.layers.gradient_reversal import reverse_gradient
from mer_zoo.layers.recurrent import BiLSTMEncoder
from mer_zoo.layers.sequence import masked_mean
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task

__all__ = ["MISA"]

Lengths = Literal["own", "text"]
Similarity = Literal["moments", "adversarial"]
TextNetwork = Literal["mean", "lstm"]
_ORDER = ("text", "vision", "audio")  # of the tokens, whose vectors are concatenated, in the released code


class Codes(NamedTuple):
    """What the losses need, (B, h) of each modality: utterance vectors, private and shared codes, restored vectors."""

    utterance: dict[str, Tensor]
    private: dict[str, Tensor]
    shared: dict[str, Tensor]
    restored: dict[str, Tensor]


class MISA(Backbone):
    """Modality-invariant and -specific representations of Hazarika et al. (2020); see the module's text.

    Args:
        spec: Shapes of the data; any modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width h of all codes.
        heads: Heads of the attention over the codes; divides h.
        ffn_dim: Width of its feed-forward part.
        attn_dropout: Dropout of its attention weights and, by the one number that torch's layer has, behind its ReLU
            and of what it adds.
        out_dropout: Dropout in front of the last hidden layer's ReLU.
        difference_weight: Weight of the difference loss; 0.1 for MOSI, 0.3 for MOSEI in MMSA.
        similarity_weight: Weight of the similarity loss; 0.3 for MOSI, 0.8 for MOSEI in MMSA.
        reconstruction_weight: Weight of the reconstruction loss.
        similarity: How shared codes are pulled together, by central ``moments`` or by an ``adversarial`` classifier of
            modalities behind a gradient reversal.
        reversal: Factor of the reversed gradient.
        lengths: Steps of audio and vision that are read: their ``own``, or the first ones, as many as the ``text`` has
            (released).
        text_network: Utterance vector of the text: the ``mean`` over its steps, or that of an ``lstm`` as for audio and
            vision; None is ``lstm`` for token ids without an encoder and ``mean`` otherwise.

    Raises:
        MERError: For heads that do not divide the width, or an option out of range.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> (step,) = MISA(spec, task, dim=8).steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 24]), ['misa/difference', 'misa/restore', 'misa/similarity'])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 128,
        heads: int = 2,
        ffn_dim: int = 2048,
        attn_dropout: float = 0.1,
        out_dropout: float = 0.1,
        difference_weight: float = 0.1,
        similarity_weight: float = 0.3,
        reconstruction_weight: float = 1.0,
        similarity: Similarity = "moments",
        reversal: float = 0.8,
        lengths: Lengths = "own",
        text_network: TextNetwork | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        default = "mean" if self.text_embedding is None else "lstm"
        self.text_network = default if text_network is None else text_network
        self._check(dim, heads, similarity, lengths)
        weights = {"difference": difference_weight, "similarity": similarity_weight, "restore": reconstruction_weight}
        options = ("difference_weight", "similarity_weight", "reconstruction_weight")
        check_weights("MISA", {**dict(zip(options, weights.values(), strict=True)), "reversal": reversal})
        self.weights, self.similarity, self.reversal, self.lengths = weights, similarity, reversal, lengths
        self.fixed_length = lengths == "text"  # steps are counted from the first column
        self.names = [name for name in _ORDER if name in spec.modalities]
        read = [name for name in self.names if name != "text" or self.text_network == "lstm"]
        self.encoders = nn.ModuleDict(
            {name: BiLSTMEncoder(self.input_dims[name], self.input_dims[name]) for name in read}
        )
        self.project = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width * (4 if name in read else 1), dim), nn.ReLU(), nn.LayerNorm(dim))
                for name, width in self.input_dims.items()
            }
        )
        self.private = nn.ModuleDict({name: nn.Linear(dim, dim) for name in self.names})
        self.shared = nn.Linear(dim, dim)
        self.restore = nn.ModuleDict({name: nn.Linear(dim, dim) for name in self.names if reconstruction_weight})
        judged = similarity == "adversarial" and similarity_weight and len(self.names) > 1
        self.domains = self._domains(dim) if judged else None
        self.attention = nn.TransformerEncoderLayer(dim, heads, ffn_dim, attn_dropout, batch_first=True)
        self.feature_dim = len(self.names) * dim
        self.join, self.dropout = nn.Linear(2 * self.feature_dim, self.feature_dim), nn.Dropout(out_dropout)
        self.head = nn.Linear(self.feature_dim, task.num_outputs)

    def _check(self, dim: int, heads: int, similarity: str, lengths: str) -> None:
        if heads < 1 or dim % heads:
            raise MERError(f"{heads} heads do not divide a width of {dim}; choose heads that divide dim")
        check_choice("MISA", "similarity", similarity, get_args(Similarity))
        check_choice("MISA", "lengths", lengths, get_args(Lengths))
        check_choice("MISA", "text_network", self.text_network, get_args(TextNetwork))
        if lengths == "text" and "text" not in self.spec.modalities:
            raise MERError("MISA reads as many steps as the text has, but text is not in use; choose lengths: own")

    def _domains(self, dim: int) -> nn.Module:
        """Classifier of the modality that a shared code comes from."""
        return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, len(self.names)))

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        utterance = {name: self._utterance(name, given[name], text) for name in self.names}
        private = {name: torch.sigmoid(self.private[name](u)) for name, u in utterance.items()}
        shared = {name: torch.sigmoid(self.shared(u)) for name, u in utterance.items()}
        restored = {name: restore(private[name] + shared[name]) for name, restore in self.restore.items()}
        tokens = torch.stack([*private.values(), *shared.values()], 1)
        features = F.relu(self.dropout(self.join(self.attention(tokens).flatten(1))))
        return Output(self.classify(features), features, aux=Codes(utterance, private, shared, restored))

    def _utterance(self, name: str, modality: Modality, text: Modality) -> Tensor:
        """Utterance vector (B, h) of a modality."""
        mask = modality.mask
        if self.lengths == "text" and name != "text":
            mask = torch.arange(mask.shape[1], device=mask.device) < text.lengths[:, None]
        found = self.encoders[name](modality.x, mask) if name in self.encoders else masked_mean(modality.x, mask)
        projected: Tensor = self.project[name](found)
        return projected

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        codes: Codes = output.aux
        parts = {"difference": _difference(codes)}
        if len(self.names) > 1:
            parts["similarity"] = self._similarity(codes.shared)
        if self.restore:
            errors = [
                distributed_mean((widen(codes.restored[name]) - widen(codes.utterance[name])).square())
                for name in self.restore
            ]
            parts["restore"] = torch.stack(errors).mean()
        return {f"misa/{name}": self.weights[name] * loss for name, loss in parts.items() if self.weights[name]}

    def _similarity(self, shared: Mapping[str, Tensor]) -> Tensor:
        """Mean distance of two shared codes, or how well the modality that a shared code comes from is told."""
        if self.domains is None:
            pairs = [central_moment_discrepancy(x, y) for x, y in combinations(shared.values(), 2)]
            return torch.stack(pairs).mean()
        codes = reverse_gradient(torch.cat(list(shared.values())), self.reversal)
        origin = torch.arange(len(shared), device=codes.device).repeat_interleave(len(codes) // len(shared))
        return distributed_mean(F.cross_entropy(self.domains(codes), origin, reduction="none"))


def _difference(codes: Codes) -> Tensor:
    """Sum over private and shared code of each modality, and over pairs of private codes."""
    own = [difference_loss(codes.private[name], codes.shared[name]) for name in codes.private]
    pairs = [difference_loss(x, y) for x, y in combinations(codes.private.values(), 2)]
    return torch.stack([*own, *pairs]).sum()
