"""What the commands of operators have in common."""

from __future__ import annotations

from django.core.management.base import BaseCommand


class OperatorCommand(BaseCommand):
    """Begins at once: Django's checks are of the code, and load every page; the tests see to them."""

    requires_system_checks = ()
