"""DCCAE: DCCA whose projections also lead back to what they were made of.

Idea and everything else as in backbones/dcca/network.py; a network for each modality makes its vector of its
projection, so that what is peculiar to a modality is not lost. The reconstruction is of the vector that was given,
which for a missing modality is the mean.

Differences from the usual code (of GCNet's authors) beside those of DCCA: it keeps the weights of the epoch after the
best one; here the best one (fixed). `variant: released` sends text through both networks of vision.

Reproduction: projections, reconstructions, losses and gradients of the usual code to 1e-5 in float64. Scores not yet
run.

References:
    Wang, Arora, Livescu, Bilmes, "On Deep Multi-View Representation Learning", ICML 2015. Code: zeroQiaoba/GCNet (no
    licence stated); nothing copied.
"""

from __future__ import annotations

from mer_zoo.backbones.dcca.correlated import Correlated, Variant
from mer_zoo.batch import DataSpec
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.task import Task

__all__ = ["DCCAE"]


class DCCAE(Correlated):
    """Deep canonically correlated autoencoders of Wang et al. (2015), of several views; see the module's text.

    Args:
        spec: Shapes of the data; any modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        pretrained: Checkpoint of a run of DCCAE, whose networks are kept as they are; None trains all.
        rate: Share of the modalities that are missing in training, drawn anew every time; never all of a sample's.
        dim: Width k of a projection.
        hidden_dim: Width of the three layers on either side of it.
        task_weight: Weight of the task's loss; 0 for stage 1.
        correlation_weight: Weight of the loss of all pairs of modalities.
        reconstruction_weight: Weight of the squared errors of the reconstructions.
        variant: "ours", or "released" for networks that text and vision share.
        seed: Seed of what is missing in training; None for the global one.

    Raises:
        MERError: As for :class:`~mer_zoo.backbones.DCCA`.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> (step,) = DCCAE(spec, task, dim=4, hidden_dim=8).steps(Batch.random(spec, task, size=12))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([12, 12]), ['dccae/correlation', 'dccae/reconstruction'])
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
        reconstruction_weight: float = 0.001,
        variant: Variant = "ours",
        seed: int | None = None,
    ) -> None:
        weights = {"correlation": correlation_weight, "reconstruction": reconstruction_weight}
        sizes = (pretrained, rate, dim, hidden_dim, task_weight)
        super().__init__(spec, task, text_encoder, *sizes, weights, decodes=True, variant=variant, seed=seed)
