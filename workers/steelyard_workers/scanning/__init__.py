"""Whether a file does more than hold weights: pickles that run code, archives that are traps, headers that lie.

    findings = scan_file(Path("model.pt"))     # nothing found: an empty list

What a file is, its content tells, never its name. Nothing is unpickled: instructions are read, and imports judged by
picklescan in its strict mode, where every import counts that weights do not need. Whatever cannot be read to its end
counts as a danger too. The work is done in a process of its own, with limits on memory, time and what it may write.

    scanner      the process and its limits
    walk         a file and what is inside it, archives in archives
    content      what a file is, by its first bytes
    opcodes      a pickle's instructions, read without following them
    pickles      what is said of them
    archives     zip and tar; compressed: gzip, bzip2, xz, zlib, lz4
    arrays       numpy; keras: layers that are code; headers: safetensors
"""

from __future__ import annotations

from steelyard_workers.scanning.scanner import scan_file

__all__ = ["scan_file"]
