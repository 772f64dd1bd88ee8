"""The job of the kind `compare`: fetches the tensors that differ, and nothing else, and reports how far they moved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from steelyard_contracts.errors import DigestMismatchError, UnavailableError
from steelyard_contracts.jobs import CompareSpec
from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_contracts.weights import Measures, TensorChange, TensorPair
from steelyard_workers.comparison.measures import Distance
from steelyard_workers.inspection.contents import BLOCK
from steelyard_workers.inspection.dtypes import is_readable
from steelyard_workers.session import JobSession

# Tensors that follow each other in both files come by one request of at most so many bytes.
_LONGEST_RUN = 64 * 1024 * 1024
_REPORTED_AT_ONCE = 500


def compare(session: JobSession, spec: CompareSpec) -> dict[str, Any]:
    """Reports as it goes, so that another attempt goes on where this one ended."""
    pairs = session.changed_tensors()
    left, right = (session.pinned(text, RepositoryKind.MODEL) for text in (spec.left, spec.right))
    total = sum(pair.right.size for pair in pairs) or 1
    read = done = 0
    waiting: list[TensorChange] = []
    for run in _runs(pairs):
        if is_readable(run[0].dtype):
            waiting += session.repeat(partial(_measured, session, left, right, run))
            read += sum(pair.left.size + pair.right.size for pair in run)
        else:
            waiting += [_change(pair, Measures()) for pair in run]
        done += sum(pair.right.size for pair in run)
        session.progress(done / total, f"measuring {run[-1].name}")
        if len(waiting) >= _REPORTED_AT_ONCE:
            session.report_changes(waiting)
            waiting = []
    session.report_changes(waiting)
    session.log(f"{len(pairs)} tensors differ; {read} bytes were read")
    return {"tensors": len(pairs), "bytes_read": read}


def _runs(pairs: list[TensorPair]) -> Iterator[list[TensorPair]]:
    """Tensors whose bytes follow each other on both sides, a little at a time; those that cannot be read alone."""
    run: list[TensorPair] = []
    for pair in pairs:
        if run and not (_follows(pair, run[-1]) and _size(run) + pair.right.size <= _LONGEST_RUN):
            yield run
            run = []
        run.append(pair)
    if run:
        yield run


def _follows(pair: TensorPair, before: TensorPair) -> bool:
    sides = ((pair.left, before.left), (pair.right, before.right))
    together = is_readable(pair.dtype) == is_readable(before.dtype)
    return together and all(one.path == two.path and one.start == two.start + two.size for one, two in sides)


def _size(run: list[TensorPair]) -> int:
    return sum(pair.right.size for pair in run)


def _measured(session: JobSession, left: Ref, right: Ref, run: list[TensorPair]) -> list[TensorChange]:
    """Raises: DigestMismatchError when what came is not what was inspected; UnavailableError when it breaks off."""
    with ExitStack() as stack:
        before, after = (
            _Stream(stack.enter_context(session.range_of(ref, first.path, first.start, last.start + last.size)))
            for ref, first, last in ((left, run[0].left, run[-1].left), (right, run[0].right, run[-1].right))
        )
        return [_one(pair, before, after) for pair in run]


def _one(pair: TensorPair, before: _Stream, after: _Stream) -> TensorChange:
    distance = Distance(pair.dtype)
    digests = hashlib.sha256(), hashlib.sha256()
    for start in range(0, pair.right.size, BLOCK):
        count = min(BLOCK, pair.right.size - start)
        blocks = before.take(count), after.take(count)
        for digest, block in zip(digests, blocks, strict=True):
            digest.update(block)
        distance.add(*blocks)
    if [digest.hexdigest() for digest in digests] != [pair.left.digest, pair.right.digest]:
        raise DigestMismatchError(f"The bytes of {pair.name!r} are not those that were inspected.", tensor=pair.name)
    return _change(pair, distance.measures())


def _change(pair: TensorPair, measures: Measures) -> TensorChange:
    return TensorChange(left=pair.left.digest, right=pair.right.digest, dtype=pair.dtype, **measures.model_dump())


class _Stream:
    """Chunks as they come, given out in blocks of the length that is asked for."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._kept = bytearray()

    def take(self, count: int) -> bytes:
        """Raises: UnavailableError when there is no more."""
        while len(self._kept) < count:
            chunk = next(self._chunks, b"")
            if not chunk:
                raise UnavailableError("A file broke off on its way.")
            self._kept += chunk
        block = bytes(self._kept[:count])
        del self._kept[:count]
        return block
