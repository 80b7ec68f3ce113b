"""Two views of a batch in one pass of EMT-DLFR, and what its losses need of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mer_zoo.batch import Modality

__all__ = ["Restoration", "View", "stack"]


class View(NamedTuple):
    """What the network makes of a view.

    Args:
        features: (B, f) joint representation.
        vectors: "tokens", the global tokens (B, n d), and the utterance vector (B, U_m) of each modality.
    """

    features: Tensor
    vectors: dict[str, Tensor]


class Restoration(NamedTuple):
    """What the losses of two views need.

    Args:
        complete: The complete view.
        incomplete: The view with missing frames.
        hidden: (B, T_m, d) of each modality, the incomplete view at the steps that are lost.
        frames: (B, T_m, D_m) of each modality, of the complete view, encoded.
        lost: (B, T_m) bool of each modality, the steps that only the complete view has.
    """

    complete: View
    incomplete: View
    hidden: dict[str, Tensor]
    frames: dict[str, Tensor]
    lost: dict[str, Tensor]


def stack(first: Modality, second: Modality) -> Modality:
    """One view below the other: 2 B samples, for one pass of the network."""
    return Modality(torch.cat([first.x, second.x]), torch.cat([first.mask, second.mask]))
