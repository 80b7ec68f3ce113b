"""LNLN, the Language-dominated Noise-resistant Learning Network: text leads, and a proxy stands in where it is damaged.

Idea: text says most about sentiment, but may be incomplete. The network estimates how complete it is and mixes it in
that proportion with a proxy made of audio and vision, which an adversary keeps indistinguishable from complete text.
What results leads
the rest: it asks audio and vision for what belongs to it, and is read together with their answer.

Input and shapes (B batch, T_m steps and D_m features of modality m, d width, n tokens a modality, 8 in the paper):
    batch.text (B, T_t, D_t), and audio (B, T_a, D_a), vision (B, T_v, D_v) or one of them;
    output.features (B, d), the mean of the fused tokens;
    output.hidden[m] (B, n, d), what the tokens of m have gathered;
    output.effects["completeness"] (B,), how complete the text seems, in (0, 1).

Where the paper is in the code:
    embedding with learned tokens          LNLN.project, LNLN.gather, backbones/lnln/token_transformer.py,
                                           TokenTransformer
    completeness check                     LNLN.check, LNLN.estimate
    proxy dominant modality, mixing        LNLN.proxy, functional/noise_resistance.py, mix_dominant
    adaptive hyper-modality learning       LNLN.language, LNLN.hyper, backbones/lnln/token_transformer.py, HyperLayer
    fusion                                 LNLN.fusion
    reconstruction, adversary, losses      LNLN.losses, functional/noise_resistance.py

Training is on one view: the incomplete one is scored, the complete one only gives the tokens that it is restored to and
that the adversary takes for real; these are not detached. Validation and test take the batch as it is.

What is decided here:
    * text and at least one other modality: without text nothing leads, without another nothing stands in for it;
    * with token ids [CLS] and [SEP] count neither as words of the text nor as missing.

Differences from the authors' code, and why:
    * the truth for the completeness is the share of words that are there; the code takes the rate that was drawn for
      the sample, of which that share is one outcome;
    * each modality of a sample is spared with probability 1/2; the code spares exactly half of the samples, drawn anew
      each epoch;
    * the task loss is the task's, absolute error in regression; the code trains with the squared error;
    * the extra token in front of the fused target is left out: nothing reads it;
    * the best epoch is chosen on the validation split; the code chooses one for each metric on the test split.
    Kept: the reversal stands behind the proxy, so that the gradient of the sentiment, too, reaches the proxy's
        generator with the
    other sign; padding is read, so that batches have the lengths of the spec.

Reproduction: outputs and losses of the released code, in both views and at test, to 1e-5
(tests/backbones/lnln/test_network.py); accuracy not yet run.

References:
    Zhang, Wang, Yu, "Towards Robust Multimodal Sentiment Analysis with Incomplete Data", NeurIPS 2024.
    Released code: Haoyu-ha/LNLN (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.lnln.token_transformer import HyperLayer, TokenCrossTransformer, TokenTransformer
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.drop import protected
from mer_zoo.data.missing.noise import UnevenRMFM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.noise_resistance import (
    completeness_error,
    discriminator_loss,
    mix_dominant,
    text_completeness,
    token_error,
)
from mer_zoo.layers.gradient_reversal import reverse_gradient
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone, Shown
from mer_zoo.options import check_weights
from mer_zoo.task import Task

__all__ = ["LNLN", "LNLNTerms"]

DISCRIMINATOR_DIM = 64


class LNLNTerms(NamedTuple):
    """What the losses need.

    Args:
        w: (B, 1) estimated completeness of the text.
        dominant: (B, n, d) the dominant representation.
        tokens: (B, n, d) of each modality, gathered from the view that is scored.
        complete: (B, n, d) of each modality, gathered from the complete view; None outside training.
    """

    w: Tensor
    dominant: Tensor
    tokens: dict[str, Tensor]
    complete: dict[str, Tensor] | None = None


class LNLN(Backbone):
    """The network and training of Zhang et al. (2024); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; text and audio, vision or both.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d of the tokens.
        heads: Heads of each attention, 64 wide whatever the width.
        hyper_heads: Heads of the hyper-modality layers, which share the width; divides it.
        tokens: Tokens a modality.
        gather_layers: Layers that gather a modality in its tokens.
        check_layers: Layers that estimate the completeness.
        proxy_layers: Layers that make the proxy.
        language_layers: Layers of the dominant representation; there is one more hyper-modality layer.
        fusion_layers: Layers that fuse both.
        restore_layers: Layers that restore the tokens of the complete view.
        discriminator_dim: Hidden width of the adversary.
        completeness_weight: Weight of the error of the completeness.
        adversarial_weight: Weight of the adversary's loss.
        reconstruction_weight: Weight of the error of the restored tokens.
        seed: Seed of the incomplete views; None for the global one.

    Raises:
        MERError: Without text or without another modality, for heads that do not divide the width, without a layer or a
            token, or for a weight out of range.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> model = LNLN(spec, task, dim=8, heads=2, hyper_heads=2, tokens=3)
        >>> (step,) = model.steps(Batch.random(spec, task, size=4))
        >>> step.output.logits.shape, sorted(step.losses)
        (torch.Size([4, 1]), ['lnln/adversarial', 'lnln/completeness', 'lnln/restoration'])
    """

    fixed_length = reads_padding = True

    shown_effects: ClassVar[Mapping[str, Shown]] = {
        "completeness": Shown("how complete the text seems, from 0 to 1", "number")
    }

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 128,
        heads: int = 8,
        hyper_heads: int = 8,
        tokens: int = 8,
        gather_layers: int = 2,
        check_layers: int = 2,
        proxy_layers: int = 2,
        language_layers: int = 2,
        fusion_layers: int = 2,
        restore_layers: int = 2,
        discriminator_dim: int = DISCRIMINATOR_DIM,
        completeness_weight: float = 0.9,
        adversarial_weight: float = 0.8,
        reconstruction_weight: float = 0.1,
        seed: int | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        used = spec.modalities
        self.sources = [name for name in used if name != "text"]
        if "text" not in used or not self.sources:
            raise MERError(f"LNLN needs text and audio or vision, but the data is used with {', '.join(used)} only")
        self.weights = (completeness_weight, adversarial_weight, reconstruction_weight)
        losses = ("completeness_weight", "adversarial_weight", "reconstruction_weight")
        check_weights("LNLN", dict(zip(losses, self.weights, strict=True)))
        if tokens < 1:
            raise MERError(f"tokens of LNLN is {tokens}; give at least 1")
        self.views = IncompleteViews(UnevenRMFM(), seed)
        self.project = nn.ModuleDict({name: nn.Linear(self.input_dims[name], dim) for name in used})
        self.gather = nn.ModuleDict(
            {name: TokenTransformer(dim, heads, gather_layers, spec.length(name), tokens) for name in used}
        )
        self.check = TokenTransformer(dim, heads, check_layers, tokens, 1)
        self.estimate = nn.Sequential(nn.Linear(dim, dim // 2), nn.LeakyReLU(0.1), nn.Linear(dim // 2, 1), nn.Sigmoid())
        self.proxy_start = nn.Parameter(torch.ones(1, tokens, dim))
        self.proxy = TokenTransformer(dim, heads, proxy_layers, tokens * len(used), tokens)
        self.language = TokenTransformer(dim, heads, language_layers, tokens)
        self.hyper_start = nn.Parameter(torch.ones(1, tokens, dim))
        self.hyper = nn.ModuleList(HyperLayer(dim, hyper_heads, self.sources) for _ in range(language_layers + 1))
        self.fusion = TokenCrossTransformer(dim, heads, fusion_layers, tokens)
        self.restore = nn.ModuleDict({name: TokenTransformer(dim, heads, restore_layers, tokens) for name in used})
        self.discriminator = nn.Sequential(
            nn.Linear(dim, discriminator_dim), nn.LeakyReLU(0.1), nn.Linear(discriminator_dim, 2)
        )
        self.feature_dim = dim
        self.head = nn.Linear(dim, task.num_outputs)
        self.hidden_shape = dict.fromkeys(used, (tokens, dim))

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        h = self.gathered(self.in_use(text, audio, vision))
        others = {name: h[name] for name in self.sources}
        w = self.estimate(self.check(h["text"]).squeeze(1))
        start = self.proxy_start.expand(len(w), -1, -1)
        proxy = self.proxy(torch.cat([start, *others.values()], 1))
        dominant = mix_dominant(h["text"], reverse_gradient(proxy), w)
        states = self.language.states(dominant)
        hyper = self.hyper_start.expand(len(w), -1, -1)
        for layer, state in zip(self.hyper, states, strict=True):
            hyper = layer(state, others, hyper)
        features = self.fusion(hyper, states[-1]).mean(1)
        effects = {"completeness": w.squeeze(1)}
        return Output(self.classify(features), features, h, effects=effects, aux=LNLNTerms(w, dominant, h))

    def gathered(self, given: Mapping[str, Modality]) -> dict[str, Tensor]:
        """Tokens (B, n, d) of each modality in use, from float sequences."""
        return {name: self.gather[name](self.project[name](given[name].x)) for name in self.spec.modalities}

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        view: Batch = self.views(batch, self.spec)
        output: Output = self(view)
        complete = {name: batch.modality(name) for name in MODALITIES} | {"text": self.encode_text(batch.text)}
        output = output.replace(aux=output.aux._replace(complete=self.gathered(complete)))
        yield Step(view, output, self.losses(output, view))

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        terms: LNLNTerms = output.aux
        by_completeness, by_adversary, by_restoration = self.weights
        words = batch.text.mask & ~protected(batch.text, self.spec)
        truth = text_completeness(batch.text.observed, words)
        losses = {"lnln/completeness": by_completeness * distributed_mean(completeness_error(terms.w, truth))}
        if terms.complete is None:
            return losses
        judged = self.discriminator(terms.dominant), self.discriminator(terms.complete["text"])
        errors = [
            token_error(self.restore[name](tokens), terms.complete[name]) for name, tokens in terms.tokens.items()
        ]
        losses["lnln/adversarial"] = by_adversary * distributed_mean(discriminator_loss(*judged))
        losses["lnln/restoration"] = by_restoration * distributed_mean(torch.stack(errors))
        return losses
