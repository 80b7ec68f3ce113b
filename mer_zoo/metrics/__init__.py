"""Metrics of sentiment and emotion, as torchmetrics classes updated with (logits, target).

Papers disagree on what they call accuracy and F1, so every variant has its own name, and three conventions exist for
sentiment in [-3, 3]:

- ``mmsa`` (default): ``Acc2_has0`` takes all samples, score >= 0 against prediction >= 0; ``Acc2_non0`` leaves label 0
  out and takes > 0; F1 is averaged over the classes, weighted by how often each is true.
- ``mult``: zero counts as negative in ``Acc2_has0`` (> 0 on both sides), and F1 is weighted by the predicted classes,
  as where truth and prediction were handed over in the wrong order.
- ``causalmer``: the two-class F1 is that of the positive class alone, and with class logits the neutral class and above
  count as a positive prediction.

Two are of other scales, and follow from the labels:

- ``sims``: CH-SIMS' [-1, 1] in MMSA's classes, ``Acc2`` with its weighted ``F1_2`` (above 0 or not), ``Acc3`` (borders
  -0.1 and 0.1) and ``Acc5`` (-0.7, -0.1, 0.1, 0.7).
- ``scale``: any other range; nothing but ``MAE`` and ``Corr``, which need no classes.

Without samples that count (an all-neutral split in ``Acc2_non0``) accuracy and F1 are 0, as in torchmetrics.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
