"""Deleting, restoring and expiry on the pages."""

from __future__ import annotations

import pytest

from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos import services
from steelyard_platform.repos.models import ExpiryRule, Repository, TrashItem
from steelyard_platform.repos.revisions import resolve
from tests.support.factories import commit_files, make_repository, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def repository(client, owner, team):
    client.force_login(owner)
    made = make_repository(team, owner, "reader", public=True)
    for number in range(3):
        commit_files(made, owner, {"w": b"%d" % number})
    return made


def text(client, address, status=200):
    answer = client.get(address)
    assert answer.status_code == status, answer.content
    return " ".join(answer.content.decode().split())


def test_a_version_is_deleted_after_its_consequences_were_shown(client, repository, owner):
    assert f"/{repository}/versions/v2/delete" in text(client, f"/{repository}/versions/v2")
    shown = text(client, f"/{repository}/versions/v2/delete")
    assert f"{repository}@v2 (1 version) goes to the trash, and can be restored until" in shown
    assert "<button" in shown.partition("<main>")[2]
    assert client.post(f"/{repository}/versions/v2/delete").status_code == 302
    assert f"{repository}@v2" in text(client, "/trash")
    assert client.post(f"/trash/{TrashItem.objects.get().pk}/restore").headers["Location"] == f"/{repository}/versions"
    assert "Nothing is in the trash" in text(client, "/trash")


def test_where_something_stands_in_the_way_there_is_no_button(client, repository, owner):
    actor = actor_for_user(owner)
    services.create_tag(repository=repository, name="best", at=resolve(repository, "v1"), message="", actor=actor)
    shown = text(client, f"/{repository}/versions/v1/delete").partition("<main>")[2]
    assert "the tag &#x27;best&#x27; stands on v1" in shown
    assert "in the way" in shown
    assert "<button" not in shown
    assert client.post(f"/{repository}/versions/v1/delete").status_code == 409


def test_a_repository_is_deleted_and_restored_under_another_name(client, repository, owner, team):
    assert f"/{repository}/delete" in text(client, f"/{repository}/storage")
    assert "(3 versions) goes to the trash" in text(client, f"/{repository}/delete")
    assert client.post(f"/{repository}/delete").headers["Location"] == "/trash"
    assert "reader" not in text(client, "/models")
    make_repository(team, owner, "reader")
    item = TrashItem.objects.get().pk
    assert client.post(f"/trash/{item}/restore").status_code == 409
    assert client.post(f"/trash/{item}/restore", {"name": "old"}).status_code == 302
    assert "v3" in text(client, f"/{team}/old/versions")


def test_the_trash_is_emptied_by_hand(client, repository):
    client.post(f"/{repository}/delete")
    assert client.post(f"/trash/{TrashItem.objects.get().pk}/empty").status_code == 302
    assert not Repository.everything.exists()


def test_what_is_in_the_trash_is_not_counted(client, repository):
    client.post(f"/{repository}/versions/v2/delete")
    assert 'Versions <span class="pill">2</span>' in text(client, f"/{repository}")
    for address in ("/", "/models"):
        assert "2 versions" in text(client, address)


def test_a_rule_is_tried_kept_and_removed(client, repository):
    address = f"/{repository}/expiry"
    assert "No rule: every version stays." in text(client, address)
    tried = text(client, f"{address}?keep_last=1&older_than_days=")
    assert "The rule would expire 2 versions, " in tried
    assert "They would go to the trash." in tried
    spared = text(client, f"{address}?keep_last=3&older_than_days=")
    assert "The rule would expire nothing now.</div>" in spared
    assert client.post(address, {"keep_last": "1", "older_than_days": "0"}).status_code == 302
    assert "The newest 1 of each branch stay" in text(client, address)
    assert "Expiry: the last 1 stay" in text(client, f"/{repository}/storage")
    assert client.post(address, {"remove": "1"}).status_code == 302
    assert not ExpiryRule.objects.exists()
    for nonsense in ("keep_last=", "keep_last=0", "keep_last=-1", "keep_last=1&older_than_days=x", "keep_last=9e9"):
        text(client, f"{address}?{nonsense}", 400)


def test_whoever_may_not_sees_none_of_it(client, repository):
    client.post(f"/{repository}/versions/v1/delete")
    client.force_login(make_user())
    for address in (f"/{repository}/delete", f"/{repository}/versions/v2/delete", f"/{repository}/expiry"):
        text(client, address, 403)
        assert client.post(address).status_code == 403
    assert "Nothing is in the trash" in text(client, "/trash")
    shown = text(client, f"/{repository}/storage")
    assert "Delete this model" not in shown
    assert ">0 B</b><span>more, for the" in shown
    item = TrashItem.objects.get().pk
    assert client.post(f"/trash/{item}/restore").status_code == 404
    assert client.post(f"/trash/{item}/empty").status_code == 404
    client.logout()
    assert client.get("/trash").status_code == 302
