"""What GCNet completes, and how wrong that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mer_zoo.functional.precision import widen
from mer_zoo.layers.dialogues import Dialogues

__all__ = ["Completion", "completion_error", "in_released_order"]


class Completion(NamedTuple):
    """What was completed, as padded dialogues.

    Args:
        made: Modality to (D, S, d).
        dialogues: How the utterances of the batch lie in them.
        truth: Modality to (D, S, d) of the complete batch; None outside of training.
        missing: (D, S, n) bool, which of the modalities are missing though the complete batch has them; None outside of
            training.
    """

    made: dict[str, Tensor]
    dialogues: Dialogues
    truth: dict[str, Tensor] | None = None
    missing: Tensor | None = None


def completion_error(made: Mapping[str, Tensor], truth: Mapping[str, Tensor], missing: Tensor) -> Tensor:
    """Squared error of what was completed, the mean over the features of each modality that is missing.

    Args:
        made: Modality to (D, S, d).
        truth: Modality to (D, S, d).
        missing: (D, S, n) bool, in the order of the modalities.

    Returns:
        (D, S), the sum over missing modalities; 0 where nothing is missing.

    Example:
        >>> made, truth = {"text": torch.ones(1, 2, 4)}, {"text": torch.zeros(1, 2, 4)}
        >>> completion_error(made, truth, torch.tensor([[[True], [False]]])).tolist()
        [[1.0, 0.0]]
    """
    errors = [(widen(made[name]) - widen(x)).square().mean(2) for name, x in truth.items()]
    return (torch.stack(errors, 2) * missing).sum(2)


def in_released_order(mask: Tensor) -> Tensor:
    """What the released loss takes for the mask: its numbers, dialogue after dialogue, read as turn after turn.

    Args:
        mask: (D, S) bool.

    Returns:
        (D, S) bool with as many True, some of them at padding where dialogues differ in length.

    Example:
        >>> in_released_order(torch.tensor([[True, True, True], [True, False, False]])).tolist()
        [[True, True, False], [True, True, False]]
    """
    return mask.reshape(mask.shape[1], mask.shape[0]).T
