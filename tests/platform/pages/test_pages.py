"""The dashboard without a browser: who sees what, and errors as pages."""

from __future__ import annotations

import pytest

from steelyard_platform.pages.markdown import card_html
from tests.support.factories import commit_files, make_repository, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner():
    user = make_user()
    user.set_password("a long enough password")
    user.save()
    return user


@pytest.fixture
def repository(owner):
    return make_repository(make_team(owner), owner, "reader")


def test_a_stranger_is_asked_to_sign_in_and_led_back(client, repository, owner):
    answer = client.get(f"/{repository}")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/login?next=/{repository}")
    data = {"username": owner.username, "password": "a long enough password", "next": f"/{repository}"}
    assert client.post("/login", data).headers["Location"] == f"/{repository}"
    assert client.get(f"/{repository}").status_code == 200


def test_a_wrong_password_says_so_and_after_many_the_door_is_shut(client, owner):
    for _ in range(10):
        answer = client.post("/login", {"username": owner.username, "password": "wrong"})
        assert "do not belong together" in answer.content.decode()
    answer = client.post("/login", {"username": owner.username, "password": "a long enough password"})
    assert "Too many tries" in answer.content.decode()


def test_a_form_from_another_site_is_refused(repository, owner):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x"}):
        answer = client.post(f"/{repository}/versions/v1/promote", {"alias": "production"}, headers=headers)
        assert answer.status_code == 403


def test_signing_in_leads_to_no_other_host(client, owner):
    data = {"username": owner.username, "password": "a long enough password", "next": "https://elsewhere.example/"}
    assert client.post("/login", data).headers["Location"] == "/"


def test_a_token_opens_no_page_and_makes_no_stronger_one(client, owner):
    from steelyard_platform.accounts.permissions import Scope
    from tests.support.factories import token_for

    headers = {"Authorization": f"Bearer {token_for(owner, Scope.READ)}"}
    assert client.get("/settings/tokens", headers=headers).status_code == 302
    answer = client.post("/settings/tokens", {"name": "x", "scope": "admin"}, headers=headers)
    assert answer.status_code == 302
    assert owner.tokens.count() == 1


def test_what_one_may_not_see_looks_like_nothing(client, repository):
    client.force_login(make_user())
    for address in (f"/{repository}", f"/{repository}/versions", "/nobody/nothing", "/no-such-page"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "Nothing here" in answer.content.decode()


def test_a_refused_form_leads_back_to_where_it_stood_and_nowhere_else(client, repository, owner):
    client.force_login(owner)
    address = f"/{repository}/versions/v9/promote"
    came_from = f"http://testserver/{repository}?x=<b>"
    back = client.post(address, {"alias": "x"}, headers={"Referer": came_from}).content.decode()
    assert f'<a href="http://testserver/{repository}?x=&lt;b&gt;">Back to where you were</a>' in back
    for elsewhere in ("", "https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)"):
        text = client.post(address, {"alias": "x"}, headers={"Referer": elsewhere}).content.decode()
        assert "Back to the first page" in text
        assert "where you were" not in text
    assert "where you were" not in client.get("/no-such-page", headers={"Referer": came_from}).content.decode()


def test_a_card_cannot_run_anything():
    html = card_html("# Hi <script>alert(1)</script> <img src=x onerror=alert(1)> [x](javascript:alert(1)) <form>")
    assert "<script" not in html
    assert "onerror" not in html
    assert 'href="javascript' not in html
    assert "<form" not in html


def test_pages_ask_for_nothing_from_other_hosts(client, repository, owner):
    commit_files(repository, owner, {"README.md": b"# Hi"})
    client.force_login(owner)
    for address in ("/", f"/{repository}", f"/{repository}/versions/v1", "/jobs", "/settings/tokens", "/models"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "//" not in answer.content.decode().replace("http://testserver", "").replace("//www.w3.org", "")


@pytest.mark.parametrize("address", ["/", "/jobs"])
def test_jobs_of_every_kind_are_listed(client, repository, owner, address):
    from steelyard_platform.jobs.models import Job

    for spec in ({"kind": "train", "output": "lab/reader"}, {"kind": "evaluate", "model": "lab/reader@v1"}):
        Job.objects.create(team=repository.team, kind=spec["kind"], spec=spec, repository=repository.pk)
    client.force_login(owner)
    text = client.get(address).content.decode()
    assert "lab/reader@v1" in text
    assert "evaluate" in text


def test_what_the_platform_asks_for_itself_is_listed_where_its_kind_is_asked_for(client, repository, owner):
    from steelyard_platform.jobs.models import Job

    spec = {"kind": "inspect", "model": "lab/reader@v7"}
    Job.objects.create(team=repository.team, kind="inspect", spec=spec, repository=repository.pk)
    client.force_login(owner)
    assert "lab/reader@v7" not in client.get("/jobs").content.decode()
    assert "lab/reader@v7" in client.get("/jobs?kind=inspect").content.decode()


def test_a_refused_promotion_is_explained(client, repository, owner):
    from steelyard_platform.accounts.tokens import actor_for_user
    from steelyard_platform.weights.services import add_gate

    commit_files(repository, owner, {"w": b"1"})
    add_gate(repository=repository, text="accuracy >= 0.9", applies_to="*", actor=actor_for_user(owner))
    client.force_login(owner)
    answer = client.post(f"/{repository}/versions/v1/promote", {"alias": "production"})
    assert answer.status_code == 409
    assert "accuracy was never measured; evaluate this version first" in answer.content.decode()
