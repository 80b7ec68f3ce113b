"""Hostile files that grow: few bytes that stand for much, and much that is read again and again.

An input is made from its number: the first numbers are one of each kind at the size that once hurt, those behind are
kinds and sizes drawn by chance.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import corpora
import numpy as np
from pickle_calls import name, number, text

from mer_zoo.data.store.store import META, write_store

__all__ = ["KINDS", "grown"]

Maker = Callable[[Path, random.Random, float], Path]
KINDS: list[Maker] = []
"""Each writes a corpus file, a store or a sweep file into an empty folder; the last argument scales its size."""

BIG = pickle.LONG1 + b"\xff" + b"\x7f" * 255
MIXED = b"x" * 600 + "\U0001f600".encode()  # one character makes all the others four times as wide


def kind(maker: Maker) -> Maker:
    KINDS.append(maker)
    return maker


def grown(seed: int, folder: Path) -> Path:
    """Write the input of a number into an empty folder."""
    rng = random.Random(seed)
    if seed < len(KINDS):
        return KINDS[seed](folder, rng, 1.0)
    return rng.choice(KINDS)(folder, rng, 10 ** rng.uniform(-3, 0.2))


# Pickles


def pickled(folder: Path, *parts: bytes) -> Path:
    path = folder / "corpus.pkl"
    path.write_bytes(b"\x80\x04" + b"".join(parts) + b".")
    return path


def remembered(place: int, value: bytes) -> bytes:
    return value + b"q" + bytes([place]) + b"0"


def again(place: int, times: int) -> bytes:
    return b"](" + (b"h" + bytes([place])) * times + b"e"


def listed(*texts: bytes) -> bytes:
    return b"](" + b"".join(texts) + b"e"


def raw(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def array(data: bytes, code: str, *shape: int) -> bytes:
    """The array of these bytes, as numpy writes it."""
    sizes = b"(" + b"".join(map(number, shape)) + b"t"
    dtype = name("numpy.dtype") + text(code) + b"\x89\x88\x87R(K\x03" + text("<" if code[0] != "S" else "|")
    dtype += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    call = name("numpy._core.multiarray._reconstruct") + name("numpy.ndarray") + b"K\x00\x85C\x01b\x87R"
    return call + b"(K\x01" + sizes + dtype + b"\x89" + raw(data) + b"tb"


def audio(count: int) -> bytes:
    return array(bytes(4 * count), "f4", count, 1, 1)


def splits(**fields: bytes) -> bytes:
    """A corpus of one split."""
    return b"}" + text("test") + b"}" + b"".join(text(key) + value + b"s" for key, value in fields.items()) + b"s"


@kind
def big_integers_as_ids(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(1_000_000 * scale)
    return pickled(folder, remembered(1, BIG), splits(audio=audio(count), id=again(1, count)))


@kind
def big_integers_as_labels(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(1_000_000 * scale)
    return pickled(folder, remembered(1, BIG), splits(audio=audio(count), labels=again(1, count)))


@kind
def one_text_in_many_rows(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(30_000 * scale)
    rows = again(1, count)
    return pickled(folder, remembered(1, listed(*[raw(MIXED)] * 8)), splits(text=audio(count), id=rows, raw_text=rows))


@kind
def long_texts_in_many_rows(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(400 * scale) + 1
    value = raw(b"\xff" * 200_000 + "\U0001f600".encode())
    return pickled(folder, remembered(1, value), splits(text=audio(count), raw_text=again(1, count)))


@kind
def rows_of_many_columns(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(1_200_000 * scale)
    rows = again(1, count)
    return pickled(folder, remembered(1, listed(*[raw(b"a")] * 8)), splits(text=audio(count), id=rows))


@kind
def overlapping_ids(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(52_000 * scale) + 1
    ids = array(b"".join((b"%06d" % row) for row in range(count)), "S6", count)
    parts = [
        text(f"test_{split}")
        + b"}"
        + text("id")
        + ids
        + b"s"
        + text("audio")
        + array(bytes(count), "u1", count, 1, 1)
        + b"ss"
        for split in range(64)
    ]
    return pickled(folder, b"}", *parts)


@kind
def overlapping_ids_of_lists(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(11_000 * scale) + 1
    ids = b"".join(text(f"{row:x}") + b"r" + struct.pack("<I", row + 9) + b"0" for row in range(count))
    rows = b"](" + b"".join(b"j" + struct.pack("<I", row + 9) for row in range(count)) + b"e"
    sound = array(bytes(count), "u1", count, 1, 1)
    parts = [
        text(f"test_{split}") + b"}" + text("id") + rows + b"s" + text("audio") + sound + b"ss" for split in range(60)
    ]
    return pickled(folder, ids, b"}", *parts)


@kind
def splits_that_differ_in_the_last_row(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(40_000 * scale) + 1
    parts = [
        text(f"test_{split}")
        + b"}"
        + text("audio")
        + array(bytes(4 * count - 4) + struct.pack("<f", 1 + split), "f4", count, 1, 1)
        + b"ss"
        for split in range(64)
    ]
    return pickled(folder, b"}", *parts)


@kind
def a_buffer_with_many_axes(folder: Path, rng: random.Random, scale: float) -> Path:
    axes = b"(" + b"K\x00" * int(300_000 * scale) + b"t"
    arguments = b"(" + raw(bytes(8)) + name("numpy.dtype") + text("f8") + b"\x85RK\x01\x85" + text("K") + b"h\x01t"
    call = name("numpy._core.numeric._frombuffer")
    parts = [remembered(1, axes), remembered(2, arguments), remembered(3, call)]
    return pickled(folder, *parts, b"(", b"h\x03h\x02R" * int(100_000 * scale), b"l")


def _calls_of_much(folder: Path, scale: float, full: str, arguments: bytes) -> Path:
    many = b"(" + b"K\x00" * int(300_000 * scale) + arguments + b"t"
    parts = [remembered(1, many), remembered(2, name(full))]
    return pickled(folder, *parts, b"(", b"h\x02h\x01R" * int(200_000 * scale), b"l")


@kind
def calls_with_many_arguments(folder: Path, rng: random.Random, scale: float) -> Path:
    return _calls_of_much(folder, scale, "numpy._core.multiarray._reconstruct", b"")


@kind
def sets_of_many(folder: Path, rng: random.Random, scale: float) -> Path:
    items = b"(" + text("a") * int(300_000 * scale) + b"t\x85"
    parts = [remembered(1, items), remembered(2, name("builtins.set"))]
    return pickled(folder, *parts, b"(", b"h\x02h\x01R" * int(200_000 * scale), b"l")


@kind
def long_states(folder: Path, rng: random.Random, scale: float) -> Path:
    items = b"(" + b"K\x00" * int(300_000 * scale) + b"t"
    dtype = name("numpy.dtype") + text("f8") + b"\x85R"
    state = b"(K\x03" + text("<") + b"NNN" + b"K\x00" * int(300_000 * scale) + b"t"
    parts = [remembered(1, items), remembered(2, state), dtype]
    return pickled(folder, *parts, b"h\x02b" * int(300_000 * scale))


@kind
def long_keys_again_and_again(folder: Path, rng: random.Random, scale: float) -> Path:
    key = text("k" * int(5_000_000 * scale))
    parts = [remembered(1, key), remembered(2, key), b"}h\x01Ns"]
    return pickled(folder, *parts, b"h\x02Ns" * int(100_000 * scale))


@kind
def long_lines_of_digits(folder: Path, rng: random.Random, scale: float) -> Path:
    return pickled(folder, b"(", (b"I" + b"9" * 1000 + b"\n") * int(60_000 * scale), b"l")


@kind
def many_splits(folder: Path, rng: random.Random, scale: float) -> Path:
    names = b"".join(text(f"test_{split}") + b"h\x01" for split in range(int(350_000 * scale)))
    return pickled(folder, remembered(1, b"}"), b"}(", names, b"u")


@kind
def many_lengths_of_zero(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(1_000_000 * scale)
    ones = array(b"\x01" * count, "u1", count, 1, 1)
    return pickled(folder, splits(audio=ones, audio_lengths=array(bytes(count), "u1", count)))


@kind
def many_wrong_labels(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(2_000_000 * scale)
    return pickled(
        folder, splits(audio=array(bytes(count), "u1", count, 1, 1), labels=array(b"\x09" * count, "u1", count))
    )


@kind
def deep_nesting(folder: Path, rng: random.Random, scale: float) -> Path:
    deep = b"]" * int(600_000 * scale) + b"a" * (int(600_000 * scale) - 1)
    return pickled(folder, splits(audio=audio(1), id=deep, labels=deep))


# Folders and archives


def header(descr: str, shape: str, version: int = 1) -> bytes:
    content = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode("latin-1")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(content)) + content


def zeros(head: bytes, size: int, value: bytes = b"\0") -> tuple[bytes, int, int]:
    """A deflated member of a head and a byte again and again: its bytes, checksum and size."""
    block = value * 2**20
    begin, run = (_deflated(data) for data in (head, block))
    rest = value * (size % 2**20)
    check = zlib.crc32(head)
    for _ in range(size // 2**20):
        check = zlib.crc32(block, check)
    ending = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = begin + run * (size // 2**20) + ending.compress(rest) + ending.flush()
    return data, zlib.crc32(rest, check), len(head) + size


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def archive(path: Path, members: dict[str, tuple[bytes, int, int]]) -> Path:
    """A zip file of members that are deflated already."""
    directory, place = [], 0
    with path.open("wb") as file:
        for member, (data, check, size) in members.items():
            packed = member.encode()
            about = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, check, len(data), size, len(packed), 0)
            file.write(b"PK\x03\x04" + about + packed + data)
            directory.append(b"PK\x01\x02\x14\x00" + about + struct.pack("<HHHII", 0, 0, 0, 0, place) + packed)
            place = file.tell()
        listing = b"".join(directory)
        file.write(listing)
        count = min(len(directory), 0xFFFF)
        file.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(listing), place, 0))
    return path


def _npz_of_zeros(folder: Path, **fields: tuple[str, tuple[int, ...], int, bytes]) -> Path:
    members = {
        f"test/{key}.npy": zeros(header(descr, str(shape)), int(np.prod(shape)) * width, value)
        for key, (descr, shape, width, value) in fields.items()
    }
    return archive(folder / "corpus.npz", members)


@kind
def a_directory_of_many_members(folder: Path, rng: random.Random, scale: float) -> Path:
    member = zeros(header("'|u1'", "(1,)"), 1)
    return archive(folder / "corpus.npz", {f"test/{place:x}.npy": member for place in range(int(10_000 * scale))})


@kind
def a_long_directory(folder: Path, rng: random.Random, scale: float) -> Path:
    entry = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    listing = entry * int(700_000 * scale)
    path = folder / "corpus.npz"
    path.write_bytes(listing + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(listing), 0, 0))
    return path


@kind
def labels_of_nothing(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(500_000_000 * scale)
    return _npz_of_zeros(
        folder,
        audio=("'|u1'", (4_000_000, 1, 1), 1, b"\0"),
        labels=("'|u1'", (4_000_000, count // 4_000_000 + 2), 1, b"\0"),
    )


@kind
def one_label_each(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(4_000_000 * scale)
    return _npz_of_zeros(folder, audio=("'|u1'", (count, 1, 1), 1, b"\0"), labels=("'|u1'", (count,), 1, b"\0"))


@kind
def ids_of_nothing(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(4_000_000 * scale)
    return _npz_of_zeros(folder, audio=("'|u1'", (count, 1, 1), 1, b"\0"), id=("'|S8'", (count, 8), 8, b"a"))


@kind
def wide_ids_of_nothing(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(500_000 * scale) + 1
    return _npz_of_zeros(folder, audio=("'|u1'", (count, 1, 1), 1, b"\0"), id=("'|S1000'", (count,), 1000, b"a"))


@kind
def wide_texts(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(500 * scale) + 1
    return _npz_of_zeros(
        folder, audio=("'|u1'", (count, 1, 1), 1, b"\0"), raw_text=("'|S1000000'", (count,), 1000000, b"\xff")
    )


@kind
def one_wide_row(folder: Path, rng: random.Random, scale: float) -> Path:
    size = int(500_000_000 * scale) // 8 * 8
    return _npz_of_zeros(
        folder,
        audio=("'|u1'", (1, 1, 1), 1, b"\0"),
        id=("'|S8'", (1, size // 8), 8, b"a"),
        raw_text=("'<i2'", (1, size // 8), 2, b"a"),
    )


@kind
def tokens_of_nothing(folder: Path, rng: random.Random, scale: float) -> Path:
    steps = int(40 * scale) + 1
    return _npz_of_zeros(
        folder, audio=("'|u1'", (4_000_000, 1, 1), 1, b"\0"), text_bert=("'|u1'", (4_000_000, 3, steps), 1, b"\0")
    )


@kind
def lengths_of_nothing(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(4_000_000 * scale)
    return _npz_of_zeros(folder, audio=("'|u1'", (count, 1, 1), 1, b"\1"), audio_lengths=("'|u1'", (count,), 1, b"\0"))


def own(folder: Path) -> Path:
    split = folder / "corpus" / "test"
    split.mkdir(parents=True)
    np.save(split / "audio.npy", np.ones((2, 3, 4), np.float32))
    return split


@kind
def a_header_of_a_gigabyte(folder: Path, rng: random.Random, scale: float) -> Path:
    split, size = own(folder), int(2**30 * scale)
    with (split / "vision.npy").open("wb") as file:
        file.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", size))
        file.truncate(size + 12)
    return split.parent


@kind
def a_pipe(folder: Path, rng: random.Random, scale: float) -> Path:
    split = own(folder)
    os.mkfifo(split / "vision.npy")
    return split.parent


@kind
def a_link_to_a_pipe(folder: Path, rng: random.Random, scale: float) -> Path:
    split = own(folder)
    os.mkfifo(folder / "pipe")
    (split / "vision.npy").symlink_to(folder / "pipe")
    return split.parent


@kind
def a_pipe_for_a_pickle(folder: Path, rng: random.Random, scale: float) -> Path:
    suffix = rng.choice(["pkl", "npz"])
    os.mkfifo(folder / f"corpus.{suffix}")
    return folder / f"corpus.{suffix}"


@kind
def a_socket(folder: Path, rng: random.Random, scale: float) -> Path:
    split = own(folder)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(split / "vision.npy"))
    return split.parent


@kind
def a_device(folder: Path, rng: random.Random, scale: float) -> Path:
    split = own(folder)
    (split / "vision.npy").symlink_to("/dev/zero")
    (split / "text.npy").symlink_to("/dev/tty")
    return split.parent


@kind
def code_points_beyond_the_last(folder: Path, rng: random.Random, scale: float) -> Path:
    split = own(folder)
    points = struct.pack("<2I", rng.choice([0x110000, 2**31, 2**32 - 1]), 65)
    (split / "id.npy").write_bytes(header("'<U1'", "(2,)") + points)
    return split.parent


@kind
def other_types(folder: Path, rng: random.Random, scale: float) -> Path:
    split = own(folder)
    descr = rng.choice(["'|V8'", "[('a', '<f4', (2,))]", "'<M8[s]'", "'<m8[ns]'", "'|O'", "'<c16'", "'|T16'", "'<f16'"])
    key = rng.choice(["id", "raw_text", "labels", "audio_lengths", "vision"])
    (split / f"{key}.npy").write_bytes(header(descr, "(2,)") + bytes(64))
    return split.parent


@kind
def numbers_that_become_text(folder: Path, rng: random.Random, scale: float) -> Path:
    count = int(3_000_000 * scale)
    return _npz_of_zeros(folder, audio=("'|u1'", (count, 1, 1), 1, b"\0"), raw_text=("'<u8'", (count,), 8, b"\xff"))


# Stores


def _store(folder: Path) -> Path:
    tree = {split: fields for split, fields in corpora.mmsa().items() if split != "valid"}
    write_store(corpora.dump(tree, folder / "sound.pkl"), folder / "store")
    return folder / "store"


def _index(store: Path, key: str, content: Iterator[str]) -> Path:
    index = json.loads((store / META).read_text())
    with (store / META).open("w") as file:
        for part in json.JSONEncoder().iterencode({**index, key: "PLACE"}):
            if part == '"PLACE"':
                file.writelines(content)
            else:
                file.write(part)
    return store


@kind
def a_long_index(folder: Path, rng: random.Random, scale: float) -> Path:
    part = rng.choice(["[],", "{},", '"",', "1e5,", '"ab",', "300,"])
    count = int(120_000_000 / len(part) * scale)
    return _index(_store(folder), "notes", iter(["[", part * count, '"a"]']))


@kind
def a_deep_index(folder: Path, rng: random.Random, scale: float) -> Path:
    depth = int(100_000 * scale)
    return _index(_store(folder), "notes", iter(["[" * depth, "]" * depth]))


@kind
def an_index_of_large_numbers(folder: Path, rng: random.Random, scale: float) -> Path:
    return _index(_store(folder), "vocab_size", iter(["9" * int(1_000_000 * scale)]))


@kind
def a_long_version(folder: Path, rng: random.Random, scale: float) -> Path:
    return _index(_store(folder), "version", iter(['"', "v" * int(1_000_000 * scale), '"']))


# Sweep files

SWEEP = """
method: random
metric: {name: val/loss, goal: minimize}
command: ["${env}", mer-zoo, fit, "--config", a.yaml, "${args}"]
parameters:
  model.clip_norm: {value: 0.8}
"""


def sweep(folder: Path, *lines: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(SWEEP + "\n".join(lines))
    return path


@kind
def aliases(folder: Path, rng: random.Random, scale: float) -> Path:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, int(9 * scale) + 1)]
    place = rng.choice(["run_cap", "name", "early_terminate"])
    return sweep(folder, *lines, f"{place}: *a{int(9 * scale)}")


@kind
def aliases_of_a_known_key(folder: Path, rng: random.Random, scale: float) -> Path:
    deep = "&a0 [x, x, x, x, x, x, x, x, x]"
    for k in range(1, int(9 * scale) + 1):
        deep = f"&a{k} [{deep}, {', '.join([f'*a{k - 1}'] * 8)}]"
    return sweep(folder, f"run_cap: {deep}")


@kind
def merged_mappings(folder: Path, rng: random.Random, scale: float) -> Path:
    lines = ["early_terminate:", "  a0: &a0 {x: 1, y: 1}"]
    lines += [f"  a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}" for k in range(1, int(25 * scale) + 1)]
    return sweep(folder, *lines)


@kind
def deep_yaml(folder: Path, rng: random.Random, scale: float) -> Path:
    depth = int(3_000 * scale)
    return sweep(folder, "name: " + rng.choice(["[" * depth + "]" * depth, "{a: " * depth + "}" * depth]))


@kind
def long_yaml(folder: Path, rng: random.Random, scale: float) -> Path:
    return sweep(folder, f"name: [{'a, ' * int(1_000_000 * scale)}]")


@kind
def large_numbers_in_yaml(folder: Path, rng: random.Random, scale: float) -> Path:
    digits = int(60_000 * scale)
    number = rng.choice(["9" * digits, "0x" + "f" * digits, "0b" + "1" * digits, "1" + ":59" * (digits // 3)])
    return sweep(folder, f"run_cap: -{number}")


@kind
def other_values_in_yaml(folder: Path, rng: random.Random, scale: float) -> Path:
    value = rng.choice(
        ["2001-99-99", "2001-01-01", "!!binary aGk=", "!!set {a}", ".nan", "&a [*a]", "? [a]\n: b", "!!int x"]
    )
    return sweep(folder, f"{rng.choice(['run_cap', 'name', 'description'])}: {value}")
