"""The pages of a gated repository: asking, and deciding."""

from __future__ import annotations

import pytest

from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.admission import set_gate
from steelyard_platform.repos.models import AccessRequest, Gate
from steelyard_platform.repos.services import set_visibility
from tests.support.factories import commit_files, make_repository, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def gated(owner):
    repository = make_repository(make_team(owner), owner, "reader")
    commit_files(repository, owner, {"README.md": b"# Ask first", "w": b"1"})
    set_visibility(repository=repository, public=True, actor=actor_for_user(owner))
    set_gate(repository=repository, gate=Gate.MANUAL, actor=actor_for_user(owner))
    return repository


def read(client, path):
    return client.get(path).content.decode()


def test_a_visitor_sees_the_card_and_is_told_to_ask(client, gated):
    client.force_login(make_user())
    page = read(client, f"/{gated}")
    assert "Ask first" in page
    assert "Ask for access" in page
    assert client.get(f"/{gated}/resolve/main/w").status_code == 403


def test_asked_for_and_accepted_on_the_page(client, gated, owner):
    visitor = make_user()
    client.force_login(visitor)
    assert client.post(f"/{gated}/access/ask", {"reason": "a <b>school</b>"}).status_code == 302
    assert "Your request is pending." in read(client, f"/{gated}/access")
    assert client.post(f"/{gated}/access/decide", {"user": visitor.username, "state": "accepted"}).status_code == 403
    client.force_login(owner)
    page = read(client, f"/{gated}/access")
    assert "reason: a &lt;b&gt;school&lt;/b&gt;" in page
    assert client.post(f"/{gated}/access/decide", {"user": visitor.username, "state": "accepted"}).status_code == 302
    assert AccessRequest.objects.get().state == "accepted"
    client.force_login(visitor)
    assert "Ask for access" not in read(client, f"/{gated}")
    assert client.get(f"/{gated}/resolve/main/w").status_code == 200


def test_who_asked_is_shown_to_those_who_manage_it_alone(client, gated):
    asker = make_user("asker-of-things")
    client.force_login(asker)
    client.post(f"/{gated}/access/ask")
    client.force_login(make_user())
    assert "asker-of-things" not in read(client, f"/{gated}/access")
    client.logout()
    assert client.get(f"/{gated}/access").status_code == 302
