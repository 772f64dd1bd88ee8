"""Reading a pickle's instructions without following them.

    program = read_program(stream, budget)
    program.imports, program.skeleton

Each instruction is taken apart as `pickletools` says, and the stack is followed as far as it decides what is imported:
which texts stand where STACK_GLOBAL looks for them, and whether the machine would still be running. The skeleton is
the same program with an empty text in place of every long one, for picklescan, which keeps all that it reads.
"""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, Protocol

from steelyard_workers.scanning.limits import MIB, Limits
from steelyard_workers.scanning.report import TooMuchError

_OPCODES = {one.code.encode("latin-1"): one for one in pickletools.opcodes}
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
    pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
    pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}
_PROTO, _LAST_PROTOCOL = 0x80, 5
_LONGEST_KEPT = 4096
_LONGEST_LINE = MIB
_BLOCK = MIB
_LARGEST_KEY = 100_000_000  # unpicklers keep a list as long as the largest key

_TEXTS = frozenset(
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 STRING BINSTRING SHORT_BINSTRING".split()  # noqa: SIM905 - a list of words
)
_PUT = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GET = frozenset({"GET", "BINGET", "LONG_BINGET"})
_NAMES_TWO_LINES = frozenset({"GLOBAL", "INST"})
_EXTENSIONS = frozenset({"EXT1", "EXT2", "EXT4"})
# What these leave on the stack is whatever some code made of it; it could be a text.
_CALLS = frozenset({"REDUCE", "OBJ", "INST", "NEWOBJ", "NEWOBJ_EX", *_EXTENSIONS})
_MADE_ELSEWHERE = frozenset({*_CALLS, "GLOBAL", "PERSID", "BINPERSID"})


class Value(Enum):
    """What is known of a value that is no text."""

    MARK = "mark"
    PLAIN = "plain"  # certainly no text
    UNKNOWN = "unknown"


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def readline(self, size: int = -1, /) -> bytes: ...


class BrokenPickleError(Exception):
    """The instructions cannot be read on, or the machine would stop here."""


@dataclass(slots=True)
class Budget:
    """Instructions left, for all pickles of one file together."""

    limits: Limits
    opcodes: int = 0

    def spend(self, skeleton: int) -> None:
        """Raises: TooMuchError."""
        self.opcodes += 1
        if self.opcodes > self.limits.opcodes or skeleton > self.limits.skeleton_bytes:
            raise TooMuchError(f"Its pickles have more than {self.limits.opcodes} instructions and cannot be checked.")


@dataclass(slots=True)
class Program:
    """One pickle, from its first instruction to STOP or to where it breaks."""

    skeleton: bytearray = field(default_factory=bytearray)
    imports: set[tuple[str, str]] = field(default_factory=set)
    opcodes: int = 0
    uses_extensions: bool = False
    calls: bool = False  # something that was imported is called, or made an object of
    fault: str = ""

    @property
    def is_whole(self) -> bool:
        return not self.fault

    @property
    def is_announced(self) -> bool:
        """Whether it begins as every pickle does since protocol 2."""
        return len(self.skeleton) > 1 and self.skeleton[0] == _PROTO and self.skeleton[1] <= _LAST_PROTOCOL


def read_program(stream: Readable, budget: Budget) -> Program:
    """Reads to STOP; a fault is noted in the program. Raises: TooMuchError."""
    program, machine = Program(), _Machine()
    try:
        while True:
            opcode = _opcode(stream)
            budget.spend(len(program.skeleton))
            kept = _argument(stream, opcode)
            argument = _value(opcode, kept)
            program.opcodes += 1
            program.skeleton += opcode.code.encode("latin-1") + kept
            program.uses_extensions |= opcode.name in _EXTENSIONS
            if (imported := machine.step(opcode, argument)) is not None:
                program.imports.add(imported)
            program.calls |= bool(program.imports) and opcode.name in _CALLS
            if opcode.name == "STOP":
                return program
    except BrokenPickleError as fault:
        program.fault = str(fault)
    return program


def _opcode(stream: Readable) -> pickletools.OpcodeInfo:
    opcode = _OPCODES.get(stream.read(1))
    if opcode is None:
        raise BrokenPickleError("it ends early, or goes on with something that is no instruction")
    return opcode


def _argument(stream: Readable, opcode: pickletools.OpcodeInfo) -> bytes:
    """The argument as it stands in the pickle; a long text as an empty one. Raises: BrokenPickleError."""
    if opcode.arg is None:
        return b""
    size = opcode.arg.n
    if size >= 0:
        return _exactly(stream, size)
    if size == pickletools.UP_TO_NEWLINE:
        lines = 2 if opcode.name in _NAMES_TWO_LINES else 1
        return b"".join(_line(stream) for _ in range(lines))
    width, signed = _LENGTHS[size]
    prefix = _exactly(stream, width)
    length = int.from_bytes(prefix, "little", signed=signed)
    if length < 0:
        raise BrokenPickleError(f"{opcode.name} has a negative length")
    if length <= _LONGEST_KEPT:
        return prefix + _exactly(stream, length)
    _skip(stream, length)
    return bytes(width)


def _exactly(stream: Readable, size: int) -> bytes:
    data = stream.read(size) if size else b""
    if len(data) != size:
        raise BrokenPickleError("it ends early")
    return data


def _line(stream: Readable) -> bytes:
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise BrokenPickleError("a line of it has no end")
    return line


def _skip(stream: Readable, size: int) -> None:
    left = size
    while left:
        data = stream.read(min(left, _BLOCK))
        if not data:
            raise BrokenPickleError("it ends early")
        left -= len(data)


def _value(opcode: pickletools.OpcodeInfo, kept: bytes) -> object:
    """The argument as `pickletools` reads it. Raises: BrokenPickleError."""
    if opcode.arg is None:
        return None
    source: BinaryIO = io.BytesIO(kept)
    try:
        return opcode.arg.reader(source)
    except (ValueError, IndexError, OverflowError) as error:
        raise BrokenPickleError(f"{opcode.name} has an argument that does not parse") from error


@dataclass(slots=True)
class _Machine:
    """The unpickler's stack and memo, as far as texts in them are concerned."""

    stack: list[str | Value] = field(default_factory=list)
    memo: dict[int, str | Value] = field(default_factory=dict)

    def step(self, opcode: pickletools.OpcodeInfo, argument: object) -> tuple[str, str] | None:
        """What the instruction imports, if anything. Raises: BrokenPickleError where the machine would stop."""
        name = opcode.name
        if name in _TEXTS:
            self.stack.append(argument if isinstance(argument, str) else Value.UNKNOWN)
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self._top()
        elif name in _PUT:
            self._put_aside(int(str(argument)))
        elif name in _GET:
            self.stack.append(self._remembered(int(str(argument))))
        elif name == "DUP":
            self.stack.append(self._top())
        elif name == "POP":
            self._pop(any_mark=True)
        elif name == "BUILD":
            self._pop()
            self._top()
        elif name == "STACK_GLOBAL":
            second, first = self._pop(), self._pop()
            self.stack.append(Value.UNKNOWN)
            return self._named(first), self._named(second)
        else:
            self._generic(opcode)
            if name in _NAMES_TWO_LINES:
                module, _, attribute = str(argument).partition(" ")
                return module, attribute
        return None

    def _generic(self, opcode: pickletools.OpcodeInfo) -> None:
        """By the table of `pickletools`: what it takes from the stack, and what it leaves there."""
        before = opcode.stack_before
        if pickletools.markobject in before:
            while self._pop(any_mark=True) is not Value.MARK:
                pass
            before = before[: before.index(pickletools.markobject)]
        for _ in before:
            self._pop()
        made = Value.UNKNOWN if opcode.name in _MADE_ELSEWHERE else Value.PLAIN
        for one in opcode.stack_after:
            self.stack.append(Value.MARK if one is pickletools.markobject else made)

    def _named(self, value: str | Value) -> str:
        if value is Value.PLAIN:
            raise BrokenPickleError("it imports something whose name is no text")
        return value if isinstance(value, str) else "unknown"

    def _put_aside(self, key: int) -> None:
        if key > _LARGEST_KEY:
            raise BrokenPickleError("it puts something aside so far away that an unpickler runs out of memory")
        self.memo[key] = self._top()

    def _remembered(self, key: int) -> str | Value:
        if key not in self.memo:
            raise BrokenPickleError("it takes back something that it never put aside")
        return self.memo[key]

    def _top(self) -> str | Value:
        if not self.stack or self.stack[-1] is Value.MARK:
            raise BrokenPickleError("it takes something from an empty stack")
        return self.stack[-1]

    def _pop(self, *, any_mark: bool = False) -> str | Value:
        if not self.stack or (self.stack[-1] is Value.MARK and not any_mark):
            raise BrokenPickleError("it takes something from an empty stack")
        return self.stack.pop()
