"""A stack machine for the data part of the pickle instructions; it can build, but not call, import or run."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from mer_zoo.data.numpy_pickles import ADMITTED, FileSlice, MalformedPickleError, Pending, build, check_keys, make
from mer_zoo.errors import MERError

__all__ = ["PickleMachine", "Source"]

SLICE_FROM = 64 * 2**10
# One byte can make a set of 216 bytes, so this bounds memory at 1 GB; 100 000 clips as lists need about 2 million.
MAX_READS = 4_000_000
_COPY_COST = {"encode": 1, "bytes": 1, "set": 64, "frozenset": 64}


class Source:
    """The bytes of a file, counted; to ask for more of them than there are is an error.

    Args:
        path: The file.
        file: The same file, open at its start.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.file = path, file
        self.size = os.fstat(file.fileno()).st_size
        self.position = 0
        self.reads = 0
        self.spent = 0

    def peek(self) -> bytes:
        """Return the first bytes without consuming them."""
        head = self.file.read(32)
        self.file.seek(0)
        return head

    def read(self, count: int) -> bytes:
        """Read exactly so many bytes."""
        self.reads += 1
        if self.reads > MAX_READS:
            raise MalformedPickleError("it holds too many objects; save features and labels as arrays")
        self._require(count)
        return self.file.read(count)

    def number(self, form: str) -> Any:
        """Read one number, ``form`` as in the module struct."""
        return struct.unpack(form, self.read(struct.calcsize(form)))[0]

    def line(self) -> str:
        """Read up to the end of a line."""
        text = self.file.readline(1024)
        self._require(len(text))
        if not text.endswith(b"\n"):
            raise MalformedPickleError("a line does not end")
        return text[:-1].decode("utf-8")

    def data(self, count: int) -> bytes | FileSlice:
        """Read bytes, or skip them and remember where they are if they are many."""
        return self.read(count) if count < SLICE_FROM else self.skip(count)

    def skip(self, count: int) -> FileSlice:
        """Skip bytes and remember where they are."""
        start = self.position
        self._require(count)
        self.file.seek(self.position)
        return FileSlice(self.path, start, count)

    def spend(self, count: int) -> None:
        """Account for bytes of memory that a copy takes: the same text can be copied again and again."""
        self.spent += count
        if self.spent > max(self.size, 2**20):
            raise MalformedPickleError("it makes more copies than it has data")

    def _require(self, count: int) -> None:
        if not 0 <= count <= self.size - self.position:
            raise MalformedPickleError(
                f"it is cut short, {count} more bytes should follow where {self.size - self.position} do"
            )
        self.position += count


class PickleMachine:
    """The stack machine.

    Args:
        source: Where the instructions are read.
        nested: Whether this is the pickle of an object array inside a joblib file, which may hold no further one.
    """

    def __init__(self, source: Source, nested: bool = False) -> None:
        self.source, self.nested = source, nested
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Follow the instructions to their end and return what they built.

        Raises:
            MERError: If a name is not admitted.
            MalformedPickleError: If no writer of plain data would have written this; other errors mean the same.
        """
        return _settle(self._run())

    def _run(self) -> Any:
        while (code := self.source.read(1)) != pickle.STOP:
            if code in _CONSTANTS:
                self.stack.append(_CONSTANTS[code])
            elif code in _EMPTY:
                self.stack.append(_EMPTY[code]())
            elif code in _NUMBERS:
                self.stack.append(self.source.number(_NUMBERS[code]))
            elif code in _TEXTS:
                self.stack.append(self.source.read(self.source.number(_TEXTS[code])).decode("utf-8", "surrogatepass"))
            elif code in _BYTES:
                self.stack.append(self.source.data(self.source.number(_BYTES[code])))
            elif code in _HANDLERS:
                _HANDLERS[code](self)
            else:
                raise MalformedPickleError(f"instruction {code!r} has no place in a file of plain data")
        return self.stack.pop()

    def _pop_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def _tuple_of(self, count: int) -> None:
        items = tuple(self.stack[len(self.stack) - count :])
        if len(items) != count:
            raise MalformedPickleError("a tuple lacks items")
        del self.stack[len(self.stack) - count :]
        self.stack.append(items)

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise MalformedPickleError("items are appended to something that is no list")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise MalformedPickleError("items are set on something that is no dict")
        target.update(zip(check_keys(items[::2], len(target)), items[1::2], strict=True))

    def _add_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, set):
            raise MalformedPickleError("items are added to something that is no set")
        target.update(check_keys(items, len(target)))

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise MalformedPickleError("a name is no text")
        full = f"{module}.{name}"
        if full not in ADMITTED:
            raise MERError(
                f"{self.source.path} is refused: it names {full[:200]!r}, but a data file may hold only numpy arrays "
                "and built-in containers; nothing in it was run, so get the file from a source that you trust"
            )
        self.stack.append(Pending(ADMITTED[full]))

    def _stack_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(module, name)

    def _reduce(self) -> None:
        arguments, target = self.stack.pop(), self.stack.pop()
        if not isinstance(target, Pending) or not isinstance(arguments, tuple):
            raise MalformedPickleError("something is called that cannot be")
        if target.kind in _COPY_COST and arguments:
            self.source.spend(len(arguments[0]) * _COPY_COST[target.kind])
        self.stack.append(make(target.kind, arguments))

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Pending):
            raise MalformedPickleError("a state is set on something that has none")
        if target.kind != "joblib array":
            build(target, state)
        elif self.nested:
            raise MalformedPickleError("a joblib array lies inside another")
        else:
            target.value = self._joblib_array(state)

    def _joblib_array(self, state: Any) -> Any:
        """Read the array that follows a joblib wrapper: its padding and then its bytes, outside the pickle proper."""
        if isinstance(state["dtype"], Pending) and state["dtype"].is_object:
            return PickleMachine(self.source, nested=True).load()
        if state.get("numpy_array_alignment_bytes") is not None:
            self.source.read(self.source.number("<B"))
        dtype, shape = state["dtype"], state["shape"]
        data = self.source.skip(dtype.nbytes(shape))
        array = Pending("array")
        build(array, (1, shape, dtype, state["order"] == "F", data))
        return array.value

    def _put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def _mark(self) -> None:
        self.marks.append(len(self.stack))

    def _protocol(self) -> None:
        if not 2 <= self.source.number("<B") <= 5:
            raise MalformedPickleError("its protocol is unknown")


def _settle(root: Any) -> Any:
    """Replace every finished description by what it describes, in place, each container once."""
    root = root.result() if isinstance(root, Pending) else root
    todo, seen = [root], set()
    while todo:
        container = todo.pop()
        if id(container) in seen or not isinstance(container, (list, dict)):
            continue
        seen.add(id(container))
        for key, item in list(container.items() if isinstance(container, dict) else enumerate(container)):
            if isinstance(item, Pending):
                container[key] = item.result()
            elif isinstance(item, (list, dict)):
                todo.append(item)
    return root


_CONSTANTS = {pickle.NONE: None, pickle.NEWTRUE: True, pickle.NEWFALSE: False}
_EMPTY: dict[bytes, Callable[[], Any]] = {
    pickle.EMPTY_LIST: list,
    pickle.EMPTY_TUPLE: tuple,
    pickle.EMPTY_DICT: dict,
    pickle.EMPTY_SET: set,
}
_NUMBERS = {pickle.BININT: "<i", pickle.BININT1: "<B", pickle.BININT2: "<H", pickle.BINFLOAT: ">d"}
_TEXTS = {pickle.SHORT_BINUNICODE: "<B", pickle.BINUNICODE: "<I", pickle.BINUNICODE8: "<Q"}
_BYTES = {
    pickle.SHORT_BINBYTES: "<B",
    pickle.BINBYTES: "<I",
    pickle.BINBYTES8: "<Q",
    pickle.BYTEARRAY8: "<Q",
}


def _python2_text(machine: PickleMachine, form: str) -> None:
    data = machine.source.data(machine.source.number(form))
    machine.stack.append(data if isinstance(data, FileSlice) else data.decode("latin-1"))


def _long(machine: PickleMachine) -> None:
    machine.stack.append(int.from_bytes(machine.source.read(machine.source.number("<B")), "little", signed=True))


_HANDLERS: dict[bytes, Callable[[PickleMachine], object]] = {
    pickle.PROTO: PickleMachine._protocol,
    pickle.FRAME: lambda m: m.source.read(8),  # a hint for faster reading, which needs no answer
    pickle.MARK: PickleMachine._mark,
    pickle.POP: lambda m: m.stack.pop(),
    pickle.POP_MARK: PickleMachine._pop_mark,
    pickle.DUP: lambda m: m.stack.append(m.stack[-1]),
    pickle.INT: lambda m: m.stack.append(int(m.source.line())),
    pickle.LONG1: _long,
    pickle.SHORT_BINSTRING: lambda m: _python2_text(m, "<B"),
    pickle.BINSTRING: lambda m: _python2_text(m, "<i"),
    pickle.LIST: lambda m: m.stack.append(m._pop_mark()),
    pickle.APPEND: lambda m: m._extend([m.stack.pop()]),
    pickle.APPENDS: lambda m: m._extend(m._pop_mark()),
    pickle.TUPLE: lambda m: m.stack.append(tuple(m._pop_mark())),
    pickle.TUPLE1: lambda m: m._tuple_of(1),
    pickle.TUPLE2: lambda m: m._tuple_of(2),
    pickle.TUPLE3: lambda m: m._tuple_of(3),
    pickle.SETITEM: lambda m: m._set_items([m.stack.pop(-2), m.stack.pop()]),
    pickle.SETITEMS: lambda m: m._set_items(m._pop_mark()),
    pickle.ADDITEMS: lambda m: m._add_items(m._pop_mark()),
    pickle.FROZENSET: lambda m: m.stack.append(frozenset(check_keys(m._pop_mark()))),
    pickle.GLOBAL: lambda m: m._name(m.source.line(), m.source.line()),
    pickle.STACK_GLOBAL: PickleMachine._stack_name,
    pickle.REDUCE: PickleMachine._reduce,
    pickle.NEWOBJ: PickleMachine._reduce,
    pickle.BUILD: PickleMachine._build,
    pickle.PUT: lambda m: m._put(int(m.source.line())),
    pickle.BINPUT: lambda m: m._put(m.source.number("<B")),
    pickle.LONG_BINPUT: lambda m: m._put(m.source.number("<I")),
    pickle.MEMOIZE: lambda m: m._put(len(m.memo)),
    pickle.GET: lambda m: m.stack.append(m.memo[int(m.source.line())]),
    pickle.BINGET: lambda m: m.stack.append(m.memo[m.source.number("<B")]),
    pickle.LONG_BINGET: lambda m: m.stack.append(m.memo[m.source.number("<I")]),
}
