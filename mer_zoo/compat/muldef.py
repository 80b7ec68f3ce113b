"""Key map of gw-zhong/MulDeF: what stands around the network inside, which is loaded with its own map.

Our text branch reads the network's own encoder, so the second text encoder of a released checkpoint has no place.
"""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["MULDEF"]

_NAMES = {"text": "text", "audio": "audio", "video": "vision"}

MULDEF = KeyMap(
    rules=(
        *((rf"^{theirs}_(model|mlp|classifier)\.", rf"branches.{ours}.\1.") for theirs, ours in _NAMES.items()),
        (r"^(branches\.\w+)\.model\.", r"\1.gru."),
        (r"^(branches\.\w+)\.classifier\.", r"\1.classifier.9."),
        (r"^(branches\.\w+)\.mlp\.", r"\1.classifier."),
        (r"^m_proj\.", "mediator.mediator."),
        (r"^m_proj_k\.", "mediator.key."),
        (r"^x_proj_q\.", "mediator.query."),
        (r"^m_classifier\.", "mediator.classifier."),
        (r"^fc\.", "join."),
    ),
    dropped={
        r"^base_model\.": "the network inside, which is loaded by itself",
        r"^(bert|text_bert|bert_model)\.": "the text branch reads the network's own text encoder",
    },
    optional={r"^fc\.": "only the fusion fc has it"},
    own={
        r"^backbone\.": "the network inside, which is loaded by itself with a map of its own",
        r"^strength\.": "the choice of alpha is this library's",
        r"^(prepared|kept_words\.\w+|mediator\.expectation_\w+)$": "statistics of the training split",
    },
)
