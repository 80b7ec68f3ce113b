"""Key map of gw-zhong/CIDer: the whole network with decoders and causal-intervention head, or a layer of it alone."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["CIDER"]

_LETTERS = {"l": "text", "a": "audio", "v": "vision"}
_BLOCKS = ("lav", "la", "lv", "av", "l", "a", "v")
_SINGLE = tuple(
    rule
    for letter, name in _LETTERS.items()
    for rule in (
        (f"^proj_{letter}\\.", f"project.{name}."),
        (f"^{letter}_compress\\.", f"compress.{name}."),
        (f"^{'t' if letter == 'l' else letter}\\.", f"grus.{name}."),
        (f"^attn_{letter}\\.", f"pools.{name}."),
        (f"^cls_encoders_{letter}\\.", f"head.heads.0.encoders.{name}."),
    )
)

CIDER = KeyMap(
    rules=(
        *_SINGLE,
        *((f"\\bout_proj\\.{i}\\.", f"out_proj.{block}.") for i, block in enumerate(_BLOCKS)),
        (r"\bs_([lav])\.", r"merge.\1."),
        (r"\bfinal_out_proj\.", "final."),
        (r"\battention\.0\.", "hidden."),
        (r"\battention\.2\.", "score."),
        (r"\blayers\.(\d+)\.self_attn\.", r"layers.\1.attention."),
        (r"\blayers\.(\d+)\.layer_norms\.([01])\.", r"layers.\1.norm\2."),
        (r"\blayer_norm\.", "norm."),
        (r"^multimodal_transformer\.", "mct."),
        (r"^text_model\.", "text_encoder."),
        (r"^proj([12])\.", r"joint.fc\1."),
        (r"^recon_text\.", "decoders.text.features."),
        (r"^recon_(audio|vision)\.0\.", r"decoders.\1.time."),
        (r"^recon_(audio|vision)\.1\.", r"decoders.\1.features."),
        (r"^classifiers\.", "head.heads.0.classifiers."),
    ),
    dropped={
        r"(^|\.)version$": "a buffer without content",
        r"(^|\.)embed_positions\.pe$": "the table of positions, computed here",
        r"^text_model\.model\.pooler\.": "token states are used, so the pooler is never run",
    },
    optional={
        r"^[av]_compress\.": "the released code compresses nothing in aligned data",
        r"^recon_(text|audio|vision)\b": "the decoders belong to the wrapper MSSD",
        r"^(cls_encoders_[lav]|classifiers)\.": "the causal-intervention head belongs to the wrapper MACI",
    },
    own={
        r"^head\.(weight|bias)$": "the released network has no plain classifier, so that this one is untrained",
        r"^(head\.(prior|mean_\w+)|language_bias\.\w+|prepared)$": "kept in files by the released code; call prepare",
        r"^views\.": "the number of the next incomplete view, not of the network",
    },
)
