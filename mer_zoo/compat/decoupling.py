"""What the key maps of DMD and DLF, two codes of one family, have in common."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["LETTERS", "decoupling_map"]

LETTERS = {"l": "text", "a": "audio", "v": "vision"}

_PARTS = {"encoder_s": "decouple.private", "decoder": "decouple.decode", "align_c": "decouple.align"}
_PARTS |= {"proj": "project.convs", "self_attentions_c": "common.encoders"}
_SINGLE = tuple(
    (f"^{old}_{letter}\\.", f"{new}.{name}.") for letter, name in LETTERS.items() for old, new in _PARTS.items()
)
_PAIRS = tuple(
    (f"^trans_{a}_with_{b}\\.", f"crossmodal.{x}_from_{y}.") for a, x in LETTERS.items() for b, y in LETTERS.items()
)
_MEMORIES = tuple((f"^trans_{letter}_mem\\.", f"memory.{name}.") for letter, name in LETTERS.items())


def head_rules(suffix: str, head: str) -> tuple[tuple[str, str], ...]:
    """Rules of the residual heads with a suffix, such as ``_l_high``."""
    return (
        (f"^proj([12]){suffix}\\.", f"{head}.block.fc\\1."),
        (f"^out_layer{suffix}\\.", f"{head}.out."),
    )


def decoupling_map(
    heads: dict[str, str], gate: str, dropped: dict[str, str], own: dict[str, str] | None = None
) -> KeyMap:
    """The key map of a decoupling network.

    Args:
        heads: Suffix of the released heads of one modality, to our name of them.
        gate: Name of the released maps in front of the sigmoid, before the letter.
        dropped: Keys that are not needed, beside those of both codes.
        own: Names of ours that no released checkpoint has.

    Example:
        >>> network = decoupling_map({"high": "heads"}, "gate", {})
        >>> network.translate("proj1_l_high.weight"), network.translate("gate_c.bias")
        ('heads.text.block.fc1.weight', 'gates.common.bias')
    """
    letters = LETTERS.items()
    return KeyMap(
        rules=(
            (r"^dmd\.", ""),
            *(
                rule
                for old, new in heads.items()
                for c, name in letters
                for rule in head_rules(f"_{c}_{old}", f"{new}.{name}")
            ),
            *head_rules("_c", "common_head"),
            *((f"^{gate}_{letter}\\.", f"gates.{name}.") for letter, name in [*letters, ("c", "common")]),
            *_SINGLE,
            *_PAIRS,
            *_MEMORIES,
            (r"^encoder_c\.", "decouple.shared."),
            (r"^proj([12])\.", r"joint.fc\1."),
            (r"^out_layer\.", "head."),
            (r"^text_model\.", "text_encoder."),
            (r"\blayers\.(\d+)\.self_attn\.", r"layers.\1.attention."),
            (r"\blayers\.(\d+)\.layer_norms\.([01])\.", r"layers.\1.norm\2."),
            (r"\blayer_norm\.", "norm."),
        ),
        dropped={
            r"(^|\.)version$": "a buffer without content",
            r"(^|\.)embed_positions\._float_tensor$": "a buffer without content",
            r"^(dmd\.)?text_model\.model\.pooler\.": "token states are used, so the pooler is never run",
            r"^(dmd\.)?text_model\.model\.embeddings\.position_ids$": "a buffer without content",
            r"^(dmd\.)?proj_cosine_[lav]\.": "a projection for a cosine loss that the released code never charges",
            **dropped,
        },
        optional={r"^(dmd\.)?proj_[lav]\.": "the released code skips a projection of equal widths"},
        own=own or {},
    )
