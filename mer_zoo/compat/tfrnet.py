"""Key map of TFR-Net as in thuiar/MMSA and thuiar/TFR-Net."""

from mer_zoo.compat.keymap import KeyMap
from mer_zoo.compat.mult import MULT

__all__ = ["TFRNET"]

_LETTERS = {"l": "text", "a": "audio", "v": "vision"}
_POOLING = {"gru.gru": "gru", "cnn": "gate", "fc": "join"}
_HEAD = {"norm": 0, "hidden": 1, "final": 4}

TFRNET = KeyMap(
    rules=(
        (r"^Model\.", ""),
        (r"^text_model\.model\.", "text_encoder.model."),
        (r"^align_subnet\.Model\.", ""),
        *((rf"^trans_{letter}_final\.", f"generators.{name}.encoder.") for letter, name in _LETTERS.items()),
        *((rf"^generator_{name[0]}\.Model\.", f"generators.{name}.") for name in _LETTERS.values()),
        *(
            (rf"^fusion_subnet\.Model\.(\w+)_encoder\.{theirs}\.", rf"pooling.\1.{ours}.")
            for theirs, ours in _POOLING.items()
        ),
        *(
            (rf"^fusion_subnet\.Model\.classifier\.linear_trans_{theirs}\.", f"head.{ours}.")
            for theirs, ours in _HEAD.items()
        ),
        *MULT.rules,
    ),
    dropped={
        **MULT.dropped,
        r"^(Model\.)?text_model\.model\.pooler\.": "token states are used, so the pooler is never run",
        r"\.position_ids$": "counts from 0",
    },
    optional={r"proj_[lav]\.": "the released code skips a projection of equal widths"},
    own={
        r"\bnum_batches_tracked$": "a counter that nothing reads",
        r"^views\._extra_state$": "seed and number of the incomplete views",
    },
)
