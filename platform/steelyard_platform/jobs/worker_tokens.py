"""Tokens that workers register and claim with: one team's, shown once, revoked at once.

Whoever holds one may do the team's jobs, and so read and write what those jobs name. It opens nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.workers import WorkerTokenRequest, WorkerTokenView
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Team, Token
from steelyard_platform.accounts.permissions import Action, Actor, Scope, demand
from steelyard_platform.accounts.tokens import issue_token, revoke_token
from steelyard_platform.jobs.models import Job, Worker

_SHOWN = 500


@transaction.atomic
def issue_worker_token(*, team: Team, request: WorkerTokenRequest, actor: Actor) -> tuple[Token, str]:
    """The row and the secret, which is never seen again. Raises: ForbiddenError."""
    demand(actor, Action.ADMINISTER, team.resource)
    lifetime = timedelta(days=request.days) if request.days else None
    token, secret = issue_token(name=request.name[:100], scope=Scope.WORKER, team=team, valid_for=lifetime)
    audit.record(actor, "issue worker token", team.name, name=token.name)
    return token, secret


def worker_tokens(team: Team, actor: Actor) -> QuerySet[Token]:
    """Those that still open something. Raises: ForbiddenError."""
    demand(actor, Action.ADMINISTER, team.resource)
    return Token.objects.filter(team=team, scope=Scope.WORKER, revoked_at=None)


@transaction.atomic
def revoke_worker_token(*, team: Team, token_id: int, actor: Actor) -> None:
    """Its workers register and claim nothing any more, and lose at once the jobs that they are at.

    Raises: ForbiddenError, NotFoundError.
    """
    token = worker_tokens(team, actor).filter(pk=token_id).first()
    if token is None:
        raise NotFoundError(f"The team {team.name} has no such worker's token.", token=token_id)
    revoke_token(token)
    _end_leases(token)
    audit.record(actor, "revoke worker token", team.name, name=token.name)


def _end_leases(token: Token) -> None:
    """The reaper queues those jobs again; until then nobody writes to them."""
    now = timezone.now()
    held = Worker.objects.filter(token=token, job__isnull=False).values_list("job", flat=True)
    at_work = [state for state in JobState if state.is_held]
    jobs = Job.objects.select_related("token").filter(pk__in=list(held), state__in=at_work)
    for job in jobs:
        if job.token is None:
            continue
        revoke_token(job.token)
        Job.objects.filter(pk=job.pk, token=job.token).update(lease_expires_at=now - timedelta(seconds=1))
    Worker.objects.filter(token=token).update(stopped_at=now, job=None)


def token_view(token: Token) -> WorkerTokenView:
    return WorkerTokenView(
        id=token.pk,
        name=token.name,
        hint=token.hint,
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
    )


def tokens_of(teams: Sequence[Team], actor: Actor) -> dict[int, list[Token]]:
    """Of several teams at once, the newest first: team id -> its tokens. Raises: ForbiddenError."""
    for team in teams:
        demand(actor, Action.ADMINISTER, team.resource)
    found: dict[int, list[Token]] = {team.pk: [] for team in teams}
    rows = Token.objects.filter(team__in=teams, scope=Scope.WORKER, revoked_at=None).order_by("-created_at")
    for token in rows[:_SHOWN]:
        if token.team_id is not None:
            found[token.team_id].append(token)
    return found
