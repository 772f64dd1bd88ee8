"""ONNX: the weights of a graph and of the graphs inside it, by where their bytes lie. No graph is loaded.

The numbers of the fields are those of onnx.proto.
"""

from __future__ import annotations

import math
from pathlib import PurePosixPath, PureWindowsPath

from steelyard_workers.inspection.contents import Contents, Source, Tensor, UnreadableError, danger, warning
from steelyard_workers.inspection.dtypes import size_of
from steelyard_workers.inspection.protobuf import BYTES, VARINT, Field, fields_of, text, varint, varints

_DTYPES = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 8: "STRING", 9: "BOOL", 10: "F16", 11: "F64",
    12: "U32", 13: "U64", 14: "C64", 15: "C128", 16: "BF16", 17: "F8_E4M3", 18: "F8_E4M3FNUZ", 19: "F8_E5M2",
    20: "F8_E5M2FNUZ", 21: "U4", 22: "I4", 23: "F4", 24: "F8_E8M0",
}  # fmt: skip
# ModelProto, GraphProto, NodeProto, AttributeProto: the fields that are looked into.
_IR_VERSION, _GRAPH, _OPSET, _PROPERTY = 1, 7, 8, 14
_TEXTS = {2: "producer", 3: "producer_version"}
_NODE, _INITIALIZER = 1, 5
_OUTPUT, _ATTRIBUTE = 2, 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 5, 6, 11
# TensorProto.
_DIMS, _DATA_TYPE, _FLOATS, _INTEGERS, _LONGS, _NAME, _RAW, _DOUBLES, _UNSIGNED, _EXTERNAL, _LOCATION = (
    1, 2, 4, 5, 7, 8, 9, 10, 11, 13, 14,
)  # fmt: skip
_DEEPEST = 8
_SHORTEST = 4
_MOST_TENSORS = 1_000_000
# Numbers of varying length are spelled out in memory; exporters write only shapes and axes so.
_LARGEST_SPELLED_OUT = 1_000_000


def looks_like_onnx(source: Source) -> bool:
    """Its first field is the version of the format, and a graph is among those at the top."""
    if source.size < _SHORTEST:
        return False
    try:
        if source.read(0, 1) != b"\x08" or not 0 < varint(source, 1, source.size)[0] < 100:  # noqa: PLR2004 - 13 by now
            return False
        return any(field.number == _GRAPH and field.wire == BYTES for field in fields_of(source, 0, source.size))
    except UnreadableError:
        # Cut off: the graph is the long part, so what stands before it still reads like a model.
        return source.read(2, 3) in {b"\x12", b"\x1a", b"\x3a"}


def read_onnx(source: Source) -> Contents:
    """Raises: UnreadableError."""
    found = Contents("onnx", framework="onnx")
    reader = _Reader(source, found)
    for field in fields_of(source, 0, source.size):
        if field.number == _IR_VERSION and field.wire == VARINT:
            found.metadata["ir_version"] = str(field.value)
        elif field.wire != BYTES:
            continue
        elif field.number in _TEXTS:
            found.metadata[_TEXTS[field.number]] = text(source, field)
        elif field.number == _OPSET:
            reader.opset(field)
        elif field.number == _PROPERTY:
            reader.property(field)
        elif field.number == _GRAPH:
            reader.graph(field, "", 0)
    reader.end()
    return found


class _Reader:
    def __init__(self, source: Source, found: Contents) -> None:
        self._source = source
        self._found = found
        self._nodes = 0
        self._outside: list[tuple[str, str]] = []

    def opset(self, field: Field) -> None:
        domain, version = "", 0
        for part in fields_of(self._source, field.start, field.end):
            if part.number == 1 and part.wire == BYTES:
                domain = text(self._source, part)
            elif part.number == 2 and part.wire == VARINT:  # noqa: PLR2004 - the version
                version = part.value
        self._found.metadata[f"opset {domain or 'ai.onnx'}"] = str(version)

    def property(self, field: Field) -> None:
        key, value = self._pair(field)
        self._found.metadata[key] = value

    def graph(self, field: Field, prefix: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise UnreadableError(
                "header-broken", f"Graphs lie more than {_DEEPEST} deep in each other; not looked into."
            )
        for part in fields_of(self._source, field.start, field.end):
            if part.wire != BYTES:
                continue
            if part.number == _INITIALIZER:
                self._tensor(part, prefix, "")
            elif part.number == _NODE:
                self._node(part, prefix, depth)

    def _node(self, field: Field, prefix: str, depth: int) -> None:
        self._nodes += 1
        output = ""
        attributes: list[Field] = []
        for part in fields_of(self._source, field.start, field.end):
            if part.number == _OUTPUT and part.wire == BYTES and not output:
                output = text(self._source, part)
            elif part.number == _ATTRIBUTE and part.wire == BYTES:
                attributes.append(part)
        for attribute in attributes:
            for part in fields_of(self._source, attribute.start, attribute.end):
                if part.wire != BYTES:
                    continue
                if part.number == _ATTRIBUTE_TENSOR:
                    self._tensor(part, prefix, output)
                elif part.number in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
                    self.graph(part, f"{prefix}{output}/", depth + 1)

    def _tensor(self, field: Field, prefix: str, fallback: str) -> None:  # noqa: C901 - one branch for each field
        if len(self._found.tensors) >= _MOST_TENSORS:
            raise UnreadableError("too-many-tensors", f"The graph holds more than {_MOST_TENSORS:,} tensors.")
        name, code, external = fallback, 0, False
        shape: list[int] = []
        data: list[Field] = []
        places: dict[str, str] = {}
        for part in fields_of(self._source, field.start, field.end):
            if part.number == _DIMS:
                shape += varints(self._source, part)
            elif part.number == _DATA_TYPE and part.wire == VARINT:
                code = part.value
            elif part.number == _NAME and part.wire == BYTES:
                name = text(self._source, part) or fallback
            elif part.number in {_RAW, _FLOATS, _DOUBLES, _INTEGERS, _LONGS, _UNSIGNED}:
                data.append(part)
            elif part.number == _LOCATION and part.wire == VARINT:
                external = part.value == 1
            elif part.number == _EXTERNAL and part.wire == BYTES:
                key, value = self._pair(part)
                places[key] = value
        name, dtype = f"{prefix}{name}", _DTYPES.get(code, f"type {code}")
        if any(length >= 1 << 63 for length in shape) or math.prod(shape) >= 1 << 63:
            raise UnreadableError("header-broken", f"{name!r} has a shape that nothing has; the file is damaged.")
        size = size_of(dtype, math.prod(shape)) or sum(part.size for part in data)
        if external:
            self._note_external(name, places.get("location", ""))
            self._found.tensors.append(Tensor(name, dtype, tuple(shape), size))
        else:
            self._found.tensors.append(self._with_data(Tensor(name, dtype, tuple(shape), size), data))

    def _with_data(self, tensor: Tensor, data: list[Field]) -> Tensor:
        """The tensor with its bytes: as they lie in the file, or spelled out from numbers of varying length."""
        in_one_piece = {_RAW: None, _FLOATS: "F32", _DOUBLES: "F64"}
        if len(data) == 1 and data[0].wire == BYTES and data[0].number in in_one_piece:
            part = data[0]
            if in_one_piece[part.number] in {None, tensor.dtype} and part.size == tensor.size:
                return Tensor(tensor.name, tensor.dtype, tensor.shape, tensor.size, part.start)
        if data and sum(part.size for part in data) <= _LARGEST_SPELLED_OUT and _RAW not in {p.number for p in data}:
            inline = b"".join(self._spelled_out(part, tensor.dtype) for part in data)
            if len(inline) == tensor.size:
                return Tensor(tensor.name, tensor.dtype, tensor.shape, tensor.size, inline=inline)
        if tensor.size and tensor.dtype != "STRING":
            what = f"{tensor.name!r} of {tensor.dtype}{list(tensor.shape)}"
            sentence = f"{what} does not hold the values that its shape asks for."
            self._found.findings.append(warning("size-mismatch", sentence, tensor.name))
        return tensor

    def _spelled_out(self, part: Field, dtype: str) -> bytes:
        if part.number in {_FLOATS, _DOUBLES}:
            return self._source.read(part.start, part.end)
        width = size_of(dtype, 1) or 0
        mask = (1 << 8 * width) - 1
        return b"".join((value & mask).to_bytes(width, "little") for value in varints(self._source, part))

    def _note_external(self, name: str, location: str) -> None:
        self._found.metadata["external_data"] = "true"
        if not _stays_inside(location):
            self._outside.append((name, location))

    def end(self) -> None:
        self._found.metadata["nodes"] = str(self._nodes)
        if self._outside:
            name, location = self._outside[0]
            many = f"{len(self._outside):,} tensors" if len(self._outside) > 1 else "A tensor"
            sentence = (
                f"{many} would be read from outside the model's folder, such as {name!r} from {location!r}: whoever "
                "loads this graph may hand over a file of their own."
            )
            self._found.findings.append(danger("external-data-outside", sentence, name))

    def _pair(self, field: Field) -> tuple[str, str]:
        parts: dict[int, str] = {}
        for part in fields_of(self._source, field.start, field.end):
            if part.wire == BYTES:
                parts[part.number] = text(self._source, part)
        return parts.get(1, ""), parts.get(2, "")


def _stays_inside(location: str) -> bool:
    """Whether a relative path leads to a file beside the graph or below, on any system."""
    if "\0" in location:
        return False
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(location)
        if path.is_absolute() or path.drive or path.root or ".." in path.parts:
            return False
    return True
