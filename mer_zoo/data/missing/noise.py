"""Missing patterns that noise-resistant networks are trained on."""

from __future__ import annotations

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.data.missing.drop import steps
from mer_zoo.data.missing.pattern import MissingPattern, check_rate
from mer_zoo.functional.draws import dropped_at, uniform

__all__ = ["UnevenRMFM"]

# These keep the draws of the rates, and of which modalities are spared, apart from each other and from those of the
# positions.
RATE_KEY, SPARED_KEY = 0x369DEA0F31A53F85, 0x1D8E4E27C47D124F


class UnevenRMFM(MissingPattern):
    """Random frames missing in each modality at a rate of the sample's own, and in a share of the samples at none.

    Each modality of each sample draws its rate, uniform in [0, 1), and loses each position with that probability;
    independently for each modality, a sample is spared instead with the probability ``spared``.

    Args:
        spared: Probability that nothing of a modality of a sample is missing.

    Raises:
        MERError: If the probability lies outside [0, 1].

    References:
        Zhang, Wang, Yu, "Towards Robust Multimodal Sentiment Analysis with Incomplete Data" (LNLN), NeurIPS 2024,
        training data.

    Example:
        >>> UnevenRMFM()
        UnevenRMFM(spared=0.5)
    """

    def __init__(self, spared: float = 0.5) -> None:
        self.spared = check_rate(spared)

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        places = torch.arange(len(MODALITIES), device=batch.index.device)
        rates = uniform(key ^ RATE_KEY, batch.index, places)
        spared = dropped_at(self.spared, uniform(key ^ SPARED_KEY, batch.index, places))
        kept = {}
        for i, name in enumerate(MODALITIES):
            if name in spec.modalities:
                draws = uniform(key, batch.index, steps(batch.modality(name)) * len(MODALITIES) + i)
                kept[name] = spared[:, [i]] | ~dropped_at(rates[:, [i]], draws)
        return kept
