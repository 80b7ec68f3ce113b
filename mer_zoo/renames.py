"""What things were called before: options of constructors, their values, and modules whose classes files name.

Files that were written under the old names still load. Whoever gives an old name is told the new one.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

__all__ = [
    "ADDED",
    "MODULES",
    "OPTIONS",
    "VALUES",
    "added_options",
    "current_options",
    "current_path",
    "current_values",
    "former_option",
    "rename_options",
]

_DEPTH = {"layers": ("depth",)}
_MULT = {**_DEPTH, "d_model": ("dim",), "num_heads": ("heads",), "causal_mask": ("causal",)}
_LSTM = {**_DEPTH, "hidden_dim": ("dim",), "dropout": ("out_dropout",)}
_SUBNETS = {"dropout": ("embed_dropout",)}
_BEFORE_CLASSIFIER = {"dropout": ("out_dropout",)}

OPTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "CIDerNet": _DEPTH,
    "CUMDF": _BEFORE_CLASSIFIER,
    "CUMDFNet": _BEFORE_CLASSIFIER,
    "CubeMLP": {"dropout": ("embed_dropout",), "mlp_dropout": ("relu_dropout",)},
    "DLF": _DEPTH,
    "DMD": _DEPTH,
    "EFLSTM": _LSTM,
    "EMTDLFR": {**_DEPTH, "ff_dropout": ("res_dropout",), "fusion_dropout": ("out_dropout",)},
    "GEAR": _BEFORE_CLASSIFIER,
    "LFDNN": _SUBNETS,
    "LFLSTM": _LSTM,
    "LMF": _SUBNETS,
    "LNLN": {"restoration_weight": ("reconstruction_weight",)},
    "MAGBERT": {
        **_DEPTH,
        **_BEFORE_CLASSIFIER,
        "gate_dropout": ("embed_dropout",),
        "layer_dropout": ("attn_dropout", "relu_dropout", "res_dropout"),
    },
    "MISA": {**_BEFORE_CLASSIFIER, "restore_weight": ("reconstruction_weight",)},
    "MPLMM": _MULT,
    "MulT": _MULT,
    "PMR": _MULT,
    "SelfMM": {"fusion_dropout": ("out_dropout",)},
    "TFN": _SUBNETS,
}
"""Class to old option to what it is called: several names where one number became several."""

VALUES: Mapping[str, tuple[str, Mapping[str, Mapping[str, str]]]] = {
    "MACI": ("labels", {"variant": {"paper": "released"}}),
}
"""Class to an option that files of then lack, and what values of other options in those files are called today.

MACI's ``paper`` was the authors' code but for one of its bias words.
"""

ADDED: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "CUMDF": ("penalty_weight", dict.fromkeys(("lambda_q", "lambda_k", "lambda_v"), 1.0)),
}
"""Class to an option that files hold, and options that files of then lack, with the value that was meant.

CUMDF's penalty had no coefficients of its own, which is to say 1; today's default is smaller.
"""

MODULES: Mapping[str, str] = {
    "mer_zoo.data.conditions": "mer_zoo.data.missing.conditions",
    "mer_zoo.data.noise_patterns": "mer_zoo.data.missing.noise",
    "mer_zoo.data.patterns": "mer_zoo.data.missing.frames",
    "mer_zoo.data.scm": "mer_zoo.data.synthetic.scm",
    "mer_zoo.data.set_patterns": "mer_zoo.data.missing.sets",
    "mer_zoo.layers.branches": "mer_zoo.wrappers.causalmer.branches",
    "mer_zoo.layers.content_bias": "mer_zoo.wrappers.gear.content_bias",
    "mer_zoo.resume": "mer_zoo.training.resume",
    "mer_zoo.schedules": "mer_zoo.training.schedules",
    "mer_zoo.storage": "mer_zoo.training.checkpoint_io",
    "mer_zoo.wrappers.cumdf_views": "mer_zoo.wrappers.cumdf.views",
}
"""Old module to the one that has its classes, where a configuration may name one of them."""


def current_path(path: str) -> str:
    """The path of a class whose module has moved; any other text as it is.

    Args:
        path: A text, such as a ``class_path``.

    Example:
        >>> current_path("mer_zoo.schedules.WarmupCosine"), current_path("mer_zoo.MulT")
        ('mer_zoo.training.schedules.WarmupCosine', 'mer_zoo.MulT')
    """
    module, _, name = path.rpartition(".")
    return f"{MODULES[module]}.{name}" if module in MODULES else path


def current_options(cls: type) -> dict[str, tuple[str, ...]]:
    """Old options of a class, its own and those of its bases, and what they are called.

    Args:
        cls: A class; one of the user's has the old names of the class of the zoo that it extends.

    Example:
        >>> from mer_zoo.backbones import LNLN
        >>> current_options(LNLN)
        {'restoration_weight': ('reconstruction_weight',)}
    """
    own = [base.__name__ for base in cls.__mro__ if base.__module__.partition(".")[0] == "mer_zoo"]
    renamed = {old: new for name in reversed(own) for old, new in OPTIONS.get(name, {}).items()}
    taken = inspect.signature(cls.__init__).parameters  # type: ignore[misc]  # only read
    return {old: new for old, new in renamed.items() if old not in taken}


def current_values(name: str, options: Mapping[str, str]) -> dict[str, str]:
    """Options whose values mean something else today, with what they are called now.

    Args:
        name: The class of the zoo.
        options: All its options as text, as a file holds them that the library wrote.

    Example:
        >>> current_values("MACI", {"variant": "paper"}), current_values("MACI", {"variant": "paper", "labels": "true"})
        ({'variant': 'released'}, {})
    """
    since, changed = VALUES.get(name, ("", {}))
    if since in options:
        return {}
    return {option: values[options[option]] for option, values in changed.items() if options.get(option) in values}


def added_options(name: str, options: Collection[str]) -> dict[str, float]:
    """Options that a file of before lacks and that have another default today, with what was meant then.

    Args:
        name: The class of the zoo.
        options: Names of all its options in a file that the library wrote.

    Example:
        >>> added_options("CUMDF", ["penalty_weight", "lambda_q", "lambda_k"]), added_options("MulT", ["dim"])
        ({'lambda_v': 1.0}, {})
    """
    beside, added = ADDED.get(name, ("", {}))
    return {option: value for option, value in added.items() if beside in options and option not in options}


def former_option(cls: type, option: str) -> str | None:
    """What to tell someone who gives an old option; None where it is none.

    Args:
        cls: The class that it is given to.
        option: Its name.

    Example:
        >>> from mer_zoo.backbones import MulT
        >>> former_option(MulT, "d_model")
        'MulT has no option d_model; it is called dim'
    """
    names = current_options(cls).get(option)
    if names is None:
        return None
    called = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return f"{cls.__name__} has no option {option}; it is called {called}"


def rename_options(options: Mapping[str, Any], renamed: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Options under the names of today; an old one beside a new one of the same meaning stays, to be refused.

    Args:
        options: What a file gives.
        renamed: See :func:`current_options`.

    Example:
        >>> rename_options({"d_model": 20, "kernels": (1, 1, 1)}, OPTIONS["MulT"])
        {'dim': 20, 'kernels': (1, 1, 1)}
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        names = renamed.get(name, ())
        found.update(dict.fromkeys((name,) if not names or options.keys() & set(names) else names, value))
    return found
