"""Self-MM: every modality also predicts alone, from labels of its own that the network makes while it learns.

Idea: what a face shows need not be what the sentence means, but only the sentence as a whole is labelled. Each modality
gets a label of its own: the common one, moved by how the modality's features lie between the centres of positive and
negative samples, compared with how the fused features lie. A modality learns most where its label differs from the
common one.

Input and shapes (B batch, T_m steps and D_m features of modality m):
    batch.text (B, T_l, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not, any of them alone;
    output.features (B, fusion_dim), what enters the last linear layer. There are no hidden sequences: text is read by
    its encoder alone, and utterance vectors are what is joined.

Where the paper is in the code:
    encoders, joint representation, heads            SelfMM.encoders, fusion, towers, unimodal
    unimodal label generation module (ULGM)          functional/label_generation.py
    momentum-based update, what is remembered        backbones/selfmm/label_bank.py
    losses weighted by the labels' difference        SelfMM.losses

What is decided here:
    * labels are generated for regression alone, as published, within the range of the labels, -3 to 3 or CH-SIMS' -1 to
      1. For classes and emotions, where half a label means nothing, and for scales whose middle need not be neutral,
      the heads of the modalities learn the given labels with weight 1: with tanh |y_s - y_m| = 0 they would never
      learn anything;
    * ``unimodal_labels="corpus"`` learns what people said of each modality alone, where the corpus has it (CH-SIMS), in
      place of what is generated: with weight 1, since such a label also teaches where it equals the common one. A
      sample without one is left out of the head's loss. The default generates, as published;
    * until the second visit of a sample its own labels are the common ones: in the first epoch the heads get a gradient
      of 0;
    * the momentum counts how often a sample was seen, not epochs. Both are the same unless a sampler repeats samples or
      a wrapper trains on two views of a batch, which then are two visits. Two views stacked into one batch count once,
      by the first;
    * samples of every process enter the centres and are remembered by every process (backbones/selfmm/label_bank.py).

Differences from the authors' code, and why:
    * it fills its memory with zeros, which enter the centres in the first epoch; here only samples that were seen do.
      Labels are made from the second epoch on, so that nothing else changes;
    * as long as every label so far is of one sign, the missing centre would be NaN; here labels then stay as they are;
    * text features and token ids without an encoder are averaged (``text_pool``): the first position alone would say
      nothing.

Reproduction: outputs, features, losses and one label update of the usual code (MMSA) to 1e-5; results on corpora not
yet run.

References:
    Yu, Xu, Yuan, Wu, "Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for
    Multimodal Sentiment Analysis", AAAI 2021, arXiv:2102.04830.
    Released code: thuiar/Self-MM, thuiar/MMSA (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.selfmm.label_bank import LabelBank
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output, Step
from mer_zoo.distributed import distributed_mean
from mer_zoo.functional.label_generation import label_weights
from mer_zoo.layers.recurrent import LSTMEncoder
from mer_zoo.layers.sequence import TextPool, pool_text
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.unimodal import check_sentiment, unimodal_losses
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import SentimentRegression, Task

__all__ = ["SelfMM", "UnimodalLabels"]

UnimodalLabels = Literal["generated", "corpus"]


class Unimodal(NamedTuple):
    """What the losses need: each modality's predictions (B, *task shape) and features (B, d), and fused features."""

    predictions: dict[str, Tensor]
    features: dict[str, Tensor]
    fusion: Tensor


class SelfMM(Backbone):
    """Self-supervised multi-task network of Yu et al. (2021); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; any modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        lstm_dims: Width of the LSTM states of audio and vision.
        out_dims: Width of their utterance vectors.
        fusion_dim: Width of the fused features.
        post_dims: Width of the features of text, audio and vision that enter the label generation.
        lstm_dropout: Dropout of the last LSTM states, between the LSTM and its map, where no other network has one.
        out_dropout: Dropout of the joined utterance vectors.
        post_dropout: Dropout of each utterance vector in front of its own head, which only training has.
        text_pool: Utterance vector of the text, its ``first`` position or the ``mean``; None is the first position with
            an encoder and the mean without.
        unimodal_labels: What the heads of the modalities learn: labels ``generated`` as published, or those that the
            ``corpus`` has of modalities alone.

    Raises:
        MERError: For an unknown ``text_pool`` or ``unimodal_labels``, or labels of the corpus for a task of another
            kind than sentiment.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> model, batch = SelfMM(spec, task), Batch.random(spec, task, size=4)
        >>> for epoch in range(2):
        ...     (step,) = model.steps(batch)
        >>> sorted(step.losses), model.bank
        (['self_mm/audio', 'self_mm/text', 'self_mm/vision'], LabelBank(4 samples of text, audio, vision))
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        lstm_dims: tuple[int, int] = (16, 32),
        out_dims: tuple[int, int] = (16, 32),
        fusion_dim: int = 128,
        post_dims: tuple[int, int, int] = (32, 16, 32),
        lstm_dropout: float = 0.0,
        out_dropout: float = 0.0,
        post_dropout: float = 0.1,
        text_pool: TextPool | None = None,
        unimodal_labels: UnimodalLabels = "generated",
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("SelfMM", "unimodal_labels", unimodal_labels, get_args(UnimodalLabels))
        self.from_corpus = unimodal_labels == "corpus"
        if self.from_corpus:
            check_sentiment("SelfMM", task)
        self.text_pool = text_pool or ("mean" if self.text_encoder is None else "first")
        check_choice("SelfMM", "text_pool", self.text_pool, get_args(TextPool))
        sizes = dict(zip(("audio", "vision"), zip(lstm_dims, out_dims, strict=True), strict=True))
        self.encoders = nn.ModuleDict(
            {
                name: LSTMEncoder(spec.dim(name), *sizes[name], lstm_dropout, always_map=True)
                for name in spec.modalities
                if name in sizes
            }
        )
        widths = {name: sizes[name][1] if name in sizes else self.input_dims[name] for name in spec.modalities}
        dims = {name: dim for name, dim in zip(MODALITIES, post_dims, strict=True) if name in widths}
        self.fusion = Tower(sum(widths.values()), fusion_dim, out_dropout)
        self.head = nn.Linear(fusion_dim, task.num_outputs)
        self.towers = nn.ModuleDict({name: Tower(widths[name], dim, post_dropout) for name, dim in dims.items()})
        self.unimodal = nn.ModuleDict({name: nn.Linear(dim, task.num_outputs) for name, dim in dims.items()})
        self.bank = None
        if isinstance(task, SentimentRegression) and task.convention != "scale" and not self.from_corpus:
            self.bank = LabelBank(fusion_dim, dims, task.limits[1])
        self.feature_dim = fusion_dim

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        utterance = {name: self._utterance(name, modality) for name, modality in given.items()}
        fusion, features = self.fusion(torch.cat(list(utterance.values()), 1))
        own, predictions = {}, {}
        for name, vector in utterance.items():
            own[name], last = self.towers[name](vector)
            predictions[name] = self.task.reshape(self.unimodal[name](last))
        return Output(self.classify(features), features, aux=Unimodal(predictions, own, fusion))

    def _utterance(self, name: str, modality: Modality) -> Tensor:
        """Utterance vector (B, d) of a modality."""
        if name != "text":
            vector: Tensor = self.encoders[name](modality.x, modality.mask)[1]
            return vector
        return pool_text(modality.x, modality.mask, self.text_pool)

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """L_s = mean(tanh |y_s - y_m| |prediction_s - y_s|) of each modality s; for classes the task's own loss."""
        predictions = output.aux.predictions
        if self.from_corpus:
            known = unimodal_losses(self.task, predictions, batch)
            return {f"self_mm/{name}": loss for name, loss in known.items()}
        if self.bank is None:
            losses = {name: self.task.criterion(logits, batch.target) for name, logits in predictions.items()}
        else:
            labels = self.bank.labels(batch.index, batch.target)
            losses = {
                name: label_weights(labels[name], batch.target) * self.task.criterion(logits, labels[name])
                for name, logits in predictions.items()
            }
        return {f"self_mm/{name}": distributed_mean(loss) for name, loss in losses.items()}

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        for step in super().steps(batch):
            if self.training and self.bank is not None:
                found: Unimodal = step.output.aux
                self.bank.update(batch.index, batch.target, found.fusion, found.features)
            yield step


class Tower(nn.Module):
    """Dropout and two linear layers with ReLU; both their outputs are of use.

    Args:
        input_dim: Width of the input.
        dim: Width of both layers.
        dropout: Dropout of the input.
    """

    def __init__(self, input_dim: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear1, self.linear2 = nn.Linear(input_dim, dim), nn.Linear(dim, dim)

    @override
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, input_dim) to the features (B, dim) of the first layer and of the second."""
        first = F.relu(self.linear1(self.dropout(x)))
        return first, F.relu(self.linear2(first))
