"""`manage.py issue_token --scope worker --name compute-1`: a token, printed once, for machines and for emergencies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import User
from steelyard_platform.accounts.permissions import OPERATOR, Scope
from steelyard_platform.accounts.tokens import issue_token


class Command(BaseCommand):
    help = "Prints a new token: a worker's, or one that speaks for --user."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", required=True, help="what it is for, for people to read")
        parser.add_argument("--scope", required=True, choices=["read", "write", "admin", "worker"])
        parser.add_argument("--user", help="whom it speaks for; a worker's token needs none")
        parser.add_argument("--days", type=int, help="days until it expires; never when not given")

    def handle(self, **options: Any) -> None:
        scope = Scope(options["scope"])
        user = User.objects.filter(username=options["user"]).first() if options["user"] else None
        if user is None and scope is not Scope.WORKER:
            raise CommandError(f"A token with the scope {scope} speaks for a person: name one with --user.")
        valid_for = timedelta(days=options["days"]) if options["days"] else None
        token, secret = issue_token(name=options["name"], scope=scope, user=user, valid_for=valid_for)
        audit.record(OPERATOR, "issue token", str(user or "worker"), name=token.name, scope=scope)
        self.stdout.write(secret)
