"""A job that is being trained, in an installation of its own: prints its id, its worker's token and a reader's."""

from __future__ import annotations

import json
import os
import sys

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "steelyard_platform.config.settings")  # noqa: TID251 - as manage.py does
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    from steelyard_contracts.refs import RepositoryKind
    from steelyard_contracts.training import TrainSpec
    from steelyard_platform.accounts.permissions import Actor, Scope
    from steelyard_platform.accounts.tokens import actor_for_user
    from steelyard_platform.jobs import services
    from tests.support.factories import make_repository, make_team, make_user, picture_dataset, token_for

    owner = make_user("ada")
    team = make_team(owner, "lab")
    picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)
    spec = TrainSpec(dataset="lab/digits", output="lab/reader")
    job = services.request_job(spec=spec, actor=actor_for_user(owner))
    claim = services.claim_job(job_id=job.pk, worker="benchmark", actor=Actor(name="worker", scope=Scope.WORKER))
    json.dump({"job": str(job.pk), "writer": claim.token, "reader": token_for(owner)}, sys.stdout)


if __name__ == "__main__":
    main()
