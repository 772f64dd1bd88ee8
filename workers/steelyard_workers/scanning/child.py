"""The process that looks into one file: `python -m steelyard_workers.scanning.child FILE SCRATCH`.

Its limits are set before anything of the file is read; its last line on standard output is the findings as JSON.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from pydantic import TypeAdapter

from steelyard_contracts.weights import Finding
from steelyard_workers.scanning.limits import DEFAULT, MIB, Limits


def main() -> None:
    path, scratch = map(Path, sys.argv[1:])
    _limit(DEFAULT)
    from steelyard_workers.scanning.walk import Walk

    findings = Walk(scratch).file(path)
    sys.stdout.write(TypeAdapter(list[Finding]).dump_json(findings).decode())


def _limit(limits: Limits) -> None:
    for what, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, limits.unpacked_bytes + MIB),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))


if __name__ == "__main__":
    main()
