"""The quarantine of a version: seeing why, lifting it with a reason, putting it back."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Field, Router, Schema

from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_contracts.weights import FindingView, LiftView, QuarantineView
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.repos import addresses  # noqa: F401 - addresses registers the converter
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.weights import quarantine
from steelyard_platform.weights.models import QuarantineLift

router = Router(tags=["quarantine"])
_QUARANTINE = "/models/{namespace}/{name}/versions/{segment:revision}/quarantine"
_SHOWN = 50


class ReasonRequest(Schema):
    reason: str = Field(min_length=1, max_length=500)


@router.get(_QUARANTINE, response=QuarantineView)
def get_quarantine(request: HttpRequest, namespace: str, name: str, revision: str) -> QuarantineView:
    """Whether the version's files may be downloaded, and what is dangerous in them."""
    return _view(_find(request, namespace, name, revision))


@router.post(f"{_QUARANTINE}/lift", response=QuarantineView)
def lift(request: HttpRequest, namespace: str, name: str, revision: str, body: ReasonRequest) -> QuarantineView:
    """Lets the version go out with the dangers that are known now. For maintainers; audited."""
    version = _find(request, namespace, name, revision)
    quarantine.lift(version=version, reason=body.reason, actor=api_actor(request))
    return _view(version)


@router.post(f"{_QUARANTINE}/put-back", response=QuarantineView)
def put_back(request: HttpRequest, namespace: str, name: str, revision: str, body: ReasonRequest) -> QuarantineView:
    version = _find(request, namespace, name, revision)
    quarantine.put_back(version=version, reason=body.reason, actor=api_actor(request))
    return _view(version)


def _find(request: HttpRequest, namespace: str, name: str, revision: str) -> Version:
    return find_existing_version(api_actor(request), Ref(RepositoryKind.MODEL, namespace, name, revision), Action.SEE)


def _view(version: Version) -> QuarantineView:
    found = quarantine.quarantine_of(version)
    return QuarantineView(
        version=version.label,
        state=found.state,
        findings=[
            FindingView(path=danger.path, **finding.model_dump())
            for danger in found.dangers
            for finding in danger.findings
        ],
        history=[_lift(row) for row in quarantine.history_of(version)[:_SHOWN]],
    )


def _lift(row: QuarantineLift) -> LiftView:
    return LiftView(
        reason=row.reason,
        lifted_by=row.lifted_by,
        lifted_at=row.lifted_at,
        ended_by=row.ended_by or None,
        ended_reason=row.ended_reason or None,
        ended_at=row.ended_at,
    )
