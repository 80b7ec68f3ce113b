"""Metrics of sentiment and emotion, as torchmetrics classes updated with (logits, target).

Papers disagree on what they call accuracy and F1, so every variant has its own name, and three conventions exist:

- ``mmsa`` (default): ``Acc2_has0`` takes all samples, score >= 0 against prediction >= 0; ``Acc2_non0`` leaves label 0
  out and takes > 0; F1 is averaged over the classes, weighted by how often each is true.
- ``mult``: zero counts as negative in ``Acc2_has0`` (> 0 on both sides), and F1 is weighted by the predicted classes,
  as where truth and prediction were handed over in the wrong order.
- ``causalmer``: the two-class F1 is that of the positive class alone, and with class logits the neutral class and above
  count as a positive prediction.

Without samples that count (an all-neutral split in ``Acc2_non0``) accuracy and F1 are 0, as in torchmetrics.
"""

from mer_zoo.metrics.collections import emotion_metrics, sentiment_metrics
from mer_zoo.metrics.confusion import ClassMetric, ConfusionMetric, Convention, EmotionMetric, PolarityMetric
from mer_zoo.metrics.contribution import ModalityContribution
from mer_zoo.metrics.regression import Corr, MeanAbsoluteError
from mer_zoo.metrics.robustness import AUILC
from mer_zoo.metrics.significance import Interval, mean_std, paired_bootstrap, paired_bootstrap_area

__all__ = [
    "AUILC",
    "ClassMetric",
    "ConfusionMetric",
    "Convention",
    "Corr",
    "EmotionMetric",
    "Interval",
    "MeanAbsoluteError",
    "ModalityContribution",
    "PolarityMetric",
    "emotion_metrics",
    "mean_std",
    "paired_bootstrap",
    "paired_bootstrap_area",
    "sentiment_metrics",
]
