"""The audit trail: every write leaves one row, in the same transaction as the write."""

from __future__ import annotations

from typing import Any

from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import Actor


def record(actor: Actor, action: str, target: str, **detail: Any) -> None:
    """Adds the row. `detail` must hold no secret; it is shown to the team's administrators."""
    AuditRow.objects.create(
        actor=actor.name, token_id=actor.token_id or None, action=action, target=target[:300], detail=detail
    )
