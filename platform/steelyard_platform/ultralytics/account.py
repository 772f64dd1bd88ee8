"""Who the token speaks for, and what is theirs."""

from __future__ import annotations

from django.db.models import Q
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.models import Team, Token, User
from steelyard_platform.accounts.services import team_named
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.run_facts import RUN
from steelyard_platform.repos.queries import visible_repositories
from steelyard_platform.repos.usage import usage_by_repository, usage_of
from steelyard_platform.ultralytics.http import facade_view, signed_in, text_of
from steelyard_platform.ultralytics.records import DELETED, moment
from steelyard_platform.ultralytics.starts import own_namespace

_MOST_KEYS = 200
_LARGEST = 10


def _summary(request: HttpRequest) -> HttpResponseBase:
    """The namespace that the token stands for, and what it holds. Nothing here is for sale."""
    actor = signed_in(request)
    name = own_namespace(actor)
    mine = visible_repositories(actor).filter(team__name__iexact=name)
    team = Team.objects.filter(name__iexact=name).first()
    models = Job.objects.filter(kind=RUN, run__project__in=mine).exclude(run__tags__has_key=DELETED)
    return JsonResponse(
        {
            "username": name,
            "name": name,
            "accountType": "personal" if team is None or team.is_personal else "team",
            "plan": "enterprise",
            "creditsCents": 0,
            "counts": {
                "projects": mine.filter(kind=RepositoryKind.MODEL).count(),
                "datasets": mine.filter(kind=RepositoryKind.DATASET).count(),
                "models": models.count(),
            },
        }
    )


def _keys(request: HttpRequest) -> HttpResponseBase:
    """The person's tokens that are valid; of each its first letters alone."""
    actor = signed_in(request)
    valid = Token.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)
    mine = valid.filter(user=actor.user_id) if actor.user_id else valid.filter(pk=actor.token_id)
    keys = [
        {"keyId": str(token.pk), "name": token.name, "keyPrefix": token.hint, "createdAt": moment(token.created_at)}
        for token in mine.order_by("-created_at")[:_MOST_KEYS]
    ]
    return JsonResponse({"keys": keys})


def _storage(request: HttpRequest) -> HttpResponseBase:
    """Bytes as they are stored; there is no limit but the disk's."""
    actor = signed_in(request)
    name = own_namespace(actor)
    mine = visible_repositories(actor).filter(team__name__iexact=name)
    used = {kind: usage_of(mine.filter(kind=kind)).stored for kind in RepositoryKind}
    counts = {kind: mine.filter(kind=kind).count() for kind in RepositoryKind}
    categories = {kind.plural: {"bytes": used[kind], "count": counts[kind]} for kind in RepositoryKind}
    breakdown: dict[str, object] = {"byCategory": {**categories, "exports": {"bytes": 0, "count": 0}}, "topItems": []}
    if request.GET.get("details") == "true":
        rows = usage_by_repository(mine.order_by("-updated_at")[: _LARGEST * 10])
        largest = sorted(rows, key=lambda row: -row[1].stored)[:_LARGEST]
        breakdown["topItems"] = [
            {"_id": str(one.pk), "name": one.name, "slug": one.name, "sizeBytes": usage.stored, "type": one.kind}
            for one, usage in largest
        ]
    usage = {"storage": {"current": sum(used.values()), "limit": 0, "percent": 0}}
    return JsonResponse({"tier": "enterprise", "usage": usage, "breakdown": breakdown, "username": name})


def _profile(request: HttpRequest) -> HttpResponseBase:
    signed_in(request)
    name = text_of(request.GET.dict(), "username")
    team = team_named(name)
    user = User.objects.filter(username__iexact=name).first() if team.is_personal else None
    if team.is_personal and user is None:
        raise NotFoundError(f"There is no user {name}.")
    kind = "personal" if team.is_personal else "team"
    return JsonResponse({"user": {"username": team.name, "accountType": kind, "followerCount": 0, "isFollowed": False}})


summary = facade_view(get=_summary)
keys = facade_view(get=_keys)
storage = facade_view(get=_storage)
profile = facade_view(get=_profile)
