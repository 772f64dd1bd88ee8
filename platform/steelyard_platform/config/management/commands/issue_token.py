"""`manage.py issue_token --scope worker --name compute-1`: a token, printed once, for machines and for emergencies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Team, User
from steelyard_platform.accounts.permissions import OPERATOR, Scope
from steelyard_platform.accounts.tokens import issue_token
from steelyard_platform.config.management.operators import OperatorCommand


class Command(OperatorCommand):
    help = "Prints a new token: a worker's, or one that speaks for --user."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True, help="what it is for, for people to read")
        parser.add_argument("--scope", required=True, choices=["read", "write", "admin", "worker"])
        parser.add_argument("--user", help="whom it speaks for; a worker's token needs none")
        parser.add_argument("--team", help="whose jobs a worker may do; without it, every team's")
        parser.add_argument("--days", type=int, help="days until it expires; never when not given")

    def handle(self, **options: Any) -> None:
        scope = Scope(options["scope"])
        user = User.objects.filter(username=options["user"]).first() if options["user"] else None
        if user is None and scope is not Scope.WORKER:
            raise CommandError(f"A token with the scope {scope} speaks for a person: name one with --user.")
        team = _team(options["team"], scope)
        valid_for = timedelta(days=options["days"]) if options["days"] else None
        token, secret = issue_token(name=options["name"], scope=scope, user=user, team=team, valid_for=valid_for)
        audit.record(OPERATOR, "issue token", str(user or team or "worker"), name=token.name, scope=scope)
        self.stdout.write(secret)


def _team(name: str | None, scope: Scope) -> Team | None:
    """Raises: CommandError."""
    if name is None:
        return None
    if scope is not Scope.WORKER:
        raise CommandError("Only a worker's token is a team's; other tokens speak for a person.")
    team = Team.objects.filter(name__iexact=name).first()
    if team is None:
        raise CommandError(f"There is no team {name}.")
    return team
