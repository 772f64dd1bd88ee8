"""Sending weights: one question for the whole push, then only what the server lacks, several xorbs at once.

    files = {"model.safetensors": Path("out/model.safetensors")}
    sent = send_weights(store, files, revision="main")      {"model.safetensors": Registered(...)}

Nothing is visible until a commit names what was registered. A push that broke off is simply repeated: the xorbs that
arrived are the answer to its question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from steelyard.progress import Report, silent
from steelyard.transfer.store import ChunkStore, Registered, places_of
from steelyard.transfer.weights import Weights, find_cut, open_weights
from steelyard_contracts.xet.assembly import NewXorb, Place, assemble
from steelyard_contracts.xet.cutting import Cut
from steelyard_contracts.xet.hashes import to_text
from steelyard_contracts.xet.shards import FileRecord, serialize

_AT_ONCE = 4
_FILES_AT_ONCE = 64  # mapped, and registered together


def send_weights(
    store: ChunkStore, files: Mapping[str, Path], *, revision: str, report: Report = silent
) -> dict[str, Registered]:
    """Those of the files that are cut at tensors, by their path in the repository, as the server knows them now.

    Raises: SteelyardError as the server said; nothing was registered then.
    """
    cuts = ((path, find_cut(file)) for path, file in files.items())
    waiting = ((path, cut) for path, cut in cuts if cut is not None)
    sent: dict[str, Registered] = {}
    while batch := dict(islice(waiting, _FILES_AT_ONCE)):
        sent |= _send_some(store, {path: (files[path], cut) for path, cut in batch.items()}, revision, report)
    return sent


def _send_some(
    store: ChunkStore, files: Mapping[str, tuple[Path, Cut]], revision: str, report: Report
) -> dict[str, Registered]:
    with ExitStack() as stack:
        weights = {path: stack.enter_context(open_weights(file, cut)) for path, (file, cut) in files.items()}
        known = _known(store, weights, revision)
        records: dict[str, FileRecord] = {}
        new: list[tuple[Weights, NewXorb]] = []
        for path, one in weights.items():
            assembly = assemble(one.pieces, known)
            records[path] = assembly.record
            for xorb in assembly.xorbs:
                new.append((one, xorb))
                known.update((piece.digest, Place(xorb.digest, index)) for index, piece in enumerate(xorb.pieces))
        _send(store, new, report)
        heads = frozenset[bytes]().union(*(one.heads for one in weights.values()))
        shard = serialize(records.values(), ((xorb.digest, xorb.layout) for _, xorb in new), heads)
        registered = {one.xet: one for one in store.register(shard)}
        size = sum(len(one.content) for one in weights.values())
        store.report("xet_upload_summary", size=size, moved=sum(xorb.stored for _, xorb in new))
        return {path: registered[to_text(record.digest)] for path, record in records.items()}


def _known(store: ChunkStore, weights: Mapping[str, Weights], revision: str) -> dict[bytes, Place]:
    heads = sorted({head for one in weights.values() for head in one.heads})
    key, xorbs = store.known(heads, revision=revision, paths=list(weights))
    return places_of({piece.digest for one in weights.values() for piece in one.pieces}, key, xorbs)


def _send(store: ChunkStore, xorbs: Iterable[tuple[Weights, NewXorb]], report: Report) -> None:
    waiting = list(xorbs)
    total, done = sum(xorb.stored for _, xorb in waiting), 0

    def send(one: tuple[Weights, NewXorb]) -> int:
        weights, xorb = one
        if not store.has_xorb(xorb.digest):
            store.put_xorb(xorb.digest, lambda: weights.body(xorb), xorb.stored)
        return xorb.stored

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for size in pool.map(send, waiting):
            done += size
            report(done, total)
