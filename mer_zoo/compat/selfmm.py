"""Key map of Self-MM as in thuiar/MMSA."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["SELFMM"]

_NAMES = {"text": "text", "audio": "audio", "video": "vision"}

SELFMM = KeyMap(
    rules=(
        (r"^text_model\.model\.", "text_encoder.model."),
        *((rf"^{old}_model\.rnn\.", f"encoders.{new}.lstm.") for old, new in _NAMES.items()),
        *((rf"^{old}_model\.linear_1\.", f"encoders.{new}.linear.") for old, new in _NAMES.items()),
        *((rf"^post_{old}_layer_([12])\.", rf"towers.{new}.linear\1.") for old, new in _NAMES.items()),
        *((rf"^post_{old}_layer_3\.", f"unimodal.{new}.") for old, new in _NAMES.items()),
        (r"^post_fusion_layer_([12])\.", r"fusion.linear\1."),
        (r"^post_fusion_layer_3\.", "head."),
    ),
    dropped={r"^text_model\.model\.pooler\.": "token states are used, so the pooler is never run"},
    own={
        r"^bank\._extra_state$": "the released code keeps labels and features of training samples outside the network"
    },
)
