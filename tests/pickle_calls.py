"""Pickles that call the admitted names again and again, and the pieces of which hostile pickles are put together."""

from __future__ import annotations

import pickle
import random
import struct

from mer_zoo.data.files.numpy_pickles import ADMITTED

__all__ = ["calls", "name", "number", "text"]


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"\x8c" + bytes([len(data)]) + data if len(data) < 256 else b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(data)]) + data


def name(full: str) -> bytes:
    module, _, last = full.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def calls(rng: random.Random) -> bytes:
    """Admitted names, called again and again with what they want, and now and then with something else."""
    length = rng.choice([8, 100, 65_000])
    tree = b")" + b"2\x86" * rng.choice([3, 60])
    pools = {
        "text": [text("x" * length)],
        "bytes": [b"B" + struct.pack("<I", length) + b"x" * length],
        "type": [name("numpy.dtype") + text(code) + b"\x85R" for code in (f"S{length}", "u1", "O")],
        "code": [text("f8"), text("O")],
        "coding": [text("latin1")],
        "shape": [number(length) + b"\x85", b"K\x01" + number(length) + b"\x86", b"K\x00\x85"],
        "order": [text("C"), text("F"), text("K")],
        "axes": [b"K\x00\x85", tree + tree + b"\x86", b"K\x01K\x00\x86"],
        "list": [b"](" + b"\x88" * 50 + b"e", b"]", text("x" * length)],
        "pairs": [b"](" + (text("k") + b"\x88\x86") * 50 + b"e", b"](" + number(length) + b"\x88\x86e", b"]"],
        "other": [b"}", b")", b"N", b"\x88", number(length), tree, b"\x8f", b"]"],
    }
    wanted = {"scalar": "type bytes", "buffer": "bytes type shape order axes", "encode": "text coding", "dtype": "code"}
    wanted |= {
        "set": "list",
        "frozenset": "list",
        "bytes": "text",
        "array": "other",
        "class": "other",
        "joblib array": "",
        "dict": "pairs",
        "defaultdict": "other",
        "factory": "",
    }
    values = [(kind, value) for kind, pool in pools.items() for value in pool]
    memo = b"".join(value + b"q" + bytes([place]) + b"0" for place, (_, value) in enumerate(values))

    def get(kind: str) -> bytes:
        kind = (
            rng.choice([*pools]) if rng.random() < 0.1 else rng.choice(["bytes", "text"]) if kind == "bytes" else kind
        )
        return b"h" + bytes([rng.choice([place for place, (of, _) in enumerate(values) if of == kind])])

    full, means = rng.choice(list(ADMITTED.items()))
    arguments = b"(" + b"".join(map(get, wanted[means].split())) + b"t"
    state = b"(K\x01" + b"".join(map(get, ("shape", "type", "other", "bytes"))) + b"tb"
    call = b"h\xff" + arguments + b"R" + rng.choice([b"", b"0", state])
    times = rng.choice([1] * 28 + [300] * 11 + [40_000])
    return pickle.PROTO + b"\x04" + memo + name(full) + b"q\xff0(" + call * times + b"l."
