"""`manage.py index_search`: reads every card and every measure again into what search looks through."""

from __future__ import annotations

from typing import Any

from steelyard_contracts.errors import SteelyardError
from steelyard_platform.config.management.operators import OperatorCommand
from steelyard_platform.repos.models import Repository
from steelyard_platform.weights.search import index_again

_TELL_EVERY = 500


class Command(OperatorCommand):
    help = "Writes again what repositories are found by, all at once; after an update, a light job does so by and by."

    def handle(self, **_: Any) -> None:
        done = 0
        for repository in Repository.objects.select_related("team").iterator(chunk_size=_TELL_EVERY):
            try:
                index_again(repository)
            except (SteelyardError, OSError) as error:
                self.stderr.write(f"{repository.full_name}: {error}")
                continue
            done += 1
            if done % _TELL_EVERY == 0:
                self.stdout.write(f"{done} repositories so far")
        self.stdout.write(f"{done} repositories can be found by what their cards say now.")
