"""Which xorbs a client can build on: it asks by the hash of a chunk it has.

The answer covers the xorbs of the newest files around that chunk, because a fine-tune shares most of its parent and a
client asks about one chunk in a thousand. Only xorbs that the asking team holds are shown, and their chunks under a key
of this answer.
"""

from __future__ import annotations

import secrets
import time

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.xet import shards
from steelyard_contracts.xet.hashes import SIZE, from_text
from steelyard_contracts.xet.xorbs import Layout
from steelyard_platform.storage.batches import batches, lock
from steelyard_platform.storage.models import DedupCandidate, FileXorb, Xorb, XorbHolder

_VALID_SECONDS = 3600
_FILES = 4
_XORBS = 512


def answer(team_id: int, chunk: str) -> bytes:
    """A shard. Raises: NotFoundError when the team has no such chunk, whoever else may have it."""
    from_text(chunk)
    everything = settings.ENVIRONMENT.dedup_scope == "installation"
    xorbs = Xorb.objects.all() if everything else Xorb.objects.filter(holders__team_id=team_id)
    found = xorbs.filter(pk__in=DedupCandidate.objects.filter(chunk=chunk).values("xorb"))
    around = [row.pk for row in found.order_by("-touched_at")[:_FILES]]
    if not around:
        raise NotFoundError("No chunk with this hash can be built on here.")
    files = FileXorb.objects.filter(xorb__in=around).order_by("-file__touched_at").values_list("file", flat=True)
    newest = list(dict.fromkeys(files[: 8 * _FILES]))[:_FILES]
    neighbours = FileXorb.objects.filter(file__in=newest).values("xorb")
    near = [row for row in xorbs.filter(pk__in=neighbours).distinct()[:_XORBS] if row.pk not in around]
    offered = [*Xorb.objects.filter(pk__in=around), *near]
    _offer(team_id, offered, widen=everything)
    now = int(time.time())
    return shards.serialize_answer(
        ((from_text(row.digest), Layout.unpack(bytes(row.layout))) for row in offered),
        key=secrets.token_bytes(SIZE),
        created=now,
        expires=now + _VALID_SECONDS,
    )


@transaction.atomic
def _offer(team_id: int, offered: list[Xorb], *, widen: bool) -> None:
    """What was offered is not collected while the client builds on it."""
    for batch in batches(lock(Xorb.objects.all(), [row.pk for row in offered])):
        Xorb.objects.filter(pk__in=batch).update(touched_at=timezone.now())
    if widen:
        holders = (XorbHolder(team_id=team_id, xorb=row) for row in offered)
        XorbHolder.objects.bulk_create(holders, ignore_conflicts=True)
