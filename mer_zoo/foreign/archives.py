"""Files of torch.save: whole archives, of which nothing is executed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from mer_zoo.foreign.contents import REMEDY, check_values
from mer_zoo.foreign.opening import open_regular

__all__ = ["read_archive"]

_DESCRIPTION = "data.pkl"  # the member of an archive that says what the others are
_LARGEST_DESCRIPTION = 2**24  # bytes


def read_archive(path: Path, remedy: str = REMEDY) -> Any:
    """Read what torch.save wrote, mapped.

    torch checks no checksum, so a flipped bit would pass for another weight; and it unpacks what is compressed, however
    large.

    Args:
        path: An existing file.
        remedy: What makes a file take less.

    Raises:
        MERError: If it is no regular file, or stands for far more than it holds; see
            :func:`~mer_zoo.foreign.contents.check_values`.
        Exception: Of many kinds, as torch has a different one for each way in which a file can be broken.

    Example:
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "one.pt"
        >>> torch.save({"weight": torch.ones(2)}, file)
        >>> read_archive(file)
        {'weight': tensor([1., 1.])}
    """
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:  # opening a pipe would wait for ever
        entries = archive.infolist()
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
        if not stored or sum(entry.file_size for entry in entries) > path.stat().st_size or archive.testzip():
            raise zipfile.BadZipFile
        for entry in entries:
            is_description = entry.filename.endswith(_DESCRIPTION)
            # a bytearray would be made of zeros, of whatever size is told
            if is_description and (entry.file_size > _LARGEST_DESCRIPTION or b"\nbytearray\n" in archive.read(entry)):
                raise zipfile.BadZipFile
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    check_values({"content": content}, str(path), path.stat().st_size, remedy)
    return content
