from __future__ import annotations

import gc
import gzip
import os
import pickle
import struct
import subprocess
import time
import tracemalloc
import zlib
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import numpy.typing as npt
import pytest

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.files.pickle_source import SLICE_FROM
from mer_zoo.data.files.pickles import load_pickle
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget

RNG = np.random.default_rng(0)
ARRAYS = {
    "float64": RNG.normal(size=(3, 4, 2)),
    "float32": RNG.normal(size=(5,)).astype("f4"),
    "float16": RNG.normal(size=(2, 3)).astype("f2"),
    "big-endian": RNG.normal(size=(2, 3)).astype(">f8"),
    "int64": np.arange(-3, 3),
    "uint8": np.arange(6, dtype="u1").reshape(2, 3),
    "bool": np.array([[True, False]]),
    "text": np.array(["aé", "", "ccc"]),
    "big-endian text": np.array(["ab", "c"]).astype(">U2"),
    "bytes": np.array([[b"a", b"bc"]]),
    "fortran": np.asfortranarray(RNG.normal(size=(4, 3, 2))),
    "transposed": RNG.normal(size=(4, 3, 2)).transpose(0, 2, 1),
    "reversed axes": RNG.normal(size=(4, 3, 2)).transpose(2, 1, 0),
    "strided": RNG.normal(size=(6, 4))[::2, 1:],
    "empty": np.zeros((0, 3)),
    "large": RNG.normal(size=(40, 50, 8)),
    "large fortran": np.asfortranarray(RNG.normal(size=(40, 50, 8))),
    "large big-endian": RNG.normal(size=(40, 50, 8)).astype(">f4"),
}


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "data.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize("numpy1", [False, True], ids=["numpy2", "numpy1"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_protocol_equal_what_was_written(tmp_path: Path, protocol: int, numpy1: bool) -> None:
    path = corpora.dump({"train": ARRAYS}, tmp_path / "data.pkl", protocol, numpy1)
    assert pickle.loads(path.read_bytes()).keys() == {"train"}  # the generator itself writes what pickle can read
    loaded = load_pickle(path)["train"]
    assert loaded.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        array = loaded[name]
        assert isinstance(array, StoredArray)
        assert array.shape == expected.shape
        np.testing.assert_array_equal(array.load(), expected, err_msg=name)
        assert array.dtype == expected.dtype


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_survives(tmp_path: Path, protocol: int) -> None:
    data = {
        "numbers": [0, -1, 255, 70000, -(2**40), 2**70, 0.5, float("inf"), True, None],
        "text": ("a", "é" * 300, b"bytes", bytearray(b"b"), ()),
        "sets": [{1, 2}, frozenset("ab"), set()],
        "scalars": [np.float32(0.5), np.int64(7), np.str_("x"), np.bool_(True), np.float64(2.0)],
        "objects": np.array(["a", None, 3], dtype=object),
        3: [],
    }
    path = write(tmp_path, pickle.dumps(data, protocol))
    expected = data | {"objects": ["a", None, 3], "scalars": [0.5, 7, "x", True, 2.0]}
    assert load_pickle(path) == expected


def test_arrays_inside_object_arrays_are_arrays(tmp_path: Path) -> None:
    ragged = np.empty(2, dtype=object)
    ragged[:] = np.arange(2.0), np.arange(3.0)
    loaded = load_pickle(write(tmp_path, pickle.dumps({"train": {"audio": ragged}})))
    assert [array.load().tolist() for array in loaded["train"]["audio"]] == [[0, 1], [0, 1, 2]]


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_file_of_numpy_texts_alone_is_read(tmp_path: Path, protocol: int) -> None:
    texts = [np.str_("a long text " * 20 + str(i)) for i in range(3000)]
    path = write(tmp_path, pickle.dumps(texts, protocol))
    assert path.stat().st_size > 2**20  # beyond what may be copied of any file
    assert load_pickle(path) == texts


def test_an_array_used_twice_is_the_same_array(tmp_path: Path) -> None:
    array = np.arange(3.0)
    loaded = load_pickle(write(tmp_path, pickle.dumps([array, {"again": array}])))
    assert loaded[0] is loaded[1]["again"]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_joblib_files_are_read_without_joblib(tmp_path: Path, protocol: int) -> None:
    arrays = ARRAYS | {"objects": np.array(["a", "b"], dtype=object), "padding": np.zeros(3)}
    path = corpora.dump({"train": arrays, "after": 1}, tmp_path / "data.pkl", protocol, joblib=True)
    loaded = load_pickle(path)
    assert loaded["after"] == 1
    assert loaded["train"].pop("objects") == ["a", "b"]
    for name, array in loaded["train"].items():
        np.testing.assert_array_equal(array.load(), arrays[name], err_msg=name)


def test_the_imitated_joblib_file_is_true(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    tree = corpora.mmsa()
    joblib.dump(tree, tmp_path / "real.pkl")
    imitated = corpora.dump(tree, tmp_path / "data.pkl", 4, joblib=True)
    expected, loaded = load_pickle(tmp_path / "real.pkl"), load_pickle(imitated)
    np.testing.assert_array_equal(loaded["test"]["audio"].load(), expected["test"]["audio"].load())
    np.testing.assert_array_equal(loaded["test"]["audio"].load(), tree["test"]["audio"])


def test_python_2_pickles_are_read(tmp_path: Path) -> None:
    array = np.arange(6, dtype="f8").reshape(2, 3)
    large = np.arange(SLICE_FROM, dtype="f8")

    def text(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def pickled(x: npt.NDArray[Any]) -> bytes:
        shape = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in x.shape) + b"t"
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        dtype = (
            b"cnumpy\ndtype\n("
            + text(b"f8")
            + b"K\x00K\x01tR(K\x03"
            + text(b"<")
            + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        return made + b"(K\x01" + shape + dtype + b"I00\n" + text(x.tobytes()) + b"tb"

    path = write(tmp_path, b"\x80\x02}(" + text(b"a") + pickled(array) + text(b"b") + pickled(large) + b"u.")
    loaded = load_pickle(path)
    np.testing.assert_array_equal(loaded["a"].load(), array)
    np.testing.assert_array_equal(loaded["b"].load(), large)


def test_large_arrays_stay_in_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, pickle.dumps({"x": np.ones((100, 200, 100))}, 4))
    tracemalloc.start()
    array = load_pickle(path)["x"]
    total = sum(float(block.sum()) for block in array.blocks(limit=2**18))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 100 * 200 * 100
    assert peak < 2**20 < array.nbytes


class Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, subprocess.check_output, np.load, open])
def test_nothing_but_data_is_admitted(tmp_path: Path, function: Any, protocol: int) -> None:
    marker = tmp_path / "ran"
    arguments = ["touch", str(marker)] if function is subprocess.check_output else f"touch {marker}"
    path = corpora.dump({"train": {"audio": Call(function, arguments)}}, tmp_path / "data.pkl", protocol)
    name = function.__name__
    with pytest.raises(MERError, match=rf"refused: it names '[\w.]+\.{name}'.*nothing in it was run"):
        load_pickle(path)
    assert not marker.exists()


def test_the_hostile_corpus_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = corpora.dump(corpora.evil(marker), tmp_path / "evil.pkl")
    with pytest.raises(MERError, match=f"names '{os.name}.system'"):
        load_pickle(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the file is a danger indeed
    assert marker.exists()


def short(text: bytes) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text


BUFFER = b"\x80\x04cnumpy.core.numeric\n_frombuffer\nq\x00"
BYTE_TYPE = b"cnumpy\ndtype\n" + short(b"u1") + b"\x85R"
LARGE_SHAPE = b"K\x08K\x00\x8a\x09" + (2**62).to_bytes(9, "little") + b"\x87"
LARGE_TEXT = b"X" + struct.pack("<I", 2**20) + b"x" * 2**20
LARGE_BYTES = b"B" + struct.pack("<I", 60_000) + b"x" * 60_000
NESTED_TUPLE = b"\x80\x04)" + b"\x85" * 100_000
HOSTILE = {
    "frame of 4 EiB": (b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"\x8e" + struct.pack("<Q", 2**62), "cut short"),
    "bytes of 4 EiB": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "cut short"),
    "text of 4 EiB": (b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.", "cut short"),
    "negative size": (b"\x80\x02T\xff\xff\xff\xff.", "cut short"),
    "array of 4 EiB": (
        pickle.dumps(np.zeros(3), 3).replace(b"K\x03\x85", b"\x8a\x08" + struct.pack("<q", 2**62) + b"\x85"),
        "should have",
    ),
    "array of negative size": (
        pickle.dumps(np.zeros(3), 3).replace(b"K\x03\x85", b"J\xff\xff\xff\xff\x85"),
        "proper shape",
    ),
    "structured array": (pickle.dumps(np.zeros(3, dtype="i4,f4")), "elements of type 'V8'"),
    "dates": (pickle.dumps(np.zeros(3, dtype="M8[s]")), "elements of type 'M8'"),
    "object array too short": (
        pickle.dumps(np.array([1, 2], dtype=object), 3).replace(b"K\x02\x85", b"K\x09\x85"),
        "as many items",
    ),
    "nested tuple as key": (b"\x80\x04}" + NESTED_TUPLE[2:] + b"Ns.", "neither text nor a number"),
    "nested tuple as name": (b"\x80\x04" + NESTED_TUPLE[2:] + b"2\x93.", "a name is no text"),
    "colliding keys": (
        b"\x80\x04}("
        + b"".join(b"\x8a\x0a" + (i * (2**61 - 1)).to_bytes(10, "little") + b"N" for i in range(999))
        + b"u.",
        "many numbers as keys",
    ),
    "many copies": (
        b"\x80\x02c_codecs\nencode\nq\x00X\x40\x42\x0f\x00"
        + b"a" * 1_000_000
        + b"X\x06\x00\x00\x00latin1\x86q\x010"
        + b"h\x00h\x01R" * 1000
        + b".",
        "more copies",
    ),
    "many scalars of one text": (
        b"\x80\x04cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n"
        + short(b"S60000")
        + b"\x85R"
        + LARGE_BYTES
        + b"\x86q\x010q\x00("
        + b"h\x00h\x01R" * 30_000
        + b"l.",
        "more copies",
    ),
    "many arrays of one text": (
        BUFFER
        + b"("
        + LARGE_TEXT
        + BYTE_TYPE
        + b"J\x00\x00\x10\x00\x85"
        + short(b"C")
        + b"tq\x010("
        + b"h\x00h\x01R" * 2000
        + b"l.",
        "more copies",
    ),
    "order of axes that takes for ever": (
        BUFFER + b"(C\x00" + BYTE_TYPE + b"K\x00\x85" + short(b"K") + (b")" + b"2\x86" * 60) * 2 + b"\x86tR.",
        "no proper order of axes",
    ),
    "array of an impossible shape without elements": (
        BUFFER + b"(C\x00" + BYTE_TYPE + LARGE_SHAPE + short(b"C") + b"tR.",
        "a shape that no array can have",
    ),
    "extension": (b"\x80\x04\x82\x01.", "no place"),
    "persistent id": (b"\x80\x04\x88Q.", "no place"),
    "build on a name": (b"\x80\x04cnumpy\nndarray\n}b.", "state is set"),
    "call of a class": (b"\x80\x04cnumpy\nndarray\n)R.", "is called"),
    "call of text": (b"\x80\x04\x8c\x01a)R.", "cannot be"),
    "unfinished array": (b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n)R.", "unfinished"),
    "empty stack": (b"\x80\x04.", "damaged"),
    "unknown instruction": (b"\x80\x04\xff.", "no place"),
    "endless line": (b"\x80\x04c" + b"a" * 5000, "line does not end"),
    "appended to a dict": (b"\x80\x04}Na.", "no list"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_are_refused_quickly_and_in_little_memory(tmp_path: Path, name: str) -> None:
    data, message = HOSTILE[name]
    path = write(tmp_path, data)
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(MERError, match=message):
        load_pickle(path)
    peak, seconds = tracemalloc.get_traced_memory()[1], time.perf_counter() - start
    tracemalloc.stop()
    assert peak < 2**27
    assert seconds < 60


def test_a_flood_of_containers_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(MERError, match="more than 3,000 steps"):
        load_pickle(write(tmp_path, b"\x80\x04" + b"\x8f" * 1001 + b"."), Budget("corpus.pkl", steps=3000))
    path = write(tmp_path, b"\x80\x04" + b"\x8f" * 900 + b".")
    assert load_pickle(path, Budget("corpus.pkl", steps=3000)) == set()


@pytest.mark.parametrize("flood", [b"]", b"\x8f", b"K\x00", b"}K\x01Ns", b"cnumpy\ndtype\n", b"2\x86"])
def test_floods_end_soon(tmp_path: Path, flood: bytes) -> None:
    path = write(tmp_path, b"\x80\x04N(" + flood * 2_000_000 + b"l.")
    begin = time.process_time()
    with pytest.raises(MERError, match="more than 4,500,000 steps"):
        load_pickle(path)
    assert time.process_time() - begin < 10  # 2 s on an idle machine
    assert gc.isenabled()


@pytest.mark.parametrize("kind", ["numpy", "joblib"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_damaged_files_never_fail_in_another_way(tmp_path: Path, protocol: int, kind: str) -> None:
    rng = np.random.default_rng(protocol)
    marker = tmp_path / "ran"
    tree = {
        "train": {"audio": np.ones((2, 3)), "id": np.array(["a", "b"], dtype=object), "x": [1, 2.5, "s", {b"k": ()}]}
    }
    sound = corpora.dump(tree, tmp_path / "sound.pkl", protocol, joblib=kind == "joblib").read_bytes()
    sound += pickle.dumps(Call(os.system, f"touch {marker}"), protocol)[2:]
    refused = 0
    for trial in range(400):
        data = bytearray(sound)
        if trial % 4 == 0:
            del data[rng.integers(2, len(data)) :]
        for _ in range(rng.integers(1, 4)):
            data[rng.integers(0, len(data))] = rng.integers(256)
        path = write(tmp_path, bytes(data))
        try:
            load_pickle(path)
        except MERError:
            refused += 1
    assert refused > 200
    assert not marker.exists()


def test_a_cut_file_says_so(tmp_path: Path) -> None:
    data = corpora.dump(corpora.mmsa(), tmp_path / "whole.pkl").read_bytes()
    message = r"data\.pkl cannot be read at byte \d+: it is cut short, it has [\d,]+ bytes where at least.*download or"
    with pytest.raises(MERError, match=message):
        load_pickle(write(tmp_path, data[: int(len(data) * 0.6)]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zlib.compress(b"x" * 99), r"compressed \(zlib\).*compress=0"),
        (gzip.compress(b"x", mtime=0), r"compressed \(gzip\).*compress=0"),
        (b"PK\x03\x04", "zip"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"", "is empty, it has 0 bytes and is no pickle at all; download"),
        (b"\0" * 5000, "begins with zeros and is no pickle at all.*download it again"),
        (b"<!DOCTYPE html><html><head><title>Virus scan warning</title>", "web page and no pickle at all"),
        (b"\xef\xbb\xbf\r\n <html>", "web page and no pickle at all"),
        (b"id,text\n1,2\n", "not a pickle"),
        (pickle.dumps([1], 0), "protocol 0 or 1.*encoding='latin1'.*protocol=4"),
        (pickle.dumps({"train": [1]}, 0), "protocol 0 or 1.*encoding='latin1'.*protocol=4"),
        (pickle.dumps({"train": [1]}, 1), "protocol 0 or 1.*encoding='latin1'.*protocol=4"),
        (pickle.dumps(np.ones(3), 0), "protocol 0 or 1.*encoding='latin1'.*protocol=4"),
        (b"\x80\x06N.", "not a pickle of protocol 2 to 5"),
    ],
    ids=[
        *("zlib", "gzip", "zip", "hdf5", "lfs", "empty", "zeros", "page", "page with a mark", "csv"),
        *("list 0", "dict 0", "dict 1", "array 0", "protocol 6"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(MERError, match=message):
        load_pickle(write(tmp_path, data))


def test_a_folder_is_no_pickle(tmp_path: Path) -> None:
    with pytest.raises(MERError, match="not a file"):
        load_pickle(tmp_path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_ordered_dicts_and_dicts_with_defaults_are_dicts(tmp_path: Path, protocol: int) -> None:
    ordered: Any = OrderedDict({"b": OrderedDict(x=1), "a": OrderedDict(y=[2])})
    default: Any = defaultdict(dict)
    default["b"]["x"], default["a"]["y"] = 1, [2]
    for value in (ordered, default, {"train": defaultdict(list, a=[1]), "n": defaultdict(None, a=2)}):
        found = load_pickle(write(tmp_path, pickle.dumps(value, protocol)))
        assert found == value
        assert list(found) == list(value)
        assert type(found) is dict


def test_an_ordered_dict_of_python_2_is_one(tmp_path: Path) -> None:
    data = b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01e](U\x01bK\x02ee\x85R."
    assert load_pickle(write(tmp_path, data)) == {"a": 1, "b": 2}
    with pytest.raises(MERError, match="ordered dict is not made of pairs"):
        load_pickle(write(tmp_path, data.replace(b"K\x01e", b"e")))


def test_arrays_in_tuples_are_arrays(tmp_path: Path) -> None:
    clip = ((["so", "good"], np.ones((2, 3)), np.zeros((2, 4), object)), np.array([[0.5]]), "id")
    for protocol in (2, 4):
        ((words, vision, objects), label, name), again = load_pickle(
            write(tmp_path, pickle.dumps((clip, clip), protocol))
        )
        assert (words, name, vision.shape, label.load().item()) == (["so", "good"], "id", (2, 3), 0.5)
        assert objects.shape == (2, 4)
        assert again[0][1] is vision


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch._utils _rebuild_tensor_v2", r"'audio' is a torch tensor; save it with \.numpy\(\)"),
        ("pandas.core.frame DataFrame", r"'audio' is an object of pandas; save its columns with \.to_numpy\(\)"),
        ("__main__ Clip", "'audio' is an object of '__main__.Clip', .* save what the object holds as these"),
        ("datetime datetime", "'audio' is an object of 'datetime.datetime'"),
        ("torch load", "names 'torch.load', which would be run by loading it; .* source that you trust"),
        ("nt system", "source that you trust"),
        ("my_module run", "source that you trust"),
    ],
)
def test_a_name_is_refused_for_what_it_is(tmp_path: Path, name: str, message: str) -> None:
    module, own = name.split()
    data = b"\x80\x04}(\x8c\x05audio" + f"c{module}\n{own}\n".encode() + b"(K\x01tRu."
    with pytest.raises(MERError, match=message):
        load_pickle(write(tmp_path, data))
