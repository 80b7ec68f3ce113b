"""Key map of Teng-Sun/CLUE_model: the text branch and the scalar; the network inside is loaded with its own map."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["CLUE"]

CLUE = KeyMap(
    rules=(
        (r"^trnn([12])\.", r"text_branch.encoder.lstm\1."),
        (r"^tlayer_norm\.", "text_branch.encoder.norm."),
        (r"^text_mlp\.", "text_branch.classifier."),
    ),
    own={
        r"^strength\.": "the choice of alpha is this library's",
        r"^backbone\.": "the network inside, which is loaded by itself with a map of its own",
    },
)
