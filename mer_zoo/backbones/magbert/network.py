"""MAG-BERT: audio and vision move the word vectors that enter a language model, and the model does the rest.

Idea: how a word is said and what the face does meanwhile change what it means, so its vector is moved, by no more than
a share of its own length. The move is made between the embeddings and the first layer, and everything after is the
language model as it was trained.

Input and shapes (B batch, T text steps, d width of the encoder):
    batch.text (B, T) token ids or (B, T, D_l) features, batch.audio, batch.vision (B, T_m, D_m), at least one of them;
    output.features (B, d), the pooled vector; output.hidden[m] (B, T, d), one and the same sequence under the name of
    every modality in use; output.inputs["text"], with an encoder, what its embeddings say before they are moved.

Where the paper is in the code:
    gate, shift, norm        backbones/magbert/mag.py
    language model           layers/text_encoder.py, TextEncoder.embed and forward

What is decided here:
    * without a language model, words come from text features or a trained embedding, get positions, pass through the
      gate and then through a small pre-norm transformer (``dim``, ``layers``, ``heads``), as MulT's encoders are built;
    * unaligned audio and vision are averaged to the words, from [CLS] to [SEP], as word-aligned features are made;
    * the pooled vector is a tanh layer on the first position, [CLS], or, for text features, on the mean
      (``text_pool``);
    * text must be in use, and at least one of the others.

Differences from the authors' code:
    * the pooling layer starts untrained, also where the encoder comes with a trained one (fixed);
    * its squared error of the task is the absolute error of SentimentRegression here, as in MMSA (fixed).

Reproduction: the gate to 1e-5 of the usual code; the whole network has not been compared, and results on corpora are
not yet run.

References:
    Rahman et al., "Integrating Multimodal Information in Large Pretrained Transformers", ACL 2020, arXiv:1908.05787.
    Released code: WasifurRahman/BERT_multimodal_transformer; nothing copied.
"""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.magbert.mag import MAG
from mer_zoo.batch import DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.positions import embed_positions
from mer_zoo.layers.sequence import TextPool, at_words, pool_text
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.transformer import TransformerEncoder
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["MAGBERT"]


class MAGBERT(Backbone):
    """Language model with a multimodal adaptation gate of Rahman et al. (2020); see the module's text.

    Args:
        spec: Shapes of the data; text and at least one other modality.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`; the gate stands between its embeddings and its layers.
        beta: The paper's beta, the largest move of a word vector, relative to its length.
        embed_dropout: Dropout of the words that the gate has moved, on their way into the layers.
        out_dropout: Dropout in front of the classifier.
        dim: Width without an encoder, at least 4.
        depth: Layers without an encoder.
        heads: Heads without an encoder; divides ``dim``.
        attn_dropout: Dropout of the attention weights of these layers.
        relu_dropout: Dropout behind their ReLU.
        res_dropout: Dropout of what they add to their input.
        text_pool: Pool the ``first`` position or the ``mean``; None is the first for token ids and the mean for
            features.

    Raises:
        MERError: If text or both other modalities are not in use, if the encoder has no embeddings of its own width in
            front of its layers, or for an option out of range.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> MAGBERT(spec, task, dim=8)(Batch.random(spec, task, size=3)).hidden["audio"].shape
        torch.Size([3, 6, 8])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        beta: float = 1.0,
        embed_dropout: float = 0.5,
        out_dropout: float = 0.1,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        attn_dropout: float = 0.1,
        relu_dropout: float = 0.1,
        res_dropout: float = 0.1,
        text_pool: TextPool | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        self.others = [name for name in spec.modalities if name != "text"]
        if len(self.others) == len(spec.modalities) or not self.others:
            raise MERError(
                f"MAGBERT moves words by audio or vision, but the data has {', '.join(spec.modalities)}; give text and"
                f" another"
            )
        if beta <= 0:
            raise MERError(f"beta of MAGBERT is {beta}; give a positive share of the length of a word vector")
        self.text_pool = text_pool or ("first" if spec.tokens else "mean")
        check_choice("MAGBERT", "text_pool", self.text_pool, get_args(TextPool))
        self.project: nn.Linear | None = None
        self.layers: TransformerEncoder | None = None
        if self.text_encoder is None:
            self.project = nn.Linear(self.input_dims["text"], dim)
            self.layers = TransformerEncoder(dim, heads, depth, Dropouts(attn_dropout, relu_dropout, res_dropout))
        else:
            dim = self.text_encoder.embedding_dim
            _check_encoder(self.text_encoder.model)
        self.gate = MAG(dim, {name: spec.dim(name) for name in self.others}, beta, embed_dropout)
        self.pooler, self.dropout = nn.Linear(dim, dim), nn.Dropout(out_dropout)
        self.head = nn.Linear(dim, task.num_outputs)
        self.feature_dim = dim
        self.hidden_shape = dict.fromkeys(spec.modalities, (spec.text_len, dim))
        self.hidden_axes = dict.fromkeys(spec.modalities, "text")

    @override
    def encode_text(self, text: Modality) -> Modality:
        if self.text_encoder is None or not text.is_tokens:
            return super().encode_text(text)
        return text.replace(x=self.text_encoder.embed(text.x, text.mask), token_ids=text.x)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        shown = {name: at_words(given[name], text.mask, self.spec.aligned) for name in self.others}
        words = self._words(text, shown)
        states = torch.where(text.mask[..., None], words, 0.0)
        pooled = pool_text(states, text.mask, self.text_pool)
        features = self.dropout(torch.tanh(self.pooler(pooled)))
        return Output(self.classify(features), features, dict.fromkeys(self.spec.modalities, states))

    def _words(self, text: Modality, others: dict[str, Tensor]) -> Tensor:
        """Words (B, T, d) after the gate and the layers behind it."""
        if self.text_encoder is not None:
            assert text.token_ids is not None
            states: Tensor = self.text_encoder(text.token_ids, text.mask, self.gate(text.x, others))
            return states
        assert self.project is not None
        assert self.layers is not None
        moved = self.gate(embed_positions(self.project(text.x), text.mask), others)
        encoded: Tensor = self.layers(moved, mask=text.mask)
        return encoded


def _check_encoder(model: Any) -> None:
    width: int = model.config.hidden_size
    embeddings = getattr(model, "embeddings", None)
    if not isinstance(embeddings, nn.Module) or getattr(model.config, "embedding_size", width) != width:
        raise MERError(
            f"MAGBERT needs an encoder with embeddings of its own width in front of its layers, which"
            f" {type(model).__name__} has not;"
            " choose one such as BERT or RoBERTa"
        )
