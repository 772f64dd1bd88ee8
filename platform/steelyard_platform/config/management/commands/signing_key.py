"""`manage.py signing_key create|rotate|list|revoke`: the keys that sign versions and releases."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from steelyard_contracts.errors import SteelyardError
from steelyard_platform.accounts.permissions import OPERATOR
from steelyard_platform.config.management.operators import OperatorCommand
from steelyard_platform.weights import keyring, signing


class Command(OperatorCommand):
    help = "Makes, replaces, lists and revokes the keys that sign versions and releases."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("create", help="make the first key, which otherwise the first start does")
        verbs.add_parser("rotate", help="sign with a new key; what the former one signed stays valid")
        verbs.add_parser("list", help="every key there ever was, oldest first")
        revoke = verbs.add_parser("revoke", help="nothing that the key signed is valid any more")
        revoke.add_argument("key", help="its id, or the beginning of it")
        revoke.add_argument("--reason", required=True, help="why, for whoever verifies an old signature")

    def handle(self, **options: Any) -> None:
        try:
            match options["verb"]:
                case "create":
                    self._show(signing.create_key(actor=OPERATOR))
                case "rotate":
                    self._show(signing.rotate_key(actor=OPERATOR))
                case "list":
                    for key in keyring.all_keys():
                        self._show(key)
                case "revoke":
                    self._show(signing.revoke_key(key_id=options["key"], reason=options["reason"], actor=OPERATOR))
        except SteelyardError as error:
            raise CommandError(str(error)) from error

    def _show(self, key: keyring.SigningKey) -> None:
        until = f" until {key.valid_until:%Y-%m-%d %H:%M}" if key.valid_until else ""
        why = f" ({key.reason})" if key.reason else ""
        held = key.file or "held by the backend"
        line = f"{key.key_id[:16]}  {key.state}{why}  from {key.valid_from:%Y-%m-%d %H:%M}{until}  {held}"
        self.stdout.write(line)
