"""The page of the workers: who sees which machine, and who may do what about it."""

from __future__ import annotations

import re

import pytest

from steelyard_contracts.workers import Beat, Capabilities, Gpu, Load, Registration
from steelyard_platform.accounts.permissions import Role, Scope
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user, issue_token
from steelyard_platform.jobs import workers
from steelyard_platform.jobs.models import Worker
from tests.support.factories import make_user

pytestmark = pytest.mark.django_db


def start(team, name):
    _, secret = issue_token(name=name, scope=Scope.WORKER, team=team)
    actor = actor_for_secret(secret)
    has = Capabilities(cores=8, memory_gb=64, gpus=[Gpu(name="Tesla T4", memory_gb=16)], versions={"torch": "2.13.0"})
    place = workers.register_worker(registration=Registration(name=name, host="h", capabilities=has), actor=actor)
    workers.beat(worker_id=place.id, actor=actor, sign=Beat(load=Load(cpu=0.42, gpu=0.9)))
    return place, actor


def test_a_member_sees_the_teams_machines_and_a_stranger_none_of_them(client, owner, team):
    start(team, "bench-7")
    start(None, "shared")
    client.force_login(owner)
    said = client.get("/workers").content.decode()
    for words in ("bench-7", "shared", "gpu:t4", "Tesla T4", "42%", "90%", "torch 2.13.0", f"Tokens of {team}"):
        assert words in said
    assert "bench-7" in client.get("/workers/live").content.decode()
    client.force_login(make_user())
    said = client.get("/workers").content.decode()
    assert "bench-7" not in said
    assert "shared" in said


def test_a_token_is_shown_once_and_revoked(client, owner, team):
    client.force_login(owner)
    said = client.post(f"/workers/tokens/{team}", {"name": "rented", "days": "30"}).content.decode()
    (secret,) = set(re.findall(r"sy_[\w-]{20,}", said))
    place = workers.register_worker(
        registration=Registration(name="rented", host="h", capabilities=Capabilities()), actor=actor_for_secret(secret)
    )
    again = client.get("/workers").content.decode()
    assert secret not in again
    (number,) = re.findall(rf"/workers/tokens/{team}/(\d+)/revoke", again)
    assert client.post(f"/workers/tokens/{team}/{number}/revoke").status_code == 302
    assert Worker.objects.get(pk=place.id).stopped_at is not None
    assert "None yet" in client.get("/workers").content.decode()


def test_maintainers_drain_and_forget_and_others_do_not(client, owner, team):
    place, actor = start(team, "bench")
    member = make_user()
    set_role(team=team, username=member.username, role=Role.CONTRIBUTOR, actor=actor_for_user(owner))
    client.force_login(member)
    assert f"/workers/{place.id}/drain" not in client.get("/workers").content.decode()
    assert client.post(f"/workers/{place.id}/drain").status_code == 403
    assert client.post(f"/workers/tokens/{team}", {"name": "mine"}).status_code == 403
    client.force_login(owner)
    client.post(f"/workers/{place.id}/drain")
    assert f"/workers/{place.id}/undrain" in client.get("/workers/live").content.decode()
    client.post(f"/workers/{place.id}/undrain")
    assert client.post(f"/workers/{place.id}/forget").status_code == 409
    workers.leave(worker_id=place.id, actor=actor)
    client.post(f"/workers/{place.id}/forget")
    assert not Worker.objects.exists()
    assert client.post(f"/workers/{place.id}/drain").status_code == 404
