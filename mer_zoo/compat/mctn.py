"""Key maps of MCTN as in thuiar/MMSA, which stores a part under the name of every place of its use, and MultiBench."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["MCTN", "MULTIBENCH"]

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

MULTIBENCH = KeyMap(
    rules=(
        (r"^seq2seq0\.", "first."),
        (r"^seq2seq1\.", "second."),
        (r"\.encoder\.gru\.", ".encoder."),
        (r"\.decoder\.attention\.", ".decoder."),
        (r"(\.decoder\.gru\..*)_l0$", r"\1"),
        (r"^regression\.", "rnn."),
        (r"^head\.fc\.", "head.0."),
        (r"^head\.fc2\.", "head.2."),
    ),
)
