"""Reading pickles made by others without running anything in them.

Idea: a pickle is a program for a small stack machine. :mod:`mer_zoo.data.files.pickle_machine` is such a machine that
knows only the instructions that build data. A name in the file (``numpy.dtype``, ``posix.system``) never becomes the
thing of
that name: it is looked up in a short list of admitted names and otherwise refused, and the admitted ones become
descriptions of arrays. The bytes of a large array are skipped and remembered by position, so that memory does not grow
with the file.

Admitted: numbers, text, bytes, lists, tuples, dicts (also ordered ones and those with defaults), sets, numpy arrays,
scalars and element types (module names of numpy 1 and 2), and the array wrapper of joblib; protocols 2 to 5. Pickles of
protocol 2 written by Python 3 hold arrays as text, which is the one case that needs memory of the size of the file.

References:
    The instructions are explained in the standard library's module ``pickletools``.
"""

from __future__ import annotations

import gc
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mer_zoo.data.files.numpy_pickles import MalformedPickleError
from mer_zoo.data.files.pickle_machine import PickleMachine
from mer_zoo.data.files.pickle_source import Source
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget, open_regular

__all__ = ["load_pickle", "no_collection"]

_REMEDY = "download or copy the file again, or save it with pickle.dump"
TABLE_REMEDY = "put it into a folder together with features, see 'Your own corpus' in docs/corpus.md"
_OLD_PROTOCOL = re.compile(rb"\((d|l|t)?p\d|\(dp?\n|[\]}]q|c[a-z_]+[\w.]*\n|\(lp?\n")
_COMPRESSED = {
    b"\x78": "zlib",
    b"\x1f\x8b": "gzip",
    b"BZ": "bz2",
    b"\xfd7zXZ": "xz",
    b"\x5d\x00\x00": "lzma",
    b"\x04\x22\x4d\x18": "lz4",
}
_OTHER_FORMATS = {
    b"PK": "zip (or torch)",
    b"\x89HDF": "HDF5",
    b"\x93NUMPY": ".npy",
    b"version https://git": "Git LFS pointer",
}


def load_pickle(path: Path, budget: Budget | None = None) -> Any:
    """Read a pickle of plain data.

    Args:
        path: The file.
        budget: Of what is read; by default one of its own.

    Returns:
        The object in it. Arrays are :class:`~mer_zoo.data.corpus.arrays.StoredArray`, object arrays are lists of their
        elements in C order, bytes of more than 64 KiB are left in the file.

    Raises:
        MERError: If the file names anything that is not admitted, is damaged, cut short, compressed or of another
            format. Nothing in it has run.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "data.pkl"
        >>> _ = path.write_bytes(pickle.dumps({"train": [1, 2.5, "a"]}))
        >>> load_pickle(path)
        {'train': [1, 2.5, 'a']}
    """
    if not path.is_file():
        raise MERError(f"{path} is not a file; give the path of a corpus file")
    with open_regular(path) as file:
        source = Source(path, file, budget or Budget(str(path)))
        _check_magic(path, source.peek())
        try:
            with no_collection():
                return PickleMachine(source).load()
        except MERError:
            raise
        except MalformedPickleError as error:
            raise MERError(f"{path} cannot be read at byte {source.position}: {error}; {_REMEDY}") from error
        except Exception as error:  # damaged bytes can fail in any way, and all of them mean the same to the user
            raise MERError(
                f"{path} is damaged at byte {source.position} ({type(error).__name__}); {_REMEDY}"
            ) from error


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector, most of the time for many small objects, from walking through what is built."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _check_magic(path: Path, head: bytes) -> None:
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            raise MERError(
                f"{path} is compressed ({name}); unpack it, or save it with joblib.dump(data, path, compress=0)"
            )
    for magic, name in _OTHER_FORMATS.items():
        if head.startswith(magic):
            raise MERError(f"{path} is a {name} file, not a pickle; give a corpus file described in docs/data.md")
    if not head.startswith(pickle.PROTO):
        raise MERError(_no_pickle(path, head))
    if not b"\x02" <= head[1:2] <= b"\x05":
        raise MERError(
            f"{path} is not a pickle of protocol 2 to 5; save it again with pickle.dump(data, file, protocol=4)"
        )


def _no_pickle(path: Path, head: bytes) -> str:
    """What else it is, as far as its first bytes tell."""
    if not head:
        return f"{path} is empty, it has 0 bytes and is no pickle at all; download or write it again"
    if not head.strip(b"\0"):
        return f"{path} begins with zeros and is no pickle at all, as a download that was cut off; download it again"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        return (
            f"{path} is a web page and no pickle at all, as a drive gives in place of a large file; open its address"
            " in a browser, and download the file itself"
        )
    if _OLD_PROTOCOL.match(head):
        return (
            f"{path} is a pickle of protocol 0 or 1, not a pickle of protocol 2 to 5; load it with"
            " pickle.load(file, encoding='latin1') and save it again with pickle.dump(data, file, protocol=4)"
        )
    if path.suffix.lower() in (".csv", ".tsv", ".txt", ".json"):
        return f"{path} is text, not a pickle: of a corpus it can be the labels at most; {TABLE_REMEDY}"
    return f"{path} is not a pickle; download or copy it again, or give a corpus file described in docs/data.md"
