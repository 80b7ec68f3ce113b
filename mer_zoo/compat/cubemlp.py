"""Key map of kiva12138/CubeMLP."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["CUBEMLP"]

_LETTERS = {"a": "audio", "v": "vision"}
_AXES = {"l": "time", "k": "modality", "d": "width"}
_PARTS = {"mlp_": "mlp", "ln_": "norm", "res_projection_": "project"}

CUBEMLP = KeyMap(
    rules=(
        (r"^bertmodel\.", "text_encoder.model."),
        (r"^W_t\.", "project."),
        *((f"^rnn_{letter}\\.", f"rnns.{name}.") for letter, name in _LETTERS.items()),
        *((f"^ln_{letter}\\.", f"norms.{name}.") for letter, name in _LETTERS.items()),
        (r"^mlp_encoder\.layers_stack\.", "blocks."),
        *(
            (f"^(blocks\\.\\d+)\\.{old}{letter}\\.", f"\\1.{axis}.{new}.")
            for letter, axis in _AXES.items()
            for old, new in _PARTS.items()
        ),
        (r"^classifier\.", "head."),
    ),
    dropped={
        r"^bertmodel\.pooler\.": "token states are used, so the pooler is never run",
        r"^bertmodel\.embeddings\.position_ids$": "counted here",
    },
)
