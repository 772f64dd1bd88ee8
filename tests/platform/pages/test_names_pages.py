"""The pages of names and promotions: what one sees there, and what their forms do."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from steelyard_contracts.manifests import KNOWN_ANSWERS_FILE, MODEL_FILE
from steelyard_platform.accounts.permissions import Role
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.fleet.models import Rollout
from steelyard_platform.fleet.services import create_release
from steelyard_platform.repos.models import Alias
from steelyard_platform.weights.models import GateRule, Promotion
from steelyard_platform.weights.services import add_gate
from tests.support.factories import commit_files, make_repository, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(owner, team):
    repository = make_repository(team, owner, "reader")
    for data in (b"1", b"2"):
        commit_files(repository, owner, {"w": data})
    return repository


@pytest.fixture
def author(owner, team):
    user = make_user()
    set_role(team=team, username=user.username, role=Role.CONTRIBUTOR, actor=actor_for_user(owner))
    return user


@pytest.fixture
def read(client, model):
    return lambda path: client.get(f"/{model}{path}").content.decode()


@pytest.fixture
def post(client, model):
    return lambda path, **fields: client.post(f"/{model}{path}", fields)


def test_names_their_history_and_what_was_overridden(client, read, post, model, owner, author):
    add_gate(repository=model, text="size_mb <= 0", applies_to="production", actor=actor_for_user(owner))
    client.force_login(author)
    refused = post("/versions/v1/promote", alias="production", reason="<b>now</b>")
    assert refused.status_code == 409
    assert "size_mb &lt;= 0" in refused.content.decode()
    assert post("/versions/v1/promote", alias="production", reason="now", override="on").status_code == 403
    assert "Override gates" not in read("/versions/v1")
    client.force_login(owner)
    assert "Override gates" in read("/versions/v1")
    assert post("/versions/v1/promote", alias="production", reason="<b>now</b>", override="on").status_code == 302
    page = read("/names")
    assert "&lt;b&gt;now&lt;/b&gt;" in page
    assert "it weighs 1e-06 MB; at most 0 is asked" in page
    assert "overridden" in page


def test_protected_and_deleted_by_forms(client, read, post, model, owner, author):
    client.force_login(owner)
    post("/versions/v1/promote", alias="production", reason="")
    post("/names/protect", alias="production")
    assert Alias.objects.get().is_protected
    client.force_login(author)
    assert "Delete production" not in read("/names")
    assert post("/names/delete", alias="production").status_code == 403
    client.force_login(owner)
    assert post("/names/delete", alias="production", reason="over").status_code == 302
    assert "over" in read("/names?alias=production")
    assert post("/names/sell", alias="production").status_code == 404


def test_gates_are_added_and_removed_by_forms(client, read, post, model, owner, author):
    client.force_login(author)
    assert post("/names/gates/add", rule="size_mb <= 1").status_code == 403
    client.force_login(owner)
    assert post("/names/gates/add", rule="size_mb <= 1", applies_to="").status_code == 302
    assert post("/names/gates/add", rule="beautiful").status_code == 400
    assert "size_mb &lt;= 1" in read("/names")
    assert post("/names/gates/remove", gate=str(GateRule.objects.get().pk)).status_code == 302
    assert post("/names/gates/remove", gate="x").status_code == 404
    assert not GateRule.objects.exists()


def test_asked_approved_and_carried_out_on_pages(client, read, post, model, owner, author):
    add_gate(repository=model, text="approved by 1 maintainer", applies_to="*", actor=actor_for_user(owner))
    client.force_login(author)
    answer = post("/promotions/ask", revision="v2", target="production", words="better <i>by far</i>")
    assert answer.headers["Location"] == f"/{model}/promotions/1"
    page = read("/promotions/1")
    assert "better &lt;i&gt;by far&lt;/i&gt;" in page
    assert "no maintainer has approved it; 1 approval is asked" in page
    assert "Approve</button>" not in page
    assert "A gate refuses." in page
    assert post("/promotions/1/carry-out").status_code == 409
    client.force_login(owner)
    assert "Approve</button>" in read("/promotions/1")
    assert post("/promotions/1/approve", seen="v1").status_code == 409
    assert post("/promotions/1/approve", seen="v2", words="fine").status_code == 302
    client.force_login(author)
    assert "Move production to v2" in read("/promotions/1")
    assert post("/promotions/1/carry-out").status_code == 302
    assert "promotions/1" not in read("/promotions")
    assert "promotions/1" in read("/promotions?state=carried_out")
    assert "promotion 1" in read("/names")
    assert "What the gates had said" in read("/promotions/1")


def test_changed_rejected_and_withdrawn_on_pages(client, read, post, model, owner, author):
    client.force_login(author)
    post("/promotions/ask", revision="v1", target="production")
    post("/promotions/1/change", revision="v2")
    assert "v2 as production" in read("/promotions/1")
    assert post("/promotions/1/withdraw").status_code == 302
    post("/promotions/ask", revision="v1", target="release")
    assert "steelyard release" in read("/promotions/2")
    client.force_login(owner)
    post("/promotions/2/reject", words="no")
    post("/promotions/2/comment", words="too late")
    assert [one.state for one in Promotion.objects.order_by("pk")] == ["withdrawn", "rejected"]


def test_who_may_not_see_the_repository_sees_none_of_it(client, read, model):
    client.force_login(make_user())
    for path in ("/names", "/promotions", "/promotions/1"):
        assert client.get(f"/{model}{path}").status_code == 404


def test_pages_cost_the_same_however_much_is_on_them(client, read, post, model, owner):
    client.force_login(owner)
    counts = []
    for number in range(3):
        post("/versions/v1/promote", alias=f"name{number}", reason="")
        post("/promotions/ask", revision="v2", target=f"name{number}")
        with CaptureQueriesContext(connection) as queries:
            read("/names")
            read("/promotions")
        counts.append(len(queries))
    assert len(set(counts)) == 1


def test_a_rollout_past_the_gates_says_so(client, owner, team):
    actor = actor_for_user(owner)
    version = commit_files(
        make_repository(team, owner, "shipped"), owner, {MODEL_FILE: b"1", KNOWN_ANSWERS_FILE: b"{}"}
    )
    add_gate(repository=version.repository, text="size_mb <= 0", applies_to="release", actor=actor)
    release = create_release(version=version, variant=None, reason="<recall>", override=True, actor=actor)
    rollout = Rollout.objects.create(team=team, release=release, created_by=owner.username)
    client.force_login(owner)
    page = client.get(f"/rollouts/{rollout.pk}").content.decode()
    assert "Released past its gates, because: &lt;recall&gt;" in page
    assert "at most 0 is asked" in page
