"""Key map of MAG-BERT: the gate by itself, or a sequence classifier of Hugging Face with the gate in its encoder."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["MAGBERT"]

_GATE = (
    (r"(^|\.)W_h([va])\.", r"\1gates.\2."),
    (r"(^|\.)W_([va])\.", r"\1maps.\2."),
    (r"\b(gates|maps)\.v\.", r"\1.vision."),
    (r"\b(gates|maps)\.a\.", r"\1.audio."),
)

MAGBERT = KeyMap(
    rules=(
        *_GATE,
        (r"^LayerNorm\.", "norm."),
        (r"^bert\.MAG\.LayerNorm\.", "gate.norm."),
        (r"^bert\.MAG\.", "gate."),
        (r"^bert\.pooler\.dense\.", "pooler."),
        (r"^bert\.", "text_encoder.model."),
        (r"^classifier\.", "head."),
    ),
)
