"""A stack machine for the data part of the pickle instructions; it can build, but not call, import or run."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sized
from typing import Any

from mer_zoo.data.corpus.arrays import ObjectArray
from mer_zoo.data.files.foreign_names import refusal
from mer_zoo.data.files.numpy_pickles import ADMITTED, FileSlice, MalformedPickleError, Pending, build, check_keys, make
from mer_zoo.data.files.pickle_source import Source
from mer_zoo.errors import MERError

__all__ = ["PickleMachine"]

Handler = Callable[["PickleMachine"], object]

_COPIED: dict[str, tuple[type[Sized], ...]] = {
    "scalar": (str, bytes),
    "set": (str, bytes, list, tuple),
    "frozenset": (str, bytes, list, tuple),
    "dict": (list,),
}
MAX_ARGUMENTS = 16
_ITEM_COST = {"set": 64, "frozenset": 64, "dict": 128}  # bytes an item, where it is not one


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
        instruction, handlers = self.source.instruction, _HANDLERS.get
        while (code := instruction()) != pickle.STOP:
            handler = handlers(code)
            if handler is None:
                raise MalformedPickleError(f"instruction {code!r} has no place in a file of plain data")
            handler(self)
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
        self._push_tuple(items)

    def _push_tuple(self, items: tuple[Any, ...]) -> None:
        # Finished arrays at once: a tuple cannot be changed later, and nothing is made of an array.
        if any(type(item) is Pending and item.is_finished_array for item in items):
            items = tuple(item.value if type(item) is Pending and item.is_finished_array else item for item in items)
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
            field = self.stack[-1] if self.stack and isinstance(self.stack[-1], str) else ""
            raise MERError(refusal(str(self.source.path), full, field))
        self.stack.append(Pending(ADMITTED[full]))

    def _stack_name(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(module, name)

    def _reduce(self) -> None:
        arguments, target = self.stack.pop(), self.stack.pop()
        if not isinstance(target, Pending) or not isinstance(arguments, tuple) or len(arguments) > MAX_ARGUMENTS:
            raise MalformedPickleError("something is called that cannot be")
        self._spend(target.kind, arguments)
        self.stack.append(make(target.kind, arguments))

    def _spend(self, kind: str, values: tuple[Any, ...]) -> None:
        """Account for what making or building such a thing of these values copies."""
        copied: tuple[type[Sized], ...] = _COPIED.get(kind, (str,))
        size = max((len(value) for value in values if isinstance(value, copied)), default=0)
        self.source.spend(_ITEM_COST.get(kind, 1) * size)

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Pending) or not isinstance(state, (tuple, dict)) or len(state) > MAX_ARGUMENTS:
            raise MalformedPickleError("a state is set on something that has none")
        if target.kind != "joblib array":
            if target.kind == "array":
                self._spend(target.kind, tuple(state))
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
        container = container.items if isinstance(container, ObjectArray) else container
        if not isinstance(container, (list, dict, tuple)) or id(container) in seen:
            continue
        seen.add(id(container))
        last = None
        for key, item in container.items() if isinstance(container, dict) else enumerate(container):
            if isinstance(item, Pending) and not isinstance(container, tuple):
                container[key] = item = item.result()
            if isinstance(item, (list, dict, tuple, ObjectArray)) and item is not last:  # the same one a million times
                todo.append(item)
                last = item
    return root


def _constant(value: Any) -> Handler:
    return lambda machine: machine.stack.append(value)


def _empty(kind: Callable[[], Any]) -> Handler:
    return lambda machine: machine.stack.append(kind())


def _number(form: str) -> Handler:
    return lambda machine: machine.stack.append(machine.source.number(form))


def _text(form: str) -> Handler:
    def push(machine: PickleMachine) -> None:
        machine.stack.append(machine.source.text(machine.source.number(form)))

    return push


def _bytes(form: str) -> Handler:
    return lambda machine: machine.stack.append(machine.source.data(machine.source.number(form)))


def _python2_text(machine: PickleMachine, form: str) -> None:
    data = machine.source.data(machine.source.number(form))
    machine.stack.append(data if isinstance(data, FileSlice) else data.decode("latin-1"))


def _long(machine: PickleMachine) -> None:
    machine.stack.append(int.from_bytes(machine.source.read(machine.source.number("<B")), "little", signed=True))


_HANDLERS: dict[bytes, Handler] = {
    pickle.NONE: _constant(None),
    pickle.NEWTRUE: _constant(True),
    pickle.NEWFALSE: _constant(False),
    pickle.EMPTY_TUPLE: _constant(()),
    pickle.EMPTY_LIST: _empty(list),
    pickle.EMPTY_DICT: _empty(dict),
    pickle.EMPTY_SET: _empty(set),
    pickle.BININT: _number("<i"),
    pickle.BININT1: _number("<B"),
    pickle.BININT2: _number("<H"),
    pickle.BINFLOAT: _number(">d"),
    pickle.SHORT_BINUNICODE: _text("<B"),
    pickle.BINUNICODE: _text("<I"),
    pickle.BINUNICODE8: _text("<Q"),
    pickle.SHORT_BINBYTES: _bytes("<B"),
    pickle.BINBYTES: _bytes("<I"),
    pickle.BINBYTES8: _bytes("<Q"),
    pickle.BYTEARRAY8: _bytes("<Q"),
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
    pickle.TUPLE: lambda m: m._push_tuple(tuple(m._pop_mark())),
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
