"""A file's terms, packed into one column: a file of 10 GB has a few hundred."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from steelyard_contracts.xet.shards import Term

_ROW = struct.Struct("<32sIII")


def pack(terms: Iterable[Term]) -> bytes:
    return b"".join(_ROW.pack(term.xorb, term.start, term.end, term.length) for term in terms)


def unpack(packed: bytes) -> tuple[Term, ...]:
    return tuple(Term(*row) for row in _ROW.iter_unpack(packed))
