"""What a file is, by its content; its name only tells an index from any other JSON."""

from __future__ import annotations

from collections.abc import Callable

from steelyard_workers.inspection import gguf_files, numpy_files, tflite_files
from steelyard_workers.inspection.contents import Contents, Source
from steelyard_workers.inspection.gguf_files import read_gguf
from steelyard_workers.inspection.index_files import read_index
from steelyard_workers.inspection.numpy_files import read_array, read_arrays
from steelyard_workers.inspection.onnx_files import looks_like_onnx, read_onnx
from steelyard_workers.inspection.safetensors_files import read_safetensors
from steelyard_workers.inspection.tflite_files import read_tflite
from steelyard_workers.inspection.torch_files import LEGACY_MAGIC, pickle_entry, read_legacy, read_torch
from steelyard_workers.inspection.zips import opened

INDEX = ".index.json"
_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_LEGACY = LEGACY_MAGIC.to_bytes(10, "little")
_ARCHIVES = (
    b"\x1f\x8b",
    b"7z\xbc\xaf\x27\x1c",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"Rar!",
    b"\x04\x22\x4d\x18",
    b"\x28\xb5\x2f\xfd",
)
_TAR, _TAR_AT = b"ustar", 257
_HEAD = 512
_NEWEST_PICKLE = 5


def read_contents(source: Source, name: str) -> Contents:
    """The file's tensors, by the reader that its content asks for. Raises: UnreadableError."""
    if name.endswith(INDEX):
        return read_index(source)
    head = source.read(0, min(_HEAD, source.size))
    for begins_so, read in _READERS:
        if begins_so(head):
            return read(source)
    if looks_like_onnx(source):
        return read_onnx(source)
    # Too short for its own header: nothing else would say so.
    return read_safetensors(source) if name.endswith(".safetensors") else Contents("unknown")


def is_pickle(head: bytes) -> bool:
    """From protocol 2 on, a pickle says so."""
    return head[:1] == b"\x80" and head[1:2] != b"" and head[1] <= _NEWEST_PICKLE


def _read_zip(source: Source) -> Contents:
    with opened(source) as archive:
        if (entry := pickle_entry(archive)) is not None:
            return read_torch(source, archive, entry)
        names = [info.filename for info in archive.infolist()]
        if {"config.json", "model.weights.h5"} <= set(names):
            return Contents("keras", framework="keras")
        if any(name.endswith(".npy") for name in names):
            return read_arrays(source, archive)
    return Contents("archive")


def _read_pickle(source: Source) -> Contents:
    return read_legacy(source) if _LEGACY in source.read(0, min(_HEAD, source.size)) else Contents("pickle")


# The first that knows the file's beginning reads it.
_READERS: tuple[tuple[Callable[[bytes], bool], Callable[[Source], Contents]], ...] = (
    (lambda head: head.startswith(_ZIP), _read_zip),
    (lambda head: head.startswith(gguf_files.MAGIC), read_gguf),
    (lambda head: head[4:8] == tflite_files.MAGIC, read_tflite),
    (lambda head: head.startswith(numpy_files.MAGIC), read_array),
    (lambda head: head.startswith(_HDF5), lambda _: Contents("keras", framework="keras")),
    (lambda head: head[8:9] == b"{" and head[:1] != b"{", read_safetensors),
    (lambda head: head.startswith(_ARCHIVES) or head[_TAR_AT:].startswith(_TAR), lambda _: Contents("archive")),
    (is_pickle, _read_pickle),
)
