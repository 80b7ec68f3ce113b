"""Mutated recordings and lists of clips, each made from its number alone."""

from __future__ import annotations

import random
import struct

from damaged_clips import FORMATS, Sources, listings

__all__ = ["mutated_list", "mutated_recording"]

NUMBERS = (0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
SIGNS = (b"\x00", b'"', b",", b"\n", b"\r", b"\xff", b"nan", b"1e999", b"-1", b"../", b"=", "你".encode())


def mutated_recording(number: int, sources: Sources) -> tuple[str, bytes]:
    """The name and the bytes of a recording that has up to four mutations.

    Args:
        number: Of the recording.
        sources: What it is made of.
    """
    rng = random.Random(number)
    kind = rng.choice(FORMATS)
    data = bytearray(sources[kind])
    for _ in range(rng.randint(1, 4)):
        _mutate(data, rng, sources)
    return f"{number}.{kind}", bytes(data)


def _mutate(data: bytearray, rng: random.Random, sources: Sources) -> None:
    size = len(data)
    if not size:  # all of it was cut off
        return
    # headers are at the beginning, or at the end as those of mp4
    at = rng.choice(
        (rng.randrange(size), rng.randrange(min(size, 600)), max(0, size - 1 - rng.randrange(min(size, 1500))))
    )
    how = rng.randrange(7)
    if how == 0 and size > 100:
        del data[at : size if rng.random() < 0.3 else at + rng.randrange(1, 60)]
    elif how == 1:
        data[at] ^= 1 << rng.randrange(8)
    elif how == 2:
        data[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice(NUMBERS))
    elif how == 3:
        data[at : at + 2] = struct.pack(rng.choice("<>") + "H", rng.choice(NUMBERS) % 2**16)
    elif how == 4:
        data[at : at + 200] = rng.randbytes(rng.randrange(1, 200))
    elif how == 5:
        other = sources[rng.choice(FORMATS)]
        start = rng.randrange(len(other))
        data[at:at] = other[start : start + rng.randrange(1, 400)]
    else:
        data[at:at] = data[at : at + rng.randrange(1, 400)]


def mutated_list(number: int) -> bytes:
    """The bytes of a table of clips that has up to two mutations.

    Args:
        number: Of the table.
    """
    rng = random.Random(number)
    data = bytearray(rng.choice([listing.data for listing in listings() if len(listing.data) < 1000]) or b"path\n")
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(data) + 1)
        how = rng.randrange(4)
        if how == 0:
            data[at:at] = rng.choice(SIGNS)
        elif how == 1:
            del data[at : at + rng.randrange(1, 6)]
        elif how == 2:
            data[at : at + 1] = bytes([rng.randrange(32, 256 if rng.random() < 0.1 else 127)])
        else:
            data += data[at:]
    return bytes(data)
