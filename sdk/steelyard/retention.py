"""What was deleted, and what goes by itself: `hub.trash`, `hub.expiry`.

hub.trash.restore(item.id)                                 # back with its number, id and files
hub.expiry.foresee("lab/reader", keep_last=10).sentence    # before
hub.expiry.set("lab/reader", keep_last=10, older_than_days=30)
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from steelyard.transport import Transport
from steelyard_contracts.refs import Ref, parse_ref

_API = "/api/v1"


class TrashItem(BaseModel):
    """A repository, a branch or a version that was deleted and can be brought back until `due_at`."""

    id: int
    what: str
    label: str
    kind: str
    repository: str
    versions: int
    size: int
    deleted_by: str
    deleted_at: datetime
    due_at: datetime
    may_restore: bool
    may_empty: bool


class Hold(BaseModel):
    """What refers to a version; `stops` says whether the deletion is refused because of it."""

    kind: str
    name: str
    version: str | None
    sentence: str
    stops: bool


class Deletion(BaseModel):
    """What a deletion would do. `lines` are the sentences that the page shows before its button."""

    label: str
    possible: bool
    lines: list[str]
    holds: list[Hold]
    versions: int
    freed: int
    kept_until: datetime


class ExpiryRule(BaseModel):
    keep_last: int
    older_than_days: int
    changed_by: str
    applied_at: datetime | None


class Foreseen(BaseModel):
    """What a rule would take now."""

    versions: int
    variants: int
    freed: int
    sentence: str


class Trash:
    """What was deleted from the teams in which the token may write."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def items(self, namespace: str = "") -> Iterator[TrashItem]:
        """Newest first."""
        found = self._transport.items(f"{_API}/trash", namespace=namespace)
        return (TrashItem.model_validate(item) for item in found)

    def restore(self, item: int, *, name: str | None = None) -> str:
        """What it is called now; `name` is for where somebody has taken the old one. Raises: ConflictError."""
        answer = self._transport.call("POST", f"{_API}/trash/{item}/restore", body={"name": name}, repeatable=False)
        return str(answer["label"])

    def empty(self, item: int) -> None:
        """Deletes it for good, before its time. Raises: ForbiddenError for whoever is no maintainer."""
        self._transport.call("DELETE", f"{_API}/trash/{item}", repeatable=False)


class Expiry:
    """A repository's rule for versions that nothing refers to."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def rule(self, ref: str | Ref) -> ExpiryRule:
        """Raises: NotFoundError where there is none."""
        return self._transport.get(ExpiryRule, _address(ref))

    def foresee(self, ref: str | Ref, *, keep_last: int, older_than_days: int = 0) -> Foreseen:
        """What such a rule would take now; nothing is changed."""
        body = {"keep_last": keep_last, "older_than_days": older_than_days}
        return self._transport.post(Foreseen, f"{_address(ref)}/preview", body, repeatable=True)

    def set(self, ref: str | Ref, *, keep_last: int, older_than_days: int = 0) -> ExpiryRule:
        body: dict[str, Any] = {"keep_last": keep_last, "older_than_days": older_than_days}
        return ExpiryRule.model_validate(self._transport.call("PUT", _address(ref), body=body))

    def remove(self, ref: str | Ref) -> None:
        self._transport.call("DELETE", _address(ref), repeatable=False)


def _address(ref: str | Ref) -> str:
    one = parse_ref(ref) if isinstance(ref, str) else ref
    return f"{_API}/{one.kind.plural}/{one.repository}/expiry"
