"""Who the token speaks for, and whether it may."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import AuthenticationError, NotFoundError, RepositoryNotFoundError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.models import Membership, Token, User
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.hub.http import hub_view
from steelyard_platform.repos.queries import find_repository


@hub_view("GET")
def whoami(request: HttpRequest) -> HttpResponseBase:
    actor = api_actor(request)
    if actor.is_anonymous:
        raise AuthenticationError("Invalid credentials in Authorization header")
    user = User.objects.filter(pk=actor.user_id).first() if actor.user_id else None
    token = Token.objects.filter(pk=actor.token_id).first()
    memberships = Membership.objects.filter(user_id=actor.user_id, team__is_personal=False).select_related("team")
    return JsonResponse(
        {
            "type": "user",
            "id": str(actor.user_id or actor.subject),
            "name": actor.name,
            "fullname": (user.get_full_name() if user else "") or actor.name,
            "email": user.email if user else "",
            "emailVerified": True,
            "canPay": False,
            "isPro": False,
            "orgs": [
                {
                    "type": "org",
                    "id": str(row.team_id),
                    "name": row.team.name,
                    "fullname": row.team.name,
                    "roleInOrg": row.role,
                }
                for row in memberships.order_by("team__name")
            ],
            "auth": {
                "type": "access_token",
                "accessToken": {"displayName": token.name if token else "session", "role": str(actor.scope)},
            },
        }
    )


@hub_view("GET")
def auth_check(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.READ)
    return HttpResponse(status=200)


@hub_view("GET")
def auth_check_write(request: HttpRequest, kind: RepositoryKind, namespace: str, name: str) -> HttpResponseBase:
    find_repository(api_actor(request), kind, f"{namespace}/{name}", Action.WRITE)
    return HttpResponse(status=200)


@hub_view("GET")
def agent_harnesses(request: HttpRequest) -> HttpResponseBase:  # noqa: ARG001 - Django's signature
    """Clients ask which environment variables name their caller; a team's hub does not want to know."""
    return JsonResponse({"standardEnvVars": [], "harnesses": {}})


@hub_view("GET")
def likes(request: HttpRequest, username: str) -> HttpResponseBase:
    """Clients list what somebody likes; nothing is liked here, but the person must exist."""
    api_actor(request)
    if not User.objects.filter(username__iexact=username).exists():
        raise NotFoundError(f"There is no user {username}.", username=username)
    return JsonResponse([], safe=False)


@hub_view("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
def without_namespace(request: HttpRequest, **_: str) -> HttpResponseBase:  # noqa: ARG001 - Django's signature
    """`gpt2` and the like exist on the public hub; here every repository has a namespace."""
    raise RepositoryNotFoundError("Repository not found: every name here is namespace/name.")


@hub_view("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
def unknown(request: HttpRequest) -> HttpResponseBase:
    """Clients parse every answer under /api as JSON, also this one."""
    return JsonResponse({"error": f"Steelyard does not answer {request.method} {request.path}."}, status=404)
