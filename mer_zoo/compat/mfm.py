"""Key map of MFM as in thuiar/MMSA, and of MFM_missing as in pliang279/factorized."""

from dataclasses import replace

from mer_zoo.compat.keymap import KeyMap
from mer_zoo.compat.mmsa import MMSA

__all__ = ["MFM"]

_LETTERS = {"l": "text", "a": "audio", "v": "vision"}
_PAIRS = {"la": "vision", "lv": "audio", "av": "text"}
_MEMORY = replace(MMSA, dropped={r"^out_fc[12]\.": "a classifier that nothing reads"})

MFM = KeyMap(
    rules=(
        (r"^Model\.", ""),
        *((rf"^encoder_{pair}_to_y\.", f"joint_guesses.{name}.") for pair, name in _PAIRS.items()),
        *((rf"^encoder_{pair}_to_[lav]\.", f"guesses.{name}.") for pair, name in _PAIRS.items()),
        *((rf"^encoder_{letter}\.", f"encoders.{name}.") for letter, name in _LETTERS.items()),
        *((rf"^decoder_{letter}\.", f"decoders.{name}.") for letter, name in _LETTERS.items()),
        *((rf"^z{letter}_to_f{letter}_fc", f"maps.{name}.fc") for letter, name in _LETTERS.items()),
        (r"^zy_to_fy_fc", "maps.joint.fc"),
        (r"^last_to_zy_fc1\.", "to_joint."),
        (r"^fy_to_y_fc", "head.fc"),
        (r"^((?:encoders|guesses|joint_guesses)\.\w+\.lstm\.\w+)$", r"\1_l0"),
        (r"^(decoders\.\w+)\.lstm\.", r"\1.cell."),
        (r"^((?:encoders|guesses|joint_guesses|decoders)\.\w+)\.fc1\.", r"\1.out."),
    ),
    parts={"mfn_encoder.": ("memory.", _MEMORY), "Model.mfn_encoder.": ("memory.", _MEMORY)},
)
