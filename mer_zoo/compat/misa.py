"""Key map of MISA as in thuiar/MMSA, with BERT and the similarity loss by moments."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["MISA"]

_LETTERS = {"t": "text", "a": "audio", "v": "vision"}

MISA = KeyMap(
    rules=(
        (r"^bertmodel\.model\.", "text_encoder.model."),
        *((rf"^{letter}rnn([12])\.", rf"encoders.{name}.lstm\1.") for letter, name in _LETTERS.items()),
        *((rf"^{letter}layer_norm\.", f"encoders.{name}.norm.") for letter, name in _LETTERS.items()),
        *((rf"^project_{letter}\.project_{letter}\.", f"project.{name}.0.") for letter, name in _LETTERS.items()),
        *(
            (rf"^project_{letter}\.project_{letter}_layer_norm\.", f"project.{name}.2.")
            for letter, name in _LETTERS.items()
        ),
        *((rf"^private_{letter}\.private_{letter}_\d\.", f"private.{name}.") for letter, name in _LETTERS.items()),
        *((rf"^recon_{letter}\.recon_{letter}_1\.", f"restore.{name}.") for letter, name in _LETTERS.items()),
        (r"^shared\.shared_1\.", "shared."),
        (r"^transformer_encoder\.layers\.0\.", "attention."),
        (r"^fusion\.fusion_layer_1\.", "join."),
        (r"^fusion\.fusion_layer_3\.", "head."),
    ),
    dropped={
        r"^bertmodel\.model\.pooler\.": "token states are used, so the pooler is never run",
        r"^sp_discriminator\.": "the released code computes it, but no loss uses it",
    },
    optional={
        r"^tlayer_norm\.": "the released code builds it with BERT too, where nothing reads the text by an LSTM",
        r"^recon_[tav]\.": "without a reconstruction loss nothing is restored",
    },
)
