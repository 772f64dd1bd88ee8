"""Telling the light jobs that a search may go on. A lost message costs seconds: the clock looks at all searches too."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

ADVANCE_SEARCH = "steelyard.advance_search"
# Seconds: by then the clock has come by.
_EXPIRES = 30
_log = logging.getLogger(__name__)


def ring_search_after_commit(search: UUID) -> None:
    transaction.on_commit(lambda: _ring(search))


def _ring(search: UUID) -> None:
    try:
        current_app.send_task(ADVANCE_SEARCH, args=[str(search)], ignore_result=True, retry=False, expires=_EXPIRES)
    except (OperationalError, OSError) as error:
        _log.warning("The broker did not take search %s, which the clock moves on: %s", search, error)
