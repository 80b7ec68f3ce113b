"""Key map of sejong-rcv/CausalMER: the wrapper around MulT with paper branches, or its text branch alone."""

from mer_zoo.compat.keymap import KeyMap
from mer_zoo.compat.mult import MULT

__all__ = ["CAUSALMER"]

_ALBERT = KeyMap(
    rules=(
        (r"^linear_transformation\.", "project."),
        (r"^text_mlp\.", "head."),
        (r"^model\.", "albert."),
    ),
    dropped={
        r"^model\.embeddings\.word_embeddings\.": "word vectors are fed, so the table is never read",
        r"^model\.pooler\.": "token states are averaged, so the pooler is never run",
        r"^model\.embeddings\.(position_ids|token_type_ids)$": "counts and zeros, never trained",
    },
)
_RESNET = KeyMap(rules=((r"^", "resnet."),))

# Known names: a_branch, v_branch and those inside each branch. The other prefixes and the constants' names follow their
# pattern; a checkpoint that differs is refused with the name of the key.
CAUSALMER = KeyMap(
    rules=(
        *_ALBERT.rules,
        *(
            (f"^(c|constant)_{letter}$", f"constants.{name}")
            for letter, name in (("t", "text"), ("a", "audio"), ("v", "vision"))
        ),
    ),
    dropped=_ALBERT.dropped,
    parts={
        "a_branch.": ("branches.audio.", _RESNET),
        "v_branch.": ("branches.vision.", _RESNET),
        "t_branch.": ("branches.text.", _ALBERT),
        "l_branch.": ("branches.text.", _ALBERT),
        "m_branch.": ("backbone.", MULT),
    },
)
