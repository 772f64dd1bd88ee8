"""Which xorbs a client can build on: it asks by the hash of a chunk it has, or once for a whole push.

The answer covers the xorbs of the newest files around that chunk, because a fine-tune shares most of its parent and a
client asks about one chunk in a thousand. Xorbs of a push that broke off belong to no file yet; they are shown
together, so that the same push goes on where it was. Only xorbs that the asking team holds are shown, and their chunks
under a key of this answer.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.xet import shards
from steelyard_contracts.xet.hashes import SIZE, from_text, to_text
from steelyard_contracts.xet.xorbs import Layout
from steelyard_platform.storage.batches import batches, lock
from steelyard_platform.storage.models import DedupCandidate, FileXorb, Xorb, XorbHolder

_VALID_SECONDS = 3600
_LAYOUTS = 16  # read at once
_FILES = 4
_XORBS = 512
# In one answer: a file of 32 GB in the largest chunks.
_CHUNKS = 256 * 1024
_FOR_EACH_CHUNK = 2
# Of a push that broke off: some 16 GB, and as long as one may take.
_WAITING = 256
_A_PUSH = timedelta(days=1)


def answer(team_id: int, chunk: str) -> bytes:
    """A shard. Raises: NotFoundError when the team has no such chunk, whoever else may have it."""
    from_text(chunk)
    xorbs = _open_to(team_id)
    around = list(xorbs.filter(candidates__chunk=chunk).order_by("-touched_at").values_list("pk", flat=True)[:_FILES])
    if not around:
        raise NotFoundError("No chunk with this hash can be built on here.")
    files = FileXorb.objects.filter(xorb__in=around).order_by("-file__touched_at").values_list("file", flat=True)
    newest = list(dict.fromkeys(files[: 8 * _FILES]))[:_FILES]
    near = [*_of_files(xorbs, newest)[:_XORBS], *_of_the_same_push(xorbs, around)]
    return _shard(_offer(team_id, {*around, *near}))


def answer_push(team_id: int, chunks: Iterable[str], files: Iterable[str]) -> bytes:
    """What a whole push can build on: the xorbs that hold these chunks, and those of the files that it replaces."""
    return _shard(find_xorbs(team_id, chunks, files))


def find_xorbs(team_id: int, chunks: Iterable[str], files: Iterable[str] = ()) -> list[tuple[bytes, Layout]]:
    """The same, for whoever may see them as they are."""
    xorbs = _open_to(team_id)
    found = dict.fromkeys(pk for batch in batches(files) for pk in _of_files(xorbs, batch)[:_XORBS])
    for batch in batches(chunks):
        held = DedupCandidate.objects.filter(chunk__in=batch, xorb__in=xorbs.values("pk"))
        newest = held.order_by("-xorb__touched_at").values_list("chunk", "xorb")
        counted = Counter[str]()
        for chunk, xorb in newest[: 2 * _FOR_EACH_CHUNK * len(batch)]:
            counted[chunk] += 1
            if counted[chunk] <= _FOR_EACH_CHUNK:
                found[xorb] = None
    return _offer(team_id, found)


def _open_to(team_id: int) -> QuerySet[Xorb]:
    everything = settings.ENVIRONMENT.dedup_scope == "installation"
    return Xorb.objects.all() if everything else Xorb.objects.filter(holders__team_id=team_id)


def _of_files(xorbs: QuerySet[Xorb], files: Iterable[str]) -> QuerySet[Xorb, str]:
    neighbours = FileXorb.objects.filter(file__in=list(files)).values("xorb")
    return xorbs.filter(pk__in=neighbours).order_by("pk").values_list("pk", flat=True)


def _of_the_same_push(xorbs: QuerySet[Xorb], around: list[str]) -> QuerySet[Xorb, str]:
    """What came a while before or after the newest of `around` that no file needs yet, and waits for a file as well."""
    waiting = xorbs.filter(files=None)
    newest = waiting.filter(pk__in=around).order_by("-touched_at").values_list("touched_at", flat=True).first()
    if newest is None:
        return Xorb.objects.none().values_list("pk", flat=True)
    meanwhile = waiting.filter(touched_at__range=(newest - _A_PUSH, newest + _A_PUSH))
    return meanwhile.order_by("-touched_at").values_list("pk", flat=True)[:_WAITING]


def _offer(team_id: int, wanted: Iterable[str]) -> list[tuple[bytes, Layout]]:
    """What is offered is not collected while the client builds on it."""
    offered: list[tuple[bytes, Layout]] = []
    room = _CHUNKS
    with transaction.atomic():
        for batch in batches(lock(Xorb.objects.all(), wanted), _LAYOUTS):
            rows = Xorb.objects.filter(pk__in=batch)
            rows.update(touched_at=timezone.now())
            for digest, layout in rows.values_list("digest", "layout"):
                one = Layout.unpack(bytes(layout))
                room -= len(one)
                if room < 0:
                    break
                offered.append((from_text(digest), one))
        if settings.ENVIRONMENT.dedup_scope == "installation":
            holders = (XorbHolder(team_id=team_id, xorb_id=to_text(digest)) for digest, _ in offered)
            XorbHolder.objects.bulk_create(holders, ignore_conflicts=True)
    return offered


def _shard(offered: list[tuple[bytes, Layout]]) -> bytes:
    now = int(time.time())
    return shards.serialize_answer(offered, key=secrets.token_bytes(SIZE), created=now, expires=now + _VALID_SECONDS)
