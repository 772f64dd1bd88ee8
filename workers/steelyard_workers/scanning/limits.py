"""How far the scanner goes into a file before it says that the file cannot be checked."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one file, with all that is inside it."""

    depth: int = 4  # archives in archives
    entries: int = 250_000
    unpacked_bytes: int = 2048 * MIB  # written to disk to look into it
    harmless_bytes: int = 256 * MIB  # below this no ratio makes a bomb
    ratio: int = 100  # unpacked to packed
    opcodes: int = 3_000_000  # of all its pickles
    skeleton_bytes: int = 256 * MIB  # of a pickle without its long texts
    findings: int = 50
    # Of the process.
    memory_bytes: int = 3072 * MIB
    cpu_seconds: int = 300
    wall_seconds: int = 600


DEFAULT = Limits()
