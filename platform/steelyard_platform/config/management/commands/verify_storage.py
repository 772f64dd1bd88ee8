"""`manage.py verify_storage --mb-per-second 50`: reads and hashes everything that is stored again.

Exits with 1 when something is damaged.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from steelyard_platform.config.management.operators import OperatorCommand
from steelyard_platform.repos.verification import touched_by, verify_storage
from steelyard_platform.storage.verification import Pace, Verification

_MB = 1_000_000
_TELL_EVERY = 500


class Command(OperatorCommand):
    help = "Reads and hashes everything that is stored; sets aside what is damaged and names the files it touches."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--mb-per-second", type=float, default=100.0, help="at most so many; 0 for no bound")

    def handle(self, **options: Any) -> None:
        rate = int(options["mb_per_second"] * _MB) or None
        found = Verification()
        for number, _ in enumerate(verify_storage(Pace(rate), found), start=1):
            if number % _TELL_EVERY == 0:
                self.stdout.write(f"{found.objects} objects, {found.bytes / _MB:.0f} MB so far")
        self.stdout.write(f"{found.objects} objects, {found.bytes} bytes: {len(found.damaged)} damaged")
        for damage in found.damaged:
            self.stdout.write(f"{damage.key}: {damage.reason}")
            for file in touched_by(damage):
                self.stdout.write(f"    {file}")
        if found.damaged:
            self.stdout.write("Push the named files again from a copy that is whole: that puts the objects right.")
            raise SystemExit(1)
