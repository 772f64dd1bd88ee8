"""What is said of pickles: an import that weights do not need is a danger, and so is a pickle that breaks off.

picklescan judges, in its strict mode: a few names are known to be harmless, and everything else counts. It is given
what `opcodes` has read; and an import that `opcodes` sees and picklescan does not name counts as well.
"""

from __future__ import annotations

import io
import logging
import re
from typing import Final

from picklescan.scanner import SafetyLevel, scan_pickle_bytes

from steelyard_workers.scanning.opcodes import Budget, Program, Readable, read_program
from steelyard_workers.scanning.report import Report, shown

# It warns of each import on stderr; what it finds is reported instead.
logging.getLogger("picklescan").setLevel(logging.CRITICAL + 1)

_NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
# What torch.save wrote before zip: this number, the protocol, the system, the object, and the keys of its storages,
# each a pickle of its own; then the storages' bytes.
_TORCH_MAGIC: Final = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_TORCH_PICKLES = 5
_OPCODES_OF_A_NUMBER = 3  # PROTO, the number, STOP
_SHOWN = 5


def scan_pickles(stream: Readable, where: str, report: Report, budget: Budget, *, is_meant: bool) -> None:
    """One pickle after the other, to the end of the stream.

    Args:
        stream: read forward only.
        where: what people call it.
        report: takes the findings.
        budget: of instructions.
        is_meant: whether whoever loads the file unpickles this. Where it only may be one, among an archive's many files
            of numbers, one that breaks off before it imports anything is none.

    Raises:
        TooMuchError: it is too long to be checked.
    """
    is_pickle, expected, number = False, 0, 0
    while not expected or number < expected:
        program = read_program(stream, budget)
        if not program.opcodes and not stream.read(1) and number:
            return
        if number == 0:
            is_pickle = is_meant and program.is_announced
            expected = _TORCH_PICKLES if _begins_torch(program) else 0
        if is_meant or not _are_numbers(program):
            _judge(program, where, report, is_pickle=is_pickle)
        if not program.is_whole:
            return
        number += 1


def _begins_torch(program: Program) -> bool:
    return program.is_announced and program.opcodes == _OPCODES_OF_A_NUMBER and _TORCH_MAGIC in program.skeleton


def _are_numbers(program: Program) -> bool:
    """Of a file that only may be a pickle: a few bytes of a tensor that read as instructions, and import nothing."""
    return not program.is_announced and not program.imports


def _judge(program: Program, where: str, report: Report, *, is_pickle: bool) -> None:
    if not (program.is_whole or is_pickle or _does_something(program)):
        return  # numbers, or a text that begins like an import: "cat\ndog\nbird\n"
    if program.uses_extensions:
        report.danger(
            "pickle-import", f"The pickle in {shown(where)} imports by number (EXT), which only its maker can read."
        )
    if refused := _refused(program):
        names = ", ".join(shown(name) for name in refused[:_SHOWN])
        more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        report.danger(
            "pickle-import",
            f"The pickle in {shown(where)} imports {names}{more}: loading it may run any code. "
            "Weights need no such import.",
            refused,
        )
    if not program.is_whole and (is_pickle or program.imports):
        report.danger("broken-pickle", f"The pickle in {shown(where)} cannot be read to its end: {program.fault}.")


def _does_something(program: Program) -> bool:
    """Whether an unpickler would import and call something before it stops at the fault."""
    return (program.calls or program.is_announced) and any(map(_could_be, program.imports))


def _could_be(imported: tuple[str, str]) -> bool:
    return all(_NAME.fullmatch(part) for part in imported)


def _refused(program: Program) -> list[str]:
    """The imports that are not known to be harmless, in order."""
    try:
        result = scan_pickle_bytes(io.BytesIO(bytes(program.skeleton)), "a pickle", multiple_pickles=False, strict=True)
    except ValueError:
        return ["something whose name cannot be told"]
    harmless = {(one.module, one.name) for one in result.globals if one.safety is SafetyLevel.Innocuous}
    named = {(one.module, one.name) for one in result.globals}
    return sorted(f"{module}.{name}" for module, name in (named | program.imports) - harmless)
