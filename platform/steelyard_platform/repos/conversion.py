"""Files that came whole (LFS) are stored by chunks afterwards, in the background, as if they had come so.

    accept_staged  ──> WholeFile row ──> convert_waiting: cut, hash, store what is new, register, point the blob at it

The blob is switched in one transaction, under its lock; until then, and if anything goes wrong, it stays whole. The
object goes when no address that was given out for it is valid any more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from steelyard_contracts.digests import checked
from steelyard_contracts.errors import SteelyardError, UnavailableError
from steelyard_contracts.xet import shards
from steelyard_contracts.xet.assembly import Assembly, NewXorb, Piece, Place, assemble
from steelyard_contracts.xet.cutting import Cut, cut_evenly, cut_weights
from steelyard_contracts.xet.hashes import chunk_hash, to_text
from steelyard_contracts.xet.xorbs import chunk_header
from steelyard_platform.repos.models import Blob, BlobHolder, WholeFile
from steelyard_platform.storage.batches import SIZE
from steelyard_platform.storage.garbage import Freed, doom, sweep
from steelyard_platform.storage.models import XetFile, XetFileHolder
from steelyard_platform.storage.services import object_store
from steelyard_platform.storage.xet.deduplication import find_xorbs
from steelyard_platform.storage.xet.uploads import ShardRegistration, store_xorb

_log = logging.getLogger(__name__)
_LEASE = timedelta(minutes=10)  # renewed at each xorb
_ATTEMPTS = 5


def convert_waiting() -> int:
    """Converts what waits, one file after the other, unless another process is at it. Returns how many."""
    sweep(Freed())
    count = 0
    while (waiting := _claim()) is not None:
        try:
            convert(waiting.blob)
        except UnavailableError as error:  # the store's fault, not the file's: the next call tries again
            _give_back(waiting, error, attempts=F("attempts") - 1)
            break
        except SteelyardError as error:
            _give_back(waiting, error)
        else:
            count += 1
    return count


def _claim() -> WholeFile | None:
    """The next file, for this process alone; None when there is none, or one is being converted."""
    now = timezone.now()
    waiting = WholeFile.objects.filter(attempts__lt=_ATTEMPTS)
    if waiting.filter(claimed_until__gt=now).exists():
        return None
    row = waiting.select_related("blob").order_by("attempts", "claimed_until").first()
    if row is None:
        return None
    mine = waiting.filter(pk=row.pk, claimed_until=row.claimed_until)
    return row if mine.update(claimed_until=now + _LEASE, attempts=F("attempts") + 1) else None


def _give_back(waiting: WholeFile, error: SteelyardError, **changes: Any) -> None:
    _log.warning("the file %s stays whole for now: %s", waiting.blob.sha256, error)
    WholeFile.objects.filter(pk=waiting.pk).update(claimed_until=timezone.now(), **changes)


def convert(blob: Blob) -> None:
    """Raises: SteelyardError when the store fails, or holds something else than it should; the blob stays as it is."""
    holders = list(BlobHolder.objects.filter(blob=blob).order_by("pk").values_list("team", flat=True))
    if blob.xet is None and blob.size and holders:
        assembly, candidates = _assembled(blob, holders[0])
        for xorb in assembly.xorbs:
            store_xorb(holders[0], to_text(xorb.digest), _body(blob, xorb))
            WholeFile.objects.filter(pk=blob.pk).update(claimed_until=timezone.now() + _LEASE)
        new = [(xorb.digest, xorb.layout) for xorb in assembly.xorbs]
        for _ in ShardRegistration(holders[0], shards.serialize([assembly.record], new, candidates)).run():
            pass
        _switch(blob, to_text(assembly.record.digest), holders)
    WholeFile.objects.filter(pk=blob.pk).delete()


def _assembled(blob: Blob, team_id: int) -> tuple[Assembly, set[bytes]]:
    cut = _cut(blob)
    content = checked(_read(blob), sha256=blob.sha256, size=blob.size, what=f"The stored blob {blob}")
    pieces = list(_pieces(cut, content))
    candidates = {pieces[head].digest for head in cut.heads}
    places = {
        chunk.digest: Place(xorb, index)
        for xorb, layout in find_xorbs(team_id, map(to_text, candidates))
        for index, chunk in enumerate(layout.chunks)
    }
    return assemble(pieces, places), candidates


def _cut(blob: Blob) -> Cut:
    def read(start: int, end: int) -> bytes:
        return b"".join(_read(blob, start, end))

    return cut_weights(read, blob.size) or cut_evenly(blob.size)


def _pieces(cut: Cut, content: Iterator[bytes]) -> Iterator[Piece]:
    """Hashes each chunk as the content passes; reads it to its end, so that `checked` has seen all of it."""
    for (start, end), data in zip(cut.spans(), _split(content, (b - a for a, b in cut.spans())), strict=True):
        yield Piece(chunk_hash(data), start, end)
    for _ in content:
        pass


def _body(blob: Blob, xorb: NewXorb) -> Iterator[bytes]:
    for run in _runs(xorb.pieces):
        content = _read(blob, run[0].start, run[-1].end)
        for data in _split(content, (piece.length for piece in run)):
            yield chunk_header(len(data)) + data


def _runs(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Pieces that follow each other in the file, so that they are read at once."""
    run: list[Piece] = []
    for piece in pieces:
        if run and piece.start != run[-1].end:
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _split(content: Iterator[bytes], lengths: Iterable[int]) -> Iterator[bytes]:
    """The stream in pieces of these lengths. Raises: UnavailableError when it breaks off."""
    pending = bytearray()
    for length in lengths:
        while len(pending) < length:
            block = next(content, b"")
            if not block:
                raise UnavailableError("A stored file breaks off; see `manage.py verify_storage`.")
            pending += block
        yield bytes(pending[:length])
        del pending[:length]


def _read(blob: Blob, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    return object_store().read(blob.object_key, blob.offset + start, blob.offset + (blob.size if end is None else end))


@transaction.atomic
def _switch(blob: Blob, digest: str, holders: list[int]) -> None:
    file = XetFile.objects.select_for_update().filter(pk=digest).first()
    row = Blob.objects.select_for_update().filter(pk=blob.pk).first()
    if file is None or row is None:
        raise UnavailableError("It was collected meanwhile.")
    if row.xet is not None:
        return
    key, row.object_key, row.xet = row.object_key, "", file
    row.save(update_fields=["object_key", "xet"])
    rows = (XetFileHolder(team_id=team, file=file) for team in holders)
    XetFileHolder.objects.bulk_create(rows, batch_size=SIZE, ignore_conflicts=True)
    doom([(key, row.size)], after=timedelta(seconds=settings.ENVIRONMENT.signed_url_seconds))
