"""DCCA: the modalities of an utterance are projected so that what they say correlates, and classified side by side.

Idea: what several modalities have in common is what they say of the same utterance. A network for each makes a few
numbers of it, without labels, such that those of any two modalities have the largest canonical correlations over the
samples of a batch; a linear classifier reads all of them.

Input and shapes (B batch, T_m steps and D_m features of modality m, k width, n modalities in use):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not, any of them alone,
    each taken as the mean of its observed steps;
    output.features (B, n k), the projections of audio, vision and text; no hidden sequences.

Where the paper is in the code:
    networks, missing modalities, stages        backbones/dcca/correlated.py
    loss of two views                           functional/canonical.py

Missing modalities: the vector of a missing one is the mean over the training samples that have it.

What is decided here:
    * stages: stage 1 is trained with task_weight 0 and its last weights are taken, stage 2 with `pretrained`, which
      keeps the networks as they are and learns the classifier. By default both losses are trained at once, which no
      paper does;
    * the classifier is linear with the task's own loss, where the usual code takes a linear SVM;
    * `rate`: share of the modalities that are missing in training, drawn anew every time, where the usual code draws
      once and for all; none by default.
Batches are to be large, some hundred samples: those of 2 k or fewer tell nothing of correlations.

Differences from the usual code (of GCNet's authors), and why; ``variant="released"`` brings its behaviour back:
    * text goes through the network of vision there, and its own is never used; here each has its own;
    * the mean that stands for a missing modality is taken over training, validation and test data there; here over
      training data (fixed).
Kept from it: a ridge on T^T T, so that views without anything in common have a loss of -0.03 a dimension, not 0.

Reproduction: projections, losses and gradients of the usual code, in training and evaluation, with one network for two
views and with three, to 1e-5 in float64. Scores not yet run.

References:
    Andrew, Arora, Bilmes, Livescu, "Deep Canonical Correlation Analysis", ICML 2013; as a baseline for missing
    modalities Lian et al., "GCNet", IEEE TPAMI 2023. Code: zeroQiaoba/GCNet (no licence stated); nothing copied.
"""

from __future__ import annotations

from mer_zoo.backbones.dcca.correlated import Correlated, Variant
from mer_zoo.batch import DataSpec
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.task import Task

__all__ = ["DCCA"]


class DCCA(Correlated):
    """Deep canonical correlation analysis of Andrew et al. (2013), of several views; see the module's text.

    Args:
        spec: Shapes of the data; any modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        pretrained: Checkpoint of a run of DCCA, whose networks are kept as they are; None trains all.
        rate: Share of the modalities that are missing in training, drawn anew every time; never all of a sample's.
        dim: Width k of a projection.
        hidden_dim: Width of the three layers before it.
        task_weight: Weight of the task's loss; 0 for stage 1.
        correlation_weight: Weight of the loss of all pairs of modalities.
        variant: "ours", or "released" for one network of text and vision.
        seed: Seed of what is missing in training; None for the global one.

    Raises:
        MERError: For an option out of range, and in the released variant for text and vision of different widths; when
            trained, if the checkpoint does not fit.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> (step,) = DCCA(spec, task, dim=4, hidden_dim=8).steps(Batch.random(spec, task, size=12))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([12, 12]), ['dcca/correlation'])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        pretrained: str | None = None,
        rate: float = 0.0,
        dim: int = 10,
        hidden_dim: int = 256,
        task_weight: float = 1.0,
        correlation_weight: float = 1.0,
        variant: Variant = "ours",
        seed: int | None = None,
    ) -> None:
        weights = {"correlation": correlation_weight}
        sizes = (pretrained, rate, dim, hidden_dim, task_weight)
        super().__init__(spec, task, text_encoder, *sizes, weights, decodes=False, variant=variant, seed=seed)
