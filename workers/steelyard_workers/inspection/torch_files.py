"""torch: a zip with a pickle that says how tensors are made of storages, and the storages beside it.

The pickle is followed, never obeyed (`pickles`). A tensor's name is the way to it through dicts and modules. The older
form, a pickle with the storages behind it, is read too.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from steelyard_workers.inspection.contents import Contents, Source, Tensor, UnreadableError, warning
from steelyard_workers.inspection.dtypes import size_of
from steelyard_workers.inspection.pickles import Called, Kept, Named, follow, follow_one
from steelyard_workers.inspection.zips import stored_at

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8",
    "BoolStorage": "BOOL", "ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128", "UntypedStorage": "U8",
    "Float8_e4m3fnStorage": "F8_E4M3", "Float8_e5m2Storage": "F8_E5M2",
}  # fmt: skip
_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64", "bool": "BOOL",
    "complex64": "C64", "complex128": "C128", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0",
}  # fmt: skip
_TENSORS = frozenset({"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"})
_PARAMETERS = frozenset({"_rebuild_parameter", "_rebuild_parameter_with_state"})
_MODULE_PARTS = frozenset({"_parameters", "_buffers", "_modules"})
_LONGEST_PICKLE = 64_000_000
_DEEPEST = 64
_MOST_VISITS = 2_000_000
_MOST_TENSORS = 1_000_000
# A tensor whose values do not lie in order is put in order in memory.
_LARGEST_REORDERED = 256_000_000


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor as the pickle describes it: some elements of a storage."""

    name: str
    dtype: str
    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def is_in_order(self) -> bool:
        expected = 1
        for length, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if length != 1 and stride != expected:
                return False
            expected *= length
        return True

    @property
    def reach(self) -> int:
        """Elements from its first to its last, both counted."""
        if 0 in self.shape:
            return 0
        return 1 + sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True))


def pickle_entry(archive: zipfile.ZipFile) -> zipfile.ZipInfo | None:
    """What makes a zip a file of torch."""
    found = (info for info in archive.infolist() if info.filename.rpartition("/")[2] == "data.pkl")
    return next((info for info in found if info.filename.count("/") <= 1), None)


def read_torch(source: Source, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Contents:
    """Raises: UnreadableError."""
    folder = entry.filename.removesuffix("data.pkl")
    found = Contents("torch", framework="pytorch")
    if any(info.filename.startswith(f"{folder}code/") for info in archive.infolist()):
        found.metadata["torchscript"] = "true"
    views = list(_views(follow(_content(archive, entry)), found))
    prefix = f"{folder}data/"
    entries = {
        info.filename.removeprefix(prefix): info for info in archive.infolist() if info.filename.startswith(prefix)
    }
    byteorder = next((info for info in archive.infolist() if info.filename == f"{folder}byteorder"), None)
    swapped = byteorder is not None and _content(archive, byteorder) == b"big"
    places: dict[str, tuple[int, int] | None] = {}
    for key in {view.key for view in views}:
        info = entries.get(key)
        # What is not stored as it is cannot be read by range; torch itself never compresses.
        places[key] = stored_at(source, info) if info is not None and not swapped else None
    if swapped:
        found.findings.append(warning("big-endian", "The numbers are written big end first and are not measured."))
    _place(source, views, places, found)
    return found


def read_legacy(source: Source) -> Contents:
    """Five pickles (magic, protocol, system, object, keys), then each storage: its length and its bytes.

    Raises: UnreadableError.
    """
    data = source.read(0, min(source.size, _LONGEST_PICKLE))
    found = Contents("torch", framework="pytorch", metadata={"torch_format": "legacy"})
    end = 0
    parts: list[Any] = []
    for _ in range(5):
        part, end = follow_one(data, end)
        parts.append(part)
    views = list(_views(parts[3], found))
    dtypes = {view.key: view.dtype for view in views}
    places: dict[str, tuple[int, int] | None] = {}
    for key in parts[4] if isinstance(parts[4], list) else []:
        count = int.from_bytes(source.read(end, end + 8), "little")
        size = size_of(dtypes.get(str(key), ""), count)
        if size is None:
            break  # nobody says how long this storage is, and so not where the next begins
        places[str(key)] = (end + 8, size)
        end += 8 + size
    _place(source, views, places, found)
    return found


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """An entry whole. Raises: UnreadableError for one that is too long, whatever its own header says."""
    try:
        with archive.open(entry) as file:
            content = file.read(_LONGEST_PICKLE + 1)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise UnreadableError("archive-broken", f"{entry.filename!r} in the file cannot be read: {error}.") from error
    if len(content) > _LONGEST_PICKLE:
        raise UnreadableError(
            "pickle-too-long",
            f"{entry.filename!r} in the file is longer than {_LONGEST_PICKLE:,} bytes; it is not read.",
        )
    return content


def _views(root: Any, found: Contents) -> Iterator[_View]:
    """Every tensor below `root`, under its name."""
    waiting: list[tuple[Any, tuple[str, ...]]] = [(root, ())]
    visits = tensors = 0
    while waiting:
        node, way = waiting.pop()
        visits += 1
        if visits > _MOST_VISITS or tensors > _MOST_TENSORS:
            found.findings.append(warning("pickle-too-long", "The pickle builds more than is looked at here."))
            return
        if isinstance(node, Called) and node.name.rpartition(".")[2] in _PARAMETERS:
            node = node.arguments[0] if isinstance(node.arguments, tuple) and node.arguments else None
        if isinstance(node, Called) and node.name.rpartition(".")[2] in _TENSORS:
            if (view := _view(node, ".".join(way))) is not None:
                tensors += 1
                yield view
            continue
        if len(way) < _DEEPEST:
            waiting += reversed([(child, way + step) for step, child in _children(node)])


def _children(node: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(key, str | int) and isinstance(value, dict | list | tuple | Called):
                yield (() if key in _MODULE_PARTS else (str(key),)), value
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            if isinstance(value, dict | list | tuple | Called):
                yield (str(index),), value
    elif isinstance(node, Called):
        yield from _children(node.items)
        yield from _children(node.parts)
        if isinstance(node.state, dict):
            yield from _children(node.state)


def _view(call: Called, name: str) -> _View | None:
    """None for a call that does not look like torch's own."""
    arguments = call.arguments
    if not isinstance(arguments, tuple) or len(arguments) < 4 or not isinstance(arguments[0], Kept):  # noqa: PLR2004 - storage, offset, shape, strides
        return None
    kept, (offset, shape, strides) = arguments[0].key, arguments[1:4]
    if not isinstance(kept, tuple) or len(kept) < 5 or not isinstance(kept[1], Named):  # noqa: PLR2004 - torch's five
        return None
    numbers = [
        offset,
        *(shape if isinstance(shape, tuple) else [None]),
        *(strides if isinstance(strides, tuple) else []),
    ]
    if any(not isinstance(one, int) or not 0 <= one < 1 << 62 for one in numbers) or len(shape) != len(strides):
        return None
    dtype = _STORAGES.get(kept[1].name.rpartition(".")[2], kept[1].name.rpartition(".")[2])
    if call.name.endswith("_v3") and len(arguments) > 6 and isinstance(arguments[6], Named):  # noqa: PLR2004 - its dtype
        dtype = _DTYPES.get(arguments[6].name.rpartition(".")[2], dtype)
    if math.prod(shape) >= 1 << 62:
        return None
    return _View(name, dtype, str(kept[2]), offset, shape, strides)


def _place(source: Source, views: list[_View], places: dict[str, tuple[int, int] | None], found: Contents) -> None:
    """Where each tensor's bytes are, as far as they are anywhere."""
    missing = beyond = 0
    for view in views:
        count = math.prod(view.shape)
        size = size_of(view.dtype, count)
        place, item = places.get(view.key), size_of(view.dtype, 1)
        if size is None or item is None or place is None:
            missing += place is None
            found.tensors.append(Tensor(view.name, view.dtype, view.shape, size or 0))
            continue
        start, length = place
        if (view.offset + view.reach) * item > length:
            beyond += 1
            found.tensors.append(Tensor(view.name, view.dtype, view.shape, size))
        elif view.is_in_order or not size:
            found.tensors.append(Tensor(view.name, view.dtype, view.shape, size, start + view.offset * item))
        else:
            found.tensors.append(_in_order(source, view, start, size, item))
    if missing:
        sentence = f"The values of {missing:,} of {len(views):,} tensors are not in the file, or lie there compressed."
        found.findings.append(warning("values-missing", sentence))
    if beyond:
        sentence = f"{beyond:,} of {len(views):,} tensors reach beyond their storage; the file is damaged."
        found.findings.append(warning("size-mismatch", sentence))


def _in_order(source: Source, view: _View, start: int, size: int, item: int) -> Tensor:
    """A transposed tensor, say: with its values in the order of its shape, unless it is too large for that."""
    begin, end = start + view.offset * item, start + (view.offset + view.reach) * item
    if max(size, end - begin) > _LARGEST_REORDERED:
        return Tensor(view.name, view.dtype, view.shape, size)
    elements = np.frombuffer(source.read(begin, end), dtype=f"V{item}")
    strided = np.lib.stride_tricks.as_strided(elements, view.shape, [stride * item for stride in view.strides])
    return Tensor(view.name, view.dtype, view.shape, size, inline=strided.tobytes())
