"""Key map of YetZzzzzz/GLoMo, the network for MOSI and MOSEI."""

from mer_zoo.compat.keymap import KeyMap
from mer_zoo.compat.mult import MULT

__all__ = ["GLOMO"]

_LETTERS = {"t": "text", "a": "audio", "v": "vision"}
_SUMS = {"attn_cs": "global", "attn_fs": "local"}

GLOMO = KeyMap(
    rules=(
        (r"^bert\.linear1\.", "summary."),
        (r"^bert\.proj_l\.", "project.text."),
        (r"^bert\.", "text_encoder.model."),
        *((rf"^moe_{letter}\.", f"mixtures.{name}.") for letter, name in _LETTERS.items()),
        *((rf"^fc_{letter}s\.", f"join.{name}.") for letter, name in _LETTERS.items()),
        *((rf"^{theirs}\.attention_mlp\.attention_mlp\.", f"sums.{ours}.inner.") for theirs, ours in _SUMS.items()),
        *((rf"^{theirs}\.fc_att\.", f"sums.{ours}.score.") for theirs, ours in _SUMS.items()),
        (r"^transformer_encoder\.layers\.", "fusion."),
        (r"^fc_all\.", "join_scales."),
        (r"^classifier\.", "head."),
    ),
    dropped={
        **MULT.dropped,
        r"^moe_[tav]\.(mean|std)$": "mean and deviation of the expected load are part of the variant",
        r"^bert\.pooler\.": "token states are used, so the pooler is never run",
        r"^bert\.embeddings\.position_ids$": "counts from 0",
    },
    parts={
        f"{theirs}_network.": (
            "",
            KeyMap(
                rules=((r"^projs\.", f"project.{ours}."), (r"^encoder\.", f"encoders.{ours}."), *MULT.rules),
                dropped=MULT.dropped,
            ),
        )
        for theirs, ours in (("audio", "audio"), ("video", "vision"))
    },
)
