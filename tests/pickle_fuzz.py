"""Hostile pickles that keep most of the structure of sound ones; each is made again from its number alone."""

from __future__ import annotations

import io
import pickle
import pickletools
import random
import struct
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import corpora
import numpy as np
from pickle_calls import calls, name, number, text
from typing_extensions import override

from mer_zoo.data.files.numpy_pickles import ADMITTED
from mer_zoo.data.files.pickle_machine import PickleMachine
from mer_zoo.data.files.pickle_source import Source
from mer_zoo.foreign import Budget

__all__ = ["hostile_pickle", "instructions", "sound_pickles"]

Ops = list[bytes]
"""Instructions with their arguments; the bytes of an array outside the pickle proper count as one."""

OPCODES: dict[str, Any] = {op.code: op for op in pickletools.opcodes}
LARGEST = 300_000  # bytes of an input
TEXTS = (pickle.SHORT_BINUNICODE, pickle.BINUNICODE, pickle.BINUNICODE8, b"U", b"T")
NUMBERS = (b"K", b"M", b"J", pickle.LONG1)
SIZED = {b"X": "<I", b"B": "<I", b"T": "<i", b"\x8d": "<Q", b"\x8e": "<Q", b"\x96": "<Q", b"\x8c": "<B", b"C": "<B"}
MEMO = (b"q", b"h", b"r", b"j", b"p", b"g")
DANGERS = [
    *("os.system", "posix.system", "builtins.eval", "builtins.exec", "builtins.__import__", "builtins.getattr"),
    *("builtins.open", "__builtin__.eval", "subprocess.Popen", "runpy.run_path", "pickle.loads", "marshal.loads"),
    *("numpy.load", "numpy.fromfile", "numpy.memmap", "numpy.lib.npyio.load", "numpy.testing.runstring", "torch.load"),
    *("numpy.core.multiarray.fromstring", "numpy.core.numeric.fromfunction", "numpy.dtype.__class__", "codecs.open"),
    *("numpy.ctypeslib.load_library", "numpy.distutils.exec_command.exec_command", "_codecs.decode", "numpy. dtype"),
    *("joblib.numpy_pickle.NDArrayWrapper", "joblib.load", "numpy._core.multiarray.scalar.__call__", "."),
    *(
        "mer_zoo.cli.main",
        "mer_zoo.data.convert",
        "__main__.Evil",
        "builtins.set.__class__",
        "numpy.ndarray.__reduce__",
    ),
]
TYPES = ["f8", "f4", "i8", "b1", "u1", "O", "O8", "V8", "U0", "S0", "U3", "S999999999", "U999999999", "M8[s]", "f16"]
TYPES += ["c16", "f4,f4", "(2,3)f8", "f8" * 40, "<", ">", "|", "=", "F", "C", "K", "A", "latin1", "utf-16", "rot13"]
SIZES = [0, -1, 1, 2, 3, 7, 255, 256, 65_535, 2**31 - 1, -(2**31), 2**31, 2**32, 2**62, 2**63, 2**64, 10**30, 2**2000]


def instructions(data: bytes, gaps: dict[int, int]) -> Ops:
    """Take a pickle apart; ``gaps``: start to stop of the bytes of arrays between the instructions."""
    file, ops = io.BytesIO(data), []
    while (start := file.tell()) < len(data):
        if start in gaps:
            file.seek(gaps[start])
        else:
            argument = OPCODES[file.read(1).decode("latin-1")].arg
            if argument is not None:
                argument.reader(file)
        ops.append(data[start : file.tell()])
    return ops


class _GapFinder(PickleMachine):
    """Notes where arrays of joblib files lie."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.gaps: dict[int, int] = {}

    @override
    def _joblib_array(self, state: Any) -> Any:
        start = self.source.position
        value = super()._joblib_array(state)
        if not isinstance(value, list):
            self.gaps[start] = self.source.position
        return value


def _trees() -> dict[str, Any]:
    values = {
        "numbers": [0, 255, 70_000, -(2**40), 2**70, 0.5, True, None],
        "bytes": [b"b", bytearray(b"c"), b"d" * 300, "é" * 200, ()],
        "sets": [{1, 2}, frozenset("ab"), set()],
        "scalars": [np.float32(0.5), np.int64(7), np.str_("x"), np.bool_(True)],
        "objects": np.array(["a", None, 3], dtype=object),
        "audio": np.asfortranarray(np.ones((3, 2, 2))),
        "vision": np.ones((3, 4, 2), ">f4").transpose(0, 2, 1),
    }
    named = {"mmsa": corpora.mmsa(), "lists": corpora.mmsa(lists=True)}
    named |= {corpus: corpora.mult(corpus) for corpus in ("mosi", "mosei", "iemocap")}
    for tree in named.values():
        for fields in tree.values():
            fields |= {"id": fields["id"].astype(object)} if isinstance(fields.get("id"), np.ndarray) else {}
    # two splits of three are enough, and read in half the time
    kept = {key: {split: tree[split] for split in ("train", "test")} for key, tree in named.items()}
    kept["ordered"] = OrderedDict((split, defaultdict(list, fields)) for split, fields in kept["lists"].items())
    return kept | {"clips": {split: corpora.clips()[split] for split in ("train", "test")}, "values": {"train": values}}


@cache
def sound_pickles() -> dict[str, Ops]:
    """Sound files of every format, protocol and version of numpy, taken apart."""
    found: dict[str, Ops] = {}
    trees = _trees()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sound.pkl"
        for key, tree in trees.items():
            for protocol in (2, 3, 4, 5):
                for kind in ("numpy1", "numpy2", "joblib"):
                    corpora.dump(tree, path, protocol, kind == "numpy1", kind == "joblib")
                    with path.open("rb") as file:
                        finder = _GapFinder(Source(path, file, Budget(key)))
                        finder.load()
                    found[f"{key} {kind} {protocol}"] = instructions(path.read_bytes(), finder.gaps)
    return found | {f"values {p}": instructions(pickle.dumps(trees["values"], p), {}) for p in (0, 1)}


def _places(ops: Ops, codes: tuple[bytes, ...]) -> list[int]:
    return [place for place, op in enumerate(ops) if op[:1] in codes]


def _replace(rng: random.Random, ops: Ops, codes: tuple[bytes, ...], new: Callable[[bytes], bytes]) -> Ops:
    places = _places(ops, codes)
    if places:
        place = rng.choice(places)
        ops[place] = new(ops[place])
    return ops


def _near(rng: random.Random, word: str) -> str:
    place = rng.randrange(len(word))
    return rng.choice(
        [
            word[:place] + word[place + 1 :],
            word[:place] + word[place] * 2 + word[place + 1 :],
            word[:place] + "\u200b" + word[place:],
            word.upper(),
            f"{word}.__class__",
            word.replace("numpy", "numpy._core"),
        ]
    )


def rename(rng: random.Random, ops: Ops) -> Ops:
    """Another name in the place of one that numpy, joblib or Python write, or a text of the data."""
    full = rng.choice([*DANGERS, *ADMITTED, _near(rng, rng.choice(list(ADMITTED)))])
    if rng.random() < 0.3:
        return _replace(rng, ops, TEXTS, lambda _: text(rng.choice(full.rpartition("."))))
    stacked = [place for place, op in enumerate(ops) if op == pickle.STACK_GLOBAL]
    if not stacked:
        return _replace(rng, ops, (pickle.GLOBAL,), lambda _: name(full))
    place = rng.choice(stacked)
    return [*ops[:place], b"00", name(full), *ops[place + 1 :]]


def retype(rng: random.Random, ops: Ops) -> Ops:
    """Another element type, byte order or order of axes."""
    short = [place for place in _places(ops, TEXTS) if len(ops[place]) < 6]
    if short:
        ops[rng.choice(short)] = text(rng.choice(TYPES))
    return ops


def resize(rng: random.Random, ops: Ops) -> Ops:
    """Another number, such as a size of a shape."""
    return _replace(rng, ops, NUMBERS, lambda _: number(rng.choice(SIZES)))


def relength(rng: random.Random, ops: Ops) -> Ops:
    """A text or bytes that claim another length."""

    def claim(op: bytes) -> bytes:
        form = SIZED[op[:1]]
        size = struct.calcsize(form)
        if len(op) <= size:  # an instruction that was put in without its argument
            return op
        (length,) = struct.unpack(form, op[1 : 1 + size])
        new = rng.choice([length + 1, length - 1, 0, 2**62, 2**31 - 1]) % 256**size
        return op[:1] + int(new).to_bytes(size, "little") + op[1 + size :]

    return _replace(rng, ops, tuple(SIZED), claim)


def remember(rng: random.Random, ops: Ops) -> Ops:
    """Another place of the memo."""
    place = rng.randrange(300)
    codes = {b"q": b"q", b"r": b"q", b"p": b"q", b"h": b"h", b"j": b"h", b"g": b"h"}
    return _replace(rng, ops, MEMO, lambda op: codes[op[:1]] + bytes([place % 256]))


def reframe(rng: random.Random, ops: Ops) -> Ops:
    return _replace(rng, ops, (pickle.FRAME,), lambda op: rng.choice([b"", op[:1] + rng.randbytes(8)]))


def drop(rng: random.Random, ops: Ops) -> Ops:
    start = rng.randrange(len(ops))
    del ops[start : start + rng.choice([1, 1, 1, 2, 5])]
    return ops


def repeat(rng: random.Random, ops: Ops) -> Ops:
    """A run of instructions many times."""
    start = rng.randrange(len(ops))
    run = ops[start : start + rng.choice([1, 1, 2, 5, 20])]
    times = min(rng.choice([1, 1, 3, 100, 3000]), LARGEST // max(1, len(b"".join(run))))
    return [*ops[:start], *run * times, *ops[start:]]


def exchange(rng: random.Random, ops: Ops) -> Ops:
    one, other = rng.randrange(len(ops)), rng.randrange(len(ops))
    ops[one], ops[other] = ops[other], ops[one]
    return ops


def insert(rng: random.Random, ops: Ops) -> Ops:
    """Any instruction, or a call that leaves the stack as it was."""
    call = name(rng.choice([*DANGERS, *ADMITTED])) + rng.choice(
        [b")R0", b"(\x8c\x04trueR0", b"\x8c\x04true\x85R0", b"}b0"]
    )
    old = b"(S'true'\ni" + name(rng.choice(DANGERS))[1:] + b"0"
    deep = b")" + rng.choice([b"\x85", b"2\x86", b"]\x86"]) * rng.choice([30, 3000]) + b"0"
    single = bytes([rng.choice([ord(code) for code in OPCODES])]) + rng.choice([b"", rng.randbytes(4)])
    place = rng.randrange(len(ops) + 1)
    return [*ops[:place], rng.choice([call, call, old, deep, single, single]), *ops[place:]]


def splice(rng: random.Random, ops: Ops) -> Ops:
    """The start of one file and the end of another, or a part of another in the middle."""
    other = rng.choice(list(sound_pickles().values()))
    start, stop = sorted(rng.randrange(len(other) + 1) for _ in range(2))
    place = rng.randrange(len(ops) + 1)
    return ops[:place] + (other[start:] if rng.random() < 0.5 else other[start:stop] + ops[place:])


CHANGES = [rename, retype, resize, relength, remember, reframe, drop, repeat, exchange, insert, splice]


def hostile_pickle(seed: int) -> bytes:
    """Make the input of a number."""
    rng = random.Random(seed)
    if rng.random() < 0.2:
        return calls(rng)
    ops = list(rng.choice(list(sound_pickles().values())))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        ops = rng.choice(CHANGES)(rng, ops) or [pickle.STOP]
    data = bytearray(b"".join(ops))
    damage = rng.random()
    if damage < 0.1:
        for _ in range(rng.choice([1, 4])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif damage < 0.15:
        del data[rng.randrange(2, len(data) + 1) :]
    return bytes(data[: 2 * LARGEST])
