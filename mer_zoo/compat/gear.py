"""Key map of Teng-Sun/GEAR: its bias branches and the split of the fusion.

The network that finds the content is any backbone here, so its part of a released checkpoint has no place. Nor have the
states of the
second text encoder: our text branch (``branches={"text": "first"}``) reads the network's own encoder.
"""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["GEAR"]

_NAMES = {"text": "text", "audio": "audio", "video": "vision"}

GEAR = KeyMap(
    rules=(
        *((rf"^{theirs}_model\.model_b\.", f"branches.{ours}.") for theirs, ours in _NAMES.items()),
        (r"^(branches\.\w+\.)model_\w+\.rnn\.", r"\1encoder.lstm."),
        (r"^(branches\.\w+\.)model_\w+\.linear_1\.", r"\1encoder.linear."),
        (r"^(branches\.\w+\.)post_\w+_layer_1\.", r"\1hidden."),
        (r"^(branches\.\w+\.)feature\.0\.", r"\1feature."),
        (r"^(branches\.\w+\.)final\.", r"\1head."),
        *(
            rule
            for letter, part in (("c", "content"), ("b", "bias"))
            for rule in (
                (rf"^fusion_model\.model_{letter}\.1\.", f"fusion.{part}_encoder."),
                (rf"^fusion_model\.model_{letter}_feature\.0\.", f"fusion.{part}_head.0."),
                (rf"^fusion_model\.model_{letter}_final\.", f"fusion.{part}_head.2."),
            )
        ),
    ),
    dropped={
        r"^(text|audio|video)_model\.model_c\.": "the content network, in whose place any backbone stands",
        r"^text_model\.model_b\.model_text\.": "the text branch reads the network's own text encoder",
    },
    own={
        r"^backbone\.": "the network inside, which is loaded by itself",
        r"^(prepared|_extra_state)$": "what is counted in training",
    },
)
