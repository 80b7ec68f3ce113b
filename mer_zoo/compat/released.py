"""Load state dicts of the released codes: every key is used, or named together with the reason why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mer_zoo.compat.causalmer import CAUSALMER
from mer_zoo.compat.cider import CIDER
from mer_zoo.compat.clue import CLUE
from mer_zoo.compat.cubemlp import CUBEMLP
from mer_zoo.compat.dcca import DCCA
from mer_zoo.compat.dicmor import DICMOR
from mer_zoo.compat.dlf import DLF
from mer_zoo.compat.dmd import DMD
from mer_zoo.compat.emtdlfr import EMTDLFR
from mer_zoo.compat.gcnet import GCNET
from mer_zoo.compat.gear import GEAR
from mer_zoo.compat.glomo import GLOMO
from mer_zoo.compat.imder import IMDER
from mer_zoo.compat.keymap import KeyMap
from mer_zoo.compat.lnln import LNLN
from mer_zoo.compat.magbert import MAGBERT
from mer_zoo.compat.mctn import MCTN, MULTIBENCH
from mer_zoo.compat.mfm import MFM
from mer_zoo.compat.misa import MISA
from mer_zoo.compat.mmin import IFMMIN, MMIN
from mer_zoo.compat.mmsa import MMSA
from mer_zoo.compat.mplmm import MPLMM
from mer_zoo.compat.muldef import MULDEF
from mer_zoo.compat.mult import MULT
from mer_zoo.compat.selfmm import SELFMM
from mer_zoo.compat.tfrnet import TFRNET
from mer_zoo.errors import MERError

__all__ = ["SOURCES", "LoadReport", "load_released"]

SOURCES: dict[str, KeyMap] = {
    "mult": MULT,
    "causalmer": CAUSALMER,
    "cider": CIDER,
    "emtdlfr": EMTDLFR,
    "lnln": LNLN,
    "dmd": DMD,
    "dlf": DLF,
    "clue": CLUE,
    "gear": GEAR,
    "magbert": MAGBERT,
    "misa": MISA,
    "selfmm": SELFMM,
    "mplmm": MPLMM,
}
SOURCES |= {"mmsa": MMSA, "cubemlp": CUBEMLP, "glomo": GLOMO, "dicmor": DICMOR, "mctn": MCTN, "gcnet": GCNET}
SOURCES |= {"tfrnet": TFRNET, "imder": IMDER, "mmin": MMIN, "ifmmin": IFMMIN, "mfm": MFM}
SOURCES |= {"muldef": MULDEF, "dcca": DCCA, "dccae": DCCA, "mctn_multibench": MULTIBENCH}


@dataclass(frozen=True)
class LoadReport:
    """What became of each key of a released state dict.

    Args:
        used: Released key to our key.
        unused: Released key to the reason why it was not needed.
        kept: Our key that no such checkpoint has to the reason why; it kept its value.
    """

    used: dict[str, str]
    unused: dict[str, str]
    kept: dict[str, str] = field(default_factory=dict)


def load_released(model: nn.Module, state_dict: Mapping[str, Tensor], source: str = "mult") -> LoadReport:
    """Copy the parameters of a released checkpoint into one of our models, all of them or none.

    Args:
        model: Our model, or a part of it that the checkpoint holds, built with the checkpoint's sizes. In a nest of
            wrappers, each parameter is looked for in all of its models.
        state_dict: The released names and tensors.
        source: Which released code it comes from, a key of ``SOURCES``.

    Returns:
        What was used and what was not needed.

    Raises:
        MERError: For an unknown source, a key that has no place, a parameter of the model that the checkpoint lacks, a
            shape that differs, or different values of what is one tensor here. The model is then unchanged.

    Example:
        >>> import torch
        >>> from mer_zoo.layers.transformer import TransformerEncoder
        >>> encoder = TransformerEncoder(8, heads=2, depth=0)
        >>> ones = torch.ones(8)
        >>> load_released(encoder, {"layer_norm.weight": ones, "layer_norm.bias": ones, "version": ones[:1]})
        LoadReport(used={'layer_norm.weight': 'norm.weight', 'layer_norm.bias': 'norm.bias'},
                   unused={'version': 'a buffer without content'}, kept={})
    """
    if source not in SOURCES:
        raise MERError(f"unknown source {source!r} of a released checkpoint; choose from {', '.join(SOURCES)}")
    key_map, own = SOURCES[source], model.state_dict()
    places = {_inner(name): name for name in own} | {name: name for name in own}
    used: dict[str, str] = {}
    unused: dict[str, str] = {}
    for key in state_dict:
        name = next((name for name in key_map.candidates(key) if name in places), key_map.translate(key))
        reason = key_map.reason_to_drop(key) or (None if name in places else key_map.reason_to_lack(key))
        if reason is not None:
            unused[key] = reason
        elif name not in places:
            raise MERError(f"checkpoint key {key!r} ({name} here) has no place in {_name(model)}; check its options")
        else:
            used[key] = places[name]
    left = sorted(set(own) - set(used.values()))
    kept = {name: reason for name in left if (reason := _reason_to_keep(key_map, name)) is not None}
    lacking = [name for name in left if name not in kept]
    if lacking:
        raise MERError(
            f"the checkpoint lacks {lacking[0]!r} and {len(lacking) - 1} more of {_name(model)}; check its options"
        )
    chosen = {name: key for key, name in used.items()}
    state_dict = {
        **state_dict,
        **{key: _without_trailing_ones(state_dict[key], own[name]) for key, name in used.items()},
    }
    for key, name in used.items():
        if state_dict[key].shape != own[name].shape:
            shapes = f"{tuple(state_dict[key].shape)} in the checkpoint, {tuple(own[name].shape)} here"
            raise MERError(f"{key!r} has shape {shapes}; build {_name(model)} with the checkpoint's sizes")
        if chosen[name] != key and not torch.equal(state_dict[key], state_dict[chosen[name]]):
            raise MERError(
                f"{key!r} and {chosen[name]!r} are one tensor in {_name(model)} but differ in the checkpoint; check"
                f" what is shared"
            )
    model.load_state_dict({name: own[name] for name in kept} | {name: state_dict[key] for name, key in chosen.items()})
    return LoadReport(used, unused, kept)


def _without_trailing_ones(value: Tensor, own: Tensor) -> Tensor:
    """A map of single steps or pixels is stored as a convolution of kernel 1 or 1 x 1 in some codes."""
    extra = value.shape[own.dim() :]
    return value.reshape(value.shape[: own.dim()]) if extra and set(extra) == {1} else value


def _reason_to_keep(key_map: KeyMap, name: str) -> str | None:
    return key_map.reason_to_keep(name) or key_map.reason_to_keep(_inner(name))


def _inner(name: str) -> str:
    """A name as the model has it that holds it, without the path through the wrappers around."""
    return re.sub(r"^(backbone\.)+", "", name)


def _name(model: nn.Module) -> str:
    return type(model).__name__
