"""How often a repository was downloaded: once for each who fetches any of its files, and again after an hour.

So a version of a thousand files counts as one, and a download writes one row at most. Each web process remembers for
itself whom it has counted; what two of them count twice does no harm to a number that only orders lists.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from uuid import UUID

from django.db import DatabaseError
from django.db.models import F

from steelyard_platform.accounts.permissions import Actor, Scope
from steelyard_platform.repos.models import Repository, SearchDocument

_log = logging.getLogger(__name__)
_AGAIN_AFTER_SECONDS = 3600.0
_MOST_REMEMBERED = 20_000
_counted: OrderedDict[tuple[UUID, str], float] = OrderedDict()
_lock = threading.Lock()


def note_download(repository: Repository, actor: Actor, address: str) -> None:
    """`address` tells strangers apart. A job's fetches are part of its work, and no download."""
    if actor.scope is Scope.JOB:
        return
    who = f"anonymous {address}" if actor.is_anonymous else actor.name
    if not _is_new((repository.pk, who)):
        return
    try:
        SearchDocument.objects.filter(repository=repository).update(downloads=F("downloads") + 1)
    except DatabaseError:  # nobody is refused a file because it could not be counted
        _log.exception("a download of %s was not counted", repository.full_name)


def _is_new(key: tuple[UUID, str]) -> bool:
    now = time.monotonic()
    with _lock:
        if (before := _counted.get(key)) is not None and now - before < _AGAIN_AFTER_SECONDS:
            return False
        _counted[key] = now
        _counted.move_to_end(key)
        while len(_counted) > _MOST_REMEMBERED:
            _counted.popitem(last=False)
    return True
