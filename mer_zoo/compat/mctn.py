"""Key map of MCTN as in thuiar/MMSA, which stores each part under the name of every place where it is used."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["MCTN"]

MCTN = KeyMap(
    rules=(
        (r"^Model\.", ""),
        (r"^seq2seq([12])\.(encoder|decoder)\.", r"\2\1."),
        (r"^decoder([12])\.attention\.", r"decoder\1."),
        (r"^attn([12])\.", r"decoder\1."),
        (r"^regression\.rnn\.", "rnn."),
        (r"^regression\.linear\.", "score."),
        (r"^regression\.linear2\.", "head."),
    ),
    dropped={r"decoder[12]?\.rnn\.weight_hh": "the decoders run one step from zero states, on which it has no effect"},
)
