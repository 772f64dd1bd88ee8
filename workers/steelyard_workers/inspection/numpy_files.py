"""numpy: one array (`.npy`), or several in a zip (`.npz`). An array of objects is a pickle, and left alone."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from steelyard_workers.inspection.contents import Contents, Source, Tensor, UnreadableError, warning
from steelyard_workers.inspection.zips import stored_at

MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000
_LETTERS = {"f": "F", "i": "I", "u": "U", "c": "C"}


def read_array(source: Source) -> Contents:
    """Raises: UnreadableError."""
    found = Contents("numpy", framework="numpy")
    _add(found, source, "array", 0, source.size)
    return found


def read_arrays(source: Source, archive: zipfile.ZipFile) -> Contents:
    """Raises: UnreadableError."""
    found = Contents("numpy", framework="numpy")
    compressed = 0
    for info in archive.infolist():
        name, _, suffix = info.filename.rpartition(".")
        if suffix != "npy":
            continue
        place = stored_at(source, info)
        if place is None:
            compressed += 1
        else:
            _add(found, source, name, *place)
    if compressed:
        sentence = f"{compressed:,} arrays are compressed, and not looked into."
        found.findings.append(warning("values-missing", sentence))
    return found


def _add(found: Contents, source: Source, name: str, start: int, size: int) -> None:
    head = io.BytesIO(source.read(start, start + min(size, _LONGEST_HEADER + 12)))
    try:
        version = np.lib.format.read_magic(head)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, in_columns, dtype = read(head, max_header_size=_LONGEST_HEADER)
    except (ValueError, TypeError, SyntaxError, EOFError, RecursionError, MemoryError) as error:
        raise UnreadableError(
            "header-broken", f"The header of the array {name!r} cannot be read; save it again."
        ) from error
    word = _word(dtype)
    parameters = int(np.prod([1, *shape], dtype=object))
    length = parameters * dtype.itemsize
    if dtype.hasobject or head.tell() + length > size:
        if not dtype.hasobject:
            found.findings.append(warning("truncated", f"The array {name!r} is cut off; push it again.", name))
        found.tensors.append(Tensor(name, word, tuple(shape), 0 if dtype.hasobject else length))
        return
    if in_columns and len(shape) > 1:
        word = f"{word} by columns"  # other bytes than the same array by rows would have
    found.tensors.append(Tensor(name, word, tuple(shape), length, start + head.tell()))


def _word(dtype: np.dtype[Any]) -> str:
    if dtype == np.bool_:
        return "BOOL"
    if dtype.kind in _LETTERS and dtype.byteorder in "<|=":
        return f"{_LETTERS[dtype.kind]}{8 * dtype.itemsize}"
    return str(dtype)[:40]
