"""Key map of zrguo/MPLMM, the prompt model; its pre-training network is MulT under MulT's names."""

from mer_zoo.compat.keymap import KeyMap
from mer_zoo.compat.mult import MULT

__all__ = ["MPLMM"]

_LETTERS = {"l": "text", "a": "audio", "v": "vision"}
_MAPS = {
    **{f"{a}_{b}p": f"{x}_from_{y}" for a, x in _LETTERS.items() for b, y in _LETTERS.items() if a != b},
    "l_avp": "text_from_audio_vision",
    "a_lvp": "audio_from_text_vision",
    "v_alp": "vision_from_text_audio",
}
_BY_LETTER = tuple(
    rule
    for letter, name in _LETTERS.items()
    for rule in (
        (f"^prompt{letter}_m$", f"prompts.missing.{name}"),
        (f"^prompt{letter}_nm$", f"prompts.present.{name}"),
        (f"^m_{letter}$", f"prompts.mixing.{name}"),
    )
)
_TRANSLATIONS = tuple(
    (f"^{a}2{b}\\.conv\\.", f"prompts.translate.{x}_to_{y}.") for a, x in _LETTERS.items() for b, y in _LETTERS.items()
)

MPLMM = KeyMap(
    rules=(
        ("^generative_prompt$", "prompts.generative"),
        ("^missing_type_prompt$", "prompts.kind"),
        *_BY_LETTER,
        *_TRANSLATIONS,
        *((f"^{old}\\.conv\\.", f"prompts.lengthen.{new}.") for old, new in _MAPS.items()),
        *MULT.rules,
    ),
    dropped=MULT.dropped,
    own={r"^views\._extra_state$": "seed and number of the incomplete views"},
)
