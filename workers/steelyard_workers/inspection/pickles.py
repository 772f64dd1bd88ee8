"""A pickle's instructions followed without obeying them: what would be built, with every call left as a note.

    tree = follow(data)        dicts, lists, numbers and texts as they are; Called("torch._utils._rebuild_tensor_v2", …)

Nothing is imported and nothing is called. `pickletools.genops` reads the instructions; the machine here keeps the stack
that they speak of.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import Any

from steelyard_workers.inspection.contents import UnreadableError

_MOST_INSTRUCTIONS = 5_000_000


@dataclass(slots=True, eq=False)
class Named:
    """Something that would be imported."""

    name: str  # module.attribute


@dataclass(slots=True, eq=False)
class Called:
    """What a call would return, and what would be put into it afterwards."""

    name: str
    arguments: Any
    items: dict[Any, Any] = field(default_factory=dict)
    parts: list[Any] = field(default_factory=list)
    state: Any = None


@dataclass(slots=True, eq=False)
class Kept:
    """What the pickle keeps elsewhere: the storages of torch."""

    key: Any


class _Mark:
    pass


_MARK = _Mark()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": list, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_IGNORED = frozenset({"PROTO", "FRAME", "STOP", "READONLY_BUFFER"})


def follow(data: bytes) -> Any:
    """What the pickle at the beginning of `data` would build. Raises: UnreadableError."""
    return follow_one(data)[0]


def follow_one(data: bytes, start: int = 0) -> tuple[Any, int]:
    """The same for the pickle at `start`, and where it ends. Raises: UnreadableError."""
    machine = _Machine()
    end = start
    try:
        for count, (code, argument, position) in enumerate(pickletools.genops(memoryview_bytes(data, start))):
            if count > _MOST_INSTRUCTIONS:
                raise UnreadableError(
                    "pickle-too-long", f"The pickle has more than {_MOST_INSTRUCTIONS:,} instructions."
                )
            machine.do(code.name, argument)
            end = start + (position or 0) + 1
        return machine.stack[-1], end
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise UnreadableError(
            "pickle-broken", "The file holds a pickle that no reader can follow to its end; save the weights again."
        ) from error


def memoryview_bytes(data: bytes, start: int) -> bytes:
    return data[start:] if start else data


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:  # noqa: C901, PLR0912 - one branch for each kind of instruction
        stack = self.stack
        if name in _IGNORED:
            return
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _GETS:
            stack.append(self._memo[argument])
        elif name in _PUTS:
            self._memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = stack[-1]
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self._to_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name in _TUPLES:
            parts = tuple(stack[-_TUPLES[name] :])
            del stack[-_TUPLES[name] :]
            stack.append(parts)
        elif (build := getattr(self, f"_do_{name.lower()}", None)) is not None:
            build(argument)
        else:  # a number, a text, bytes
            stack.append(argument)

    def _to_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                parts = self.stack[index + 1 :]
                del self.stack[index:]
                return parts
        raise ValueError("no mark")

    def _do_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self._to_mark()))

    def _do_list(self, _: Any) -> None:
        self.stack.append(self._to_mark())

    _do_frozenset = _do_list

    def _do_dict(self, _: Any) -> None:
        self.stack.append({})
        self._put(self._to_mark_below())

    def _to_mark_below(self) -> list[Any]:
        made = self.stack.pop()
        parts = self._to_mark()
        self.stack.append(made)
        return parts

    def _do_append(self, _: Any) -> None:
        self._extend([self.stack.pop()])

    def _do_appends(self, _: Any) -> None:
        self._extend(self._to_mark())

    _do_additems = _do_appends

    def _do_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def _do_setitems(self, _: Any) -> None:
        self._put(self._to_mark())

    def _extend(self, parts: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target += parts
        elif isinstance(target, Called):
            target.parts += parts

    def _put(self, parts: list[Any]) -> None:
        target = self.stack[-1]
        items = target.items if isinstance(target, Called) else target
        if isinstance(items, dict):
            # A key that is itself a structure names no tensor.
            keys = (key if isinstance(key, str | int | float | bytes | None) else str(id(key)) for key in parts[::2])
            items.update(zip(keys, parts[1::2], strict=True))

    def _do_global(self, argument: str) -> None:
        module, _, attribute = argument.partition(" ")
        self.stack.append(Named(f"{module}.{attribute}"))

    def _do_stack_global(self, _: Any) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Named(f"{module}.{attribute}"))

    def _do_inst(self, argument: str) -> None:
        parts = self._to_mark()
        self.stack.append(Called(argument.replace(" ", "."), tuple(parts)))

    def _do_obj(self, _: Any) -> None:
        made, *parts = self._to_mark()
        self.stack.append(Called(_name_of(made), tuple(parts)))

    def _do_reduce(self, _: Any) -> None:
        arguments, made = self.stack.pop(), self.stack.pop()
        self.stack.append(Called(_name_of(made), arguments))

    _do_newobj = _do_reduce

    def _do_newobj_ex(self, _: Any) -> None:
        self.stack.pop()
        self._do_reduce(None)

    def _do_build(self, _: Any) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Called):
            target.state = state

    def _do_persid(self, argument: Any) -> None:
        self.stack.append(Kept(argument))

    def _do_binpersid(self, _: Any) -> None:
        self.stack.append(Kept(self.stack.pop()))


def _name_of(made: Any) -> str:
    return made.name if isinstance(made, Named | Called) else ""
