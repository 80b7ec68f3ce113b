"""Key map of zeroQiaoba/GCNet, and the order of its relations, which a state dict does not tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mer_zoo.compat.keymap import KeyMap
from mer_zoo.errors import MERError

__all__ = ["GCNET", "in_order"]

TEMPORAL, SPEAKER = ("past", "now", "future"), ("00", "01", "10", "11")

GCNET = KeyMap(
    rules=(
        (r"^module\.", ""),
        (r"^lstm\.", "rnn."),
        (r"^graph_net_(temporal|speaker)\.", r"graphs.\1."),
        (r"\.conv2\.lin_", ".conv2."),
        (r"\.grufusion\.", ".rnn."),
        (r"\.matchatt\.", ".attention."),
        (r"^smax_fc\.", "head."),
        (r"^linear_rec\.", "reconstruct."),
    ),
    dropped={r"^(module\.)?gru\.": "it is built and never used"},
    own={r"^views\.": "seed and number of the incomplete views"},
    optional={r"matchatt\.": "without time_attention nothing reads it"},
)


def in_order(
    state_dict: Mapping[str, Tensor], temporal: Sequence[str] = TEMPORAL, speaker: Sequence[str] = SPEAKER
) -> dict[str, Tensor]:
    """A released state dict with the relations of both graphs in the order of ours.

    The released code numbers relations as a Python set gives them, which changes from run to run; only the run that
    saved the weights knows.

    Args:
        state_dict: Of the released network.
        temporal: Which relation each matrix of the temporal graph stands for: "past", "now" and "future".
        speaker: Likewise of the speaker graph, speakers of target and source: "00", "01", "10" and "11"; of one speaker
            there is only the first.

    Returns:
        A copy, for ``load_released(model, ..., source="gcnet")``.

    Raises:
        MERError: If the names are others, or more or fewer than the matrices.

    Example:
        >>> import torch
        >>> weight = {"graph_net_temporal.conv1.weight": torch.tensor([1.0, 0.0, 2.0])}
        >>> in_order(weight, temporal=["now", "past", "future"])["graph_net_temporal.conv1.weight"].tolist()
        [0.0, 1.0, 2.0]
    """
    result = dict(state_dict)
    for graph, names, known in (("temporal", temporal, TEMPORAL), ("speaker", speaker, SPEAKER)):
        for key in [key for key in result if key.endswith(f"graph_net_{graph}.conv1.weight")]:
            ours = known[: len(result[key])]
            if sorted(names[: len(ours)] if len(ours) == 1 else names) != sorted(ours):
                raise MERError(
                    f"{key} has {len(ours)} relations, but {', '.join(names)} are named; name {', '.join(ours)} in the"
                    " order of its matrices"
                )
            result[key] = result[key][[list(names).index(name) for name in ours]]
    return result
