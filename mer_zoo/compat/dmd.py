"""Key map of mdswyz/DMD: the network, alone or (prefix ``dmd.``) with ``kernel_homo.`` and ``kernel_hetero.``."""

from mer_zoo.compat.decoupling import decoupling_map
from mer_zoo.compat.keymap import KeyMap

__all__ = ["DMD"]

_NETWORK = decoupling_map(
    heads={"low": "shared_heads", "high": "private_heads"},
    gate="weight",
    dropped={
        r"^kernel_(homo|hetero)\.W_edge\.bias$": "the softmax over edges does not see what all of them have in common"
    },
    own={r"^(shared|private)_graph\.": "the network was saved without distillation kernels, which only training needs"},
)
_KERNELS = tuple(
    (f"^kernel_{old}\\.{part}\\.", f"{new}_graph.{name}.")
    for old, new in (("homo", "shared"), ("hetero", "private"))
    for part, name in (("W_logit", "logit"), ("W_repr", "representation"), ("W_edge", "score"))
)

DMD = KeyMap(rules=(*_KERNELS, *_NETWORK.rules), dropped=_NETWORK.dropped, optional=_NETWORK.optional, own=_NETWORK.own)
