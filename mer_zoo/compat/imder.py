"""Key map of mdswyz/IMDer."""

from mer_zoo.compat.dicmor import RECOVERY
from mer_zoo.compat.keymap import KeyMap
from mer_zoo.compat.mult import MULT

__all__ = ["IMDER"]

_LETTERS = {"l": "text", "a": "audio", "v": "vision"}
_JOINED = {"va": "text", "la": "vision", "lv": "audio"}
_LEVELS = tuple(
    rule
    for number in (1, 2, 3, 4)
    for where, t, place in (("down", "", number - 1), ("up", "t", 4 - number))
    for rule in (
        (rf"^(scores\.\w+)\.{t}conv{number}\.", rf"\1.{where}.{place}.conv."),
        (rf"^(scores\.\w+)\.{t}conv{number}_cond\.", rf"\1.{where}.{place}.condition."),
        (rf"^(scores\.\w+)\.attention_{t}{number}\.", rf"\1.{where}.{place}.attention."),
        (rf"^(scores\.\w+)\.{'tg' if t else 'g'}norm{number}\.", rf"\1.{where}.{place}.norm."),
        (rf"^(scores\.\w+)\.dense{9 - number if t else number}\.dense\.", rf"\1.{where}.{place}.time."),
    )
)

IMDER = KeyMap(
    rules=(
        *((rf"^score_{letter}\.", f"scores.{name}.") for letter, name in _LETTERS.items()),
        (r"^(scores\.\w+)\.embed\.0\.W$", r"\1.frequencies"),
        (r"^(scores\.\w+)\.embed\.1\.", r"\1.time."),
        *_LEVELS,
        *((rf"^cat_{letters}\.", f"join.{name}.") for letters, name in _JOINED.items()),
        *RECOVERY,
        (r"^(scores|join|refine)\.", r"recovery.\1."),
    ),
    dropped={
        **MULT.dropped,
        r"^text_model\.model\.pooler\.": "token states are used, so the pooler is never run",
    },
    optional=MULT.optional,
    own={
        r"^views\._extra_state$": "seed and number of the incomplete views",
        r"^prepared$": "whether the weights of the first stage are there",
    },
)
