"""Arrays of numpy: those of Python objects are pickles behind a header."""

from __future__ import annotations

from typing import IO

from steelyard_workers.scanning.opcodes import Budget
from steelyard_workers.scanning.pickles import scan_pickles
from steelyard_workers.scanning.report import Report, shown


def scan_numpy(stream: IO[bytes], where: str, report: Report, budget: Budget) -> None:
    """Reads the header, and the pickle behind it where the array's type holds objects."""
    from numpy.lib import format as numpy_format  # imported where it is needed: most files are no arrays

    try:
        version = numpy_format.read_magic(stream)
        read = numpy_format.read_array_header_1_0 if version == (1, 0) else numpy_format.read_array_header_2_0
        _, _, dtype = read(stream)
    except Exception:  # noqa: BLE001 - a header is anybody's text; whatever numpy makes of it, it is not readable
        report.danger("broken-array", f"The header of the array in {shown(where)} does not parse.")
        return
    if dtype.hasobject:
        scan_pickles(stream, where, report, budget, is_meant=True)
