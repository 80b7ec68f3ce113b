"""The files of a store: the room they take, and writing them so that they outlast a power cut."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.errors import MERError

__all__ = ["NO_ROOM", "check_room", "room_error", "write_arrays", "write_features", "write_small"]

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system answers when a disk, a quota or the largest size of a file is exhausted."""
_REMEDY = "make room, or give a folder with more (for conversion on first use: data.cache_dir, or MER_ZOO_CACHE)"


def check_room(needed: int, source: Path, folder: Path) -> int:
    """Return the bytes that a store needs.

    Args:
        needed: Bytes of its features.
        source: What it is made of.
        folder: Where it is written.

    Raises:
        MERError: If there is not as much room.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MERError(
            f"the store of {source} takes {_amount(needed)}, but {folder.parent} has {_amount(free)} left; {_REMEDY}"
        )
    return needed


def room_error(store: Path, needed: int, error: OSError) -> MERError:
    """Say that a store found no room after all, as when others fill the disk meanwhile.

    Args:
        store: Where it was to be.
        needed: Bytes of its features.
        error: What the system said.

    Example:
        >>> print(room_error(Path("mosei"), 8 * 10**9, OSError(errno.ENOSPC, "No space left on device")))
        mosei cannot be written (No space left on device), for which 8.0 GB (8,000,000,000 bytes) are needed; make
        room, or give a folder with more (for conversion on first use: data.cache_dir, or MER_ZOO_CACHE)
    """
    return MERError(f"{store} cannot be written ({error.strerror}), for which {_amount(needed)} are needed; {_REMEDY}")


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB ({size:,} bytes)"


def write_features(
    file: Path, shape: tuple[int, ...], blocks: Iterable[npt.NDArray[np.float32]], advance: Callable[[int], None]
) -> None:
    """Write features block by block.

    Args:
        file: The .npy file to make.
        shape: (N, T, d).
        blocks: Consecutive rows.
        advance: Told of every further bytes done.
    """
    with file.open("xb") as opened:
        np.lib.format.write_array_header_1_0(opened, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for block in blocks:
            opened.write(block.astype("<f4", copy=False).data)
            advance(block.nbytes)
        opened.flush()
        os.fsync(opened.fileno())


def write_small(
    folder: Path,
    name: str,
    spans: Mapping[str, npt.NDArray[np.int32]],
    tokens: npt.NDArray[np.int32] | None,
    labels: npt.NDArray[Any] | None,
    unimodal: Mapping[str, npt.NDArray[np.float32]],
) -> None:
    """Write the arrays of a split that are not features.

    Args:
        folder: The store.
        name: Name of the split.
        spans: See :class:`~mer_zoo.data.corpus.corpus.SplitData`, as the others.
        tokens: Token ids, or None.
        labels: Labels, or None.
        unimodal: Labels of modalities alone, as far as there are any.
    """
    arrays: dict[str, npt.NDArray[Any]] = {f"{key}.spans": values for key, values in spans.items()}
    arrays |= {} if tokens is None else {"tokens": tokens}
    arrays |= {} if labels is None else {"labels": labels}
    arrays |= {f"labels.{key}": values for key, values in unimodal.items()}
    write_arrays(folder, name, arrays)


def write_arrays(folder: Path, name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write small arrays of a split.

    Args:
        folder: The store.
        name: Name of the split.
        arrays: By the names of their files, without that of the split.
    """
    for key, values in arrays.items():
        content = io.BytesIO()  # numpy's own way into a file does not tell why it failed
        np.save(content, values, allow_pickle=False)
        with (folder / f"{name}.{key}.npy").open("xb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
