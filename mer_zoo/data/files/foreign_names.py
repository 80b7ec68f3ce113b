"""What to say of a name in a pickle that stands for more than plain data."""

from __future__ import annotations

import sys

from mer_zoo.text import told

__all__ = ["refusal"]

_KINDS = {
    "torch": ("a torch tensor", "save it with .numpy()"),
    "pandas": ("an object of pandas", "save its columns with .to_numpy()"),
    "scipy": ("an array of scipy", "save it with .toarray()"),
    "tensorflow": ("a tensor of tensorflow", "save it with .numpy()"),
    "jax": ("an array of jax", "save it with numpy.asarray"),
}
"""Libraries whose objects people put into data files, what these are, and how to save them instead."""
_DATA = {"collections", "datetime", "decimal", "fractions", "pathlib", "types", "uuid", "zoneinfo", "array", "enum"}
_HARMFUL = ("numpy", "joblib", "pickle", "mer_zoo")  # their names are known, and the others in them run something


def refusal(path: str, name: str, field: str = "") -> str:
    """The sentence for a name that is not admitted.

    To get a file from elsewhere is advice for one that wants to execute something; who has an object of a class in it
    has to save what that object holds.

    Args:
        path: The file.
        name: The name, ``module.thing``.
        field: The key that it is to be the value of, where there is one.

    Example:
        >>> refusal("a.pkl", "torch._utils._rebuild_tensor_v2", "audio")
        "a.pkl is refused: 'audio' is a torch tensor; save it with .numpy()"
        >>> refusal("a.pkl", "posix.system")
        "a.pkl is refused: it names 'posix.system', which would be run by loading it; nothing in it was run, so ..."
    """
    module = name.partition(".")[0]
    shown = ascii(name[:200])
    place = told(field[:40]) if field else "a value in it"
    if module in _KINDS and not _is_command(name):
        kind, remedy = _KINDS[module]
        return f"{path} is refused: {place} is {kind}; {remedy}"
    if module in _DATA or not (module in sys.stdlib_module_names or module in _HARMFUL or _is_command(name)):
        return (
            f"{path} is refused: {place} is an object of {shown}, but a data file may hold only numpy arrays and"
            " built-in containers; save what the object holds as these"
        )
    return (
        f"{path} is refused: it names {shown}, which would be run by loading it; nothing in it was run, so get the file"
        " from a source that you trust"
    )


def _is_command(name: str) -> bool:
    """Whether a name is that of a function, and no class nor what a library rebuilds its objects by."""
    last = name.rpartition(".")[2]
    return not (last[:1].isupper() or last.startswith(("_rebuild", "_unpickle", "_reconstruct", "_new")))
