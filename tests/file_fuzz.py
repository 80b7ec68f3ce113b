"""Hostile .npy and safetensors files, damaged in their headers most of all."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import numpy as np
from json_fuzz import damage_bytes, hostile_json

__all__ = ["hostile_npy", "hostile_safetensors"]

DESCRIPTIONS = [
    "'<f8'",
    "'|O'",
    "'O8'",
    "'V8'",
    "'<U0'",
    "'|S999999999'",
    "[('a', '<f8')]",
    "('<f8', (2, 3))",
    "'<M8[s]'",
]
DESCRIPTIONS += ["'f8,f4'", "object", "'" + "f4," * 500 + "f4'", "[('a', 'O')]", "{}", "None", "7", "'>U3'", "'c16'"]
SHAPES = [
    "()",
    "(8,)",
    "(-1, 2)",
    "(0,)",
    "(8, 0, 4611686018427387904)",
    "(8, 99999999999999999999, 0)",
    "(2.5,)",
    "[8]",
]
SHAPES += [
    "(True, 3)",
    "(8, 7, 10)",
    "(4294967296, 4294967296)",
    "(" * 300,
    "-" * 3000 + "1",
    "(8,) * 10**9",
    "(1," * 99,
]


def hostile_npy(rng: random.Random, array: np.ndarray[Any, Any], sound: bytes) -> bytes:
    """A damaged .npy file, its header most of all."""
    if rng.random() < 0.3:
        return damage_bytes(rng, sound)
    descr, shape, fortran = repr(array.dtype.str), repr(array.shape), "False"
    which = rng.randrange(4)
    descr = rng.choice(DESCRIPTIONS) if which == 0 else descr
    shape = rng.choice(SHAPES) if which == 1 else shape
    fortran = rng.choice(["True", "1", "None", "__import__('os').system('true')"]) if which == 2 else fortran
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    if which == 3:
        header = rng.choice(
            [header[: rng.randrange(len(header))], header + "\n" + header, header.replace("'", '"""', 1)]
        )
    version, length = rng.choice([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"]), len(header) + 1
    if rng.random() < 0.1:
        length = rng.choice([0, 1, 65_535])
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", length)
    return b"\x93NUMPY" + version + size + header.encode("latin-1") + b"\n" + array.tobytes()


def hostile_safetensors(rng: random.Random, sound: bytes) -> bytes:
    """A damaged file of weights, its header most of all."""
    if rng.random() < 0.2:
        return damage_bytes(rng, sound)
    (size,) = struct.unpack("<Q", sound[:8])
    header, data = json.loads(sound[8 : 8 + size]), sound[8 + size :]
    tensor = header[rng.choice([name for name in header if name != "__metadata__"])]
    which = rng.randrange(4)
    if which == 0:
        tensor["dtype"] = rng.choice(["F64", "F16", "BOOL", "U64", "F8_E4M3", "F4", "C64", "O", "", None])
    elif which == 1:
        start = tensor["data_offsets"][0]
        tensor |= {"shape": rng.choice([[0, 2**62], [0, 2**63], [0, 2**64], [2**40], [0] * 80, [], [-1]])}
        tensor["data_offsets"] = [start, start + rng.choice([0, 4, 2**40])]
    elif which == 2:
        shape = rng.choice([[0], [0, 2**62], [0, 2**63], [2**64 - 1, 0], [0] * 80, [3, 0]])
        more = {"dtype": "F32", "shape": shape, "data_offsets": [len(data)] * 2}
        header |= {f"more{place}": more for place in range(rng.choice([1, 99]))}
    packed = hostile_json(rng, header) if which == 3 else json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + data
