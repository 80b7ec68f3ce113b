"""Key map of yaohungt/Multimodal-Transformer, whole networks and single encoders."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["MULT"]

_LETTERS = {"l": "text", "a": "audio", "v": "vision"}
_PAIRS = tuple(
    (f"^trans_{a}_with_{b}\\.", f"crossmodal.{x}_from_{y}.") for a, x in _LETTERS.items() for b, y in _LETTERS.items()
)
_SINGLE = tuple(
    (f"^{old}\\.", f"{new}.")
    for letter, name in _LETTERS.items()
    for old, new in ((f"trans_{letter}_mem", f"memory.{name}"), (f"proj_{letter}", f"project.{name}"))
)

MULT = KeyMap(
    rules=(
        *_PAIRS,
        *_SINGLE,
        (r"^proj([12])\.", r"joint.fc\1."),
        (r"^out_layer\.", "head."),
        (r"\blayers\.(\d+)\.self_attn\.", r"layers.\1.attention."),
        (r"\blayers\.(\d+)\.layer_norms\.([01])\.", r"layers.\1.norm\2."),
        (r"\blayer_norm\.", "norm."),
    ),
    dropped={
        r"(^|\.)version$": "a buffer without content",
        r"(^|\.)embed_positions\._float_tensor$": "a buffer without content",
    },
    optional={
        r"^proj_[lav]\.": "the released code skips a projection of equal widths",
        r"^trans_[lav]_mem\.": "the released code never runs the memory of a modality that is no target",
    },
)
