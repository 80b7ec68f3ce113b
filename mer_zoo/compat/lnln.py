"""Key map of Haoyu-ha/LNLN."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["LNLN"]

_LETTERS = {"l": "text", "a": "audio", "v": "vision"}
_SINGLE = tuple(
    rule
    for i, (letter, name) in enumerate(_LETTERS.items())
    for rule in (
        (f"^proj_{letter}\\.0\\.", f"project.{name}."),
        (f"^proj_{letter}\\.1\\.", f"gather.{name}."),
        (f"^reconstructor\\.{(i - 1) % 3}\\.", f"restore.{name}."),
    )
)
_HYPER = tuple(
    (f"^(hyper\\.\\d+)\\.0\\.norm{i}\\.", f"\\1.norms.{name}.")
    for i, name in enumerate((*_LETTERS.values(), "hyper"), start=1)
)

LNLN = KeyMap(
    rules=(
        *_SINGLE,
        (r"^h_hyper$", "hyper_start"),
        (r"^h_p$", "proxy_start"),
        (r"^proxy_dominate_modality_generator\.", "proxy."),
        (r"^completeness_check\.0\.", "check."),
        (r"^completeness_check\.1\.", "estimate."),
        (r"^effective_discriminator\.", "discriminator."),
        (r"^dmml\.0\.", "language."),
        (r"^dmml\.1\.layers\.", "hyper."),
        (r"^dmml\.2\.", "fusion."),
        (r"^dmml\.3\.", "head."),
        (r"\bpos_embedding$", "positions"),
        (r"\bpos_embedding_s$", "source_positions"),
        (r"\bpos_embedding_t$", "target_positions"),
        (r"^fusion\.extra_token$", "fusion.token"),
        (r"\bextra_token$", "tokens"),
        *_HYPER,
        (r"^(hyper\.\d+)\.0\.fn\.to_k_t([av])\.", r"\1.keys.\2."),
        (r"^(hyper\.\d+)\.0\.fn\.to_v_t([av])\.", r"\1.values.\2."),
        *((f"^(hyper\\.\\d+\\.(keys|values))\\.{letter}\\.", f"\\1.{name}.") for letter, name in _LETTERS.items()),
        (r"^(hyper\.\d+)\.0\.fn\.", r"\1."),
        (r"\b(CrossTransformerEncoder|encoder)\.layers\.(\d+)\.0\.(fn\.)?", r"layers.\2.attention."),
        (r"\b(CrossTransformerEncoder|encoder)\.layers\.(\d+)\.1\.norm\.", r"layers.\2.norm."),
        (r"\b(CrossTransformerEncoder|encoder)\.layers\.(\d+)\.1\.fn\.net\.0\.", r"layers.\2.fc1."),
        (r"\b(CrossTransformerEncoder|encoder)\.layers\.(\d+)\.1\.fn\.net\.3\.", r"layers.\2.fc2."),
        (r"\bto_out\.0\.", "to_out."),
        (r"^bertmodel\.", "text_encoder."),
    ),
    dropped={r"^bertmodel\.model\.pooler\.": "token states are used, so the pooler is never run"},
    own={r"^views\.": "the number of the next incomplete view, not of the network"},
)
