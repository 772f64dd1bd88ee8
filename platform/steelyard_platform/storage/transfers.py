"""What clients say of their transfers, added up. Their word, not a measurement: see `TransferReport`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from steelyard_platform.storage.models import TransferReport

_LOOKED_AT = 1000
_TOO_MANY = 2**63
_EVENTS = {"xet_upload_summary": "uploads", "xet_download_summary": "downloads"}


@dataclass(slots=True)
class Transfers:
    """`size`: bytes of the files. `moved`: bytes that travelled."""

    direction: str
    count: int = 0
    size: int = 0
    moved: int = 0

    @property
    def saved(self) -> float | None:
        """The share that did not need to travel."""
        return max(1 - self.moved / self.size, 0) if self.size else None


def recent_transfers(team_ids: Iterable[int]) -> list[Transfers]:
    """Of the teams' last thousand, by direction."""
    found = {event: Transfers(direction) for event, direction in _EVENTS.items()}
    reports = TransferReport.objects.filter(team_id__in=list(team_ids), event__in=found)
    for event, metrics in reports.order_by("-at").values_list("event", "metrics")[:_LOOKED_AT]:
        one = found[event]
        one.count += 1
        one.size += _number(metrics.get("total_bytes_completed"))
        one.moved += _number(metrics.get("transfer_bytes_completed"))
    return [one for one in found.values() if one.count]


def _number(value: object) -> int:
    """Reports come from outside: whatever is no count of bytes counts as nothing."""
    return value if isinstance(value, int) and 0 <= value < _TOO_MANY else 0
