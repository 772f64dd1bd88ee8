"""What was measured of versions, and what they say of pictures: `client.evaluations`."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from steelyard.transport import Transport
from steelyard_contracts.evaluation import EvaluationComparison, EvaluationDetail, EvaluationView
from steelyard_contracts.refs import Ref, parse_ref


class Evaluations:
    """hub.evaluations.of("team/reader@v5"); hub.evaluations.compare("team/reader@v4", "team/reader@v5")."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def of(self, ref: str | Ref) -> Iterator[EvaluationView]:
        """Of a version, newest first."""
        return (EvaluationView.model_validate(item) for item in self._transport.items(_home(ref)))

    def detail(self, ref: str | Ref, number: int) -> EvaluationDetail:
        """With its classes, confusion, curves, calibration and worst pictures."""
        return self._transport.get(EvaluationDetail, f"{_home(ref)}/{number}")

    def compare(self, *refs: str | Ref) -> EvaluationComparison:
        """The newest evaluations of two to eight versions on the same data, each held against the first."""
        return self._transport.get(EvaluationComparison, "/api/v1/evaluations/compare", ref=[str(ref) for ref in refs])


def _home(ref: str | Ref) -> str:
    one = parse_ref(ref) if isinstance(ref, str) else ref
    revision = quote(one.revision_or_default, safe="")
    return f"/api/v1/{one.kind.plural}/{one.repository}/versions/{revision}/evaluations"
