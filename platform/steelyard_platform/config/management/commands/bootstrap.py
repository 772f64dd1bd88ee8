"""`manage.py bootstrap --user U --team T --print-token`: the first person, team and token of an installation."""

from __future__ import annotations

import secrets
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandParser

from steelyard_contracts.errors import SteelyardError
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Team, User
from steelyard_platform.accounts.permissions import OPERATOR, Role, Scope
from steelyard_platform.accounts.services import create_team, create_user, set_role
from steelyard_platform.accounts.tokens import issue_token
from steelyard_platform.config.management.operators import OperatorCommand


class Command(OperatorCommand):
    help = "Makes the first user and team, unless they exist, and prints a token with the scope 'write'."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="name of the user, an administrator of the installation")
        parser.add_argument("--team", help="a team for them to administer")
        parser.add_argument(
            "--password", help="their password for the dashboard; one is made and printed if none is given"
        )
        parser.add_argument("--print-token", action="store_true", help="print a new token as the last line")

    def handle(self, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        try:
            user = self._user(options["user"], options["password"])
            if options["team"]:
                self._join(options["team"], user)
        except SteelyardError as error:
            self.stderr.write(str(error))
            raise SystemExit(1) from error
        if options["print_token"]:
            _, secret = issue_token(name="bootstrap", scope=Scope.WRITE, user=user)
            audit.record(OPERATOR, "issue token", user.username, name="bootstrap", scope=Scope.WRITE)
            self.stdout.write(secret)

    def _join(self, name: str, user: User) -> None:
        """Makes the team, or the user an administrator of the one that is there."""
        team = Team.objects.filter(name__iexact=name).first()
        if team is None:
            create_team(name=name, owner=user, actor=OPERATOR)
        elif not team.memberships.filter(user=user).exists():
            set_role(team=team, username=user.username, role=Role.ADMINISTRATOR, actor=OPERATOR)

    def _user(self, username: str, password: str | None) -> User:
        known = User.objects.filter(username=username).first()
        if known is not None:
            return known
        chosen = password or secrets.token_urlsafe(12)
        user = create_user(username=username, password=chosen, actor=OPERATOR, is_superuser=True)
        if password is None:
            self.stdout.write(f"password of {username}: {chosen}")
        return user
