"""Key maps of AIM3-RUC/MMIN and its port in zeroQiaoba/GCNet, and of ZhuoYulang/IF-MMIN.

These codes save each part in a file of its own. In one dictionary the parts' names stand before theirs, as ``netA.``,
and those of the frozen first stage as ``teacher.netA.``.
"""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["IFMMIN", "MMIN"]

_PARTS = {"A": "audio", "L": "text", "V": "vision"}
_CONVOLUTIONS = tuple((rf"\.conv{i + 1}\.", f".convs.{i}.") for i in range(3))
# Behind each map stand a ReLU and, where it is not 0, a dropout.
_MAPS = ((r"\.module\.0\.", ".layers.0."), (r"\.module\.[23]\.", ".layers.1."), (r"\.module\.[46]\.", ".layers.2."))

MMIN = KeyMap(
    rules=(
        (r"^student\.", ""),
        (r"\bnet([ALV])\.(?=module|fc_out)", r"net\1.stack."),
        *((rf"\bnet{letter}\.", f"encoders.parts.{name}.") for letter, name in _PARTS.items()),
        *_CONVOLUTIONS,
        (r"\.embd\.0\.", ".out."),
        (r"\bnetAE_cycle\.", "cycle."),
        (r"\bnetAE\.", "cascade."),
        (r"\b(encoder|decoder)_(\d+)\.", r"\1s.\2."),
        (r"\bnetC\.", "head."),
        *_MAPS,
        (r"\.fc_out\.", ".out."),
    ),
    dropped={r"^teacher\.netC\.": "the classifier of the first stage is of no use in the second"},
    own={
        r"^views\._extra_state$": "seed and number of the incomplete views",
        r"^prepared$": "whether the encoders of the first stage are there",
    },
)

IFMMIN = KeyMap(
    rules=((r"\bnet(invariant|Shared)\.netshared\.shared_([12])\.", r"invariant.fc\2."), *MMIN.rules),
    dropped=MMIN.dropped,
    optional={r"decoder_\d+\.": "as first released, of all decoders of the cascade only the last one is of use"},
    own=MMIN.own,
)
