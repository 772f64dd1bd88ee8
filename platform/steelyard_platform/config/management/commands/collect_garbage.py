"""`manage.py collect_garbage --dry-run`: frees what no version of any repository holds, or says what would go.

What is in the trash is held, and is said too.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import OPERATOR
from steelyard_platform.config.management.operators import OperatorCommand
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.trash import in_words


class Command(OperatorCommand):
    help = "Frees what no version of any repository has held for the grace period."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only say what would go")
        parser.add_argument(
            "--unknown-objects",
            action="store_true",
            help="also objects that this database never heard of; not where it was lost, or shares its bucket",
        )
        parser.add_argument("--grace-hours", type=float, help="instead of STEELYARD_GARBAGE_GRACE_HOURS")

    def handle(self, **options: Any) -> None:
        hours = options["grace_hours"]
        if hours is None:
            hours = settings.ENVIRONMENT.garbage_grace_hours
        if hours < 0:
            raise CommandError("--grace-hours cannot be negative.")
        found = collect_garbage(timedelta(hours=hours), dry_run=options["dry_run"], unknown=options["unknown_objects"])
        if not options["dry_run"]:
            audit.record(OPERATOR, "collect garbage", "storage", freed=str(found))
        self.stdout.write(f"{'would free' if options['dry_run'] else 'freed'}: {found}")
        if (waiting := in_words()) is not None:
            self.stdout.write(waiting)
