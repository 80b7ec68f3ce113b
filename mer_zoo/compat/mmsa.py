"""Key map of thuiar/MMSA's networks on one vector or one LSTM a modality: TFN, LMF, LF-DNN, EF-LSTM and MFN."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["MMSA"]

_LETTERS = {"l": "text", "a": "audio", "v": "vision"}
_MEMORY = {"att1": "attention", "att2": "candidate", "gamma1": "keep", "gamma2": "write", "out": "head"}

MMSA = KeyMap(
    rules=(
        (r"^Model\.", ""),
        (r"^video_", "vision_"),
        (r"^text_subnet\.rnn\.", "subnets.text.lstm."),
        (r"^text_subnet\.linear_1\.", "subnets.text.linear."),
        (r"^(audio|vision)_subnet\.norm\.", r"subnets.\1.norm."),
        (r"^(audio|vision)_subnet\.linear_([123])\.", r"subnets.\1.linear\2."),
        (r"^(text|audio|vision)_factor$", r"factors.\1"),
        (r"^fusion_weights$", "head.weight"),
        (r"^fusion_bias$", "head.bias"),
        (r"^post_fusion_layer_([12])\.", r"fc\1."),
        (r"^(post_fusion_layer_3|out)\.", "head."),
        *((f"^lstm_{letter}\\.", f"cells.{name}.") for letter, name in _LETTERS.items()),
        *((f"^{old}_fc([12])\\.", f"{new}.fc\\1.") for old, new in _MEMORY.items()),
    ),
    dropped={r"^(Model\.)?output_(range|shift)$": "the constants 6 and -3 of the scores' range"},
    own={r"\bnum_batches_tracked$": "a counter that a momentum makes needless"},
)
