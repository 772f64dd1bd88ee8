"""Webhooks: kept for their owner alone, told what they may know, and never sent into the house."""

from __future__ import annotations

import http.server
import json
import logging
import threading
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.utils import timezone

from steelyard_contracts.errors import ForbiddenError
from steelyard_platform.accounts.models import AuditRow, Membership
from steelyard_platform.accounts.permissions import Role, Scope
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos import services
from steelyard_platform.repos.deliveries import RETRIES, address_of, deliver_due, is_open, post_json
from steelyard_platform.repos.models import Webhook, WebhookDelivery
from steelyard_platform.repos.proposals import open_proposal
from steelyard_platform.repos.revisions import Snapshot
from tests.support.factories import commit_files, make_repository, make_user, token_for

pytestmark = pytest.mark.django_db
SECRET = "a-very-secret-secret"


@pytest.fixture
def hook(send, repository):
    """Makes a webhook for whoever the token is for; returns what was answered."""

    def make(token=None, watched=None, **more):
        watched = watched or [{"type": "org", "name": repository.team.name}]
        body = {"url": "https://example.org/in?key=hidden", "watched": watched, "secret": SECRET, **more}
        answer = send("POST", "/api/settings/webhooks", body, token=token)
        return answer.json().get("webhook") if answer.status_code == 200 else answer

    return make


class Receiver:
    """Takes what is posted, without a network."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.taken = []

    def __call__(self, url, body, headers):
        self.taken.append((url, json.loads(body), headers))
        return self.statuses.pop(0) if self.statuses else 200


def told():
    receiver = Receiver()
    while deliver_due(receiver):
        pass
    return [body for _, body, _ in receiver.taken]


def test_made_read_changed_switched_and_deleted(send, hook, repository):
    made = hook()
    place = f"/api/settings/webhooks/{made['id']}"
    assert made["domains"] == ["repo", "discussion"]
    assert made["watched"] == [{"type": "org", "name": repository.team.name}]
    assert send("POST", f"{place}/disable").json()["webhook"]["disabled"] is True
    assert send("POST", f"{place}/enable").json()["webhook"]["disabled"] is False
    changed = send("POST", place, {"url": "http://example.org/new", "watched": [], "domains": ["repo"]}).json()[
        "webhook"
    ]
    assert (changed["url"], changed["domains"], changed["watched"]) == (
        "http://example.org/new",
        ["repo"],
        made["watched"],
    )
    assert [one["id"] for one in send("GET", "/api/settings/webhooks").json()] == [made["id"]]
    assert send("DELETE", place).status_code == 200
    assert send("GET", place).status_code == 404
    assert AuditRow.objects.filter(action__contains="webhook").count() == 5


def test_a_secret_is_told_once_and_kept_sealed(send, hook, caplog):
    with caplog.at_level(logging.DEBUG):
        made = hook()
        assert made["secret"] == SECRET
        read = [send("GET", f"/api/settings/webhooks/{made['id']}"), send("GET", "/api/settings/webhooks")]
        deliver_due(Receiver(500))
    everything = "".join(str(row.__dict__) for row in [*Webhook.objects.all(), *AuditRow.objects.all()])
    assert SECRET not in everything + caplog.text + "".join(answer.content.decode() for answer in read)
    assert "hidden" not in caplog.text + "".join(str(row.detail) for row in AuditRow.objects.all())


def test_another_ones_webhook_looks_like_none(send, hook):
    made = hook()
    stranger = token_for(make_user())
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", ""), ("POST", "/enable")):
        assert send(method, f"/api/settings/webhooks/{made['id']}{path}", {}, token=stranger).status_code == 404
    assert send("GET", "/api/settings/webhooks", token=stranger).json() == []
    assert send("GET", "/api/settings/webhooks", token="").status_code == 401
    assert send("GET", "/api/settings/webhooks/nothing").status_code == 404


def test_a_token_that_reads_makes_no_webhook(hook, owner):
    assert hook(token=token_for(owner, Scope.READ)).status_code == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://example.org"},
        {"url": "http://me:word@example.org"},
        {"url": "https://"},
        {"url": "https://example.org:port/"},
        {"url": 7},
        {"watched": [{"type": "space", "name": "a/b"}]},
        {"watched": "all"},
        {"watched": [7]},
        {"domains": ["weather"]},
        {"domains": []},
        {"secret": "line\nbreak"},
        {"jobSourceId": "job"},
    ],
)
def test_what_cannot_be_meant_is_refused(hook, wrong):
    assert hook(**wrong).status_code == 400


def test_what_happens_is_told_in_the_hubs_shape(hook, repository, owner):
    hook()
    actor = actor_for_user(owner)
    first = commit_files(repository, owner, {"a": b"1"})
    [body] = told()
    assert body["event"] == {"action": "update", "scope": "repo.content"}
    assert body["updatedRefs"] == [{"ref": "refs/heads/main", "oldSha": None, "newSha": first.commit_id}]
    assert body["repo"]["headSha"] == first.commit_id
    assert (body["repo"]["name"], body["repo"]["type"], body["repo"]["private"]) == (str(repository), "model", True)
    assert body["repo"]["url"] == {
        "web": f"http://testserver/{repository}",
        "api": f"http://testserver/api/models/{repository}",
    }
    assert body["webhook"]["version"] == 3
    services.create_tag(repository=repository, name="one", at=Snapshot(repository, first), message="", actor=actor)
    services.set_visibility(repository=repository, public=True, actor=actor)
    open_proposal(repository=repository, title="A change", actor=actor)
    tag, config, proposal = told()
    assert tag["updatedRefs"][0]["ref"] == "refs/tags/one"
    assert (config["event"]["scope"], config["updatedConfig"]) == ("repo.config", {"private": False})
    assert (proposal["event"], proposal["discussion"]["num"]) == ({"action": "create", "scope": "discussion"}, 1)
    services.move_repository(repository=repository, team=repository.team, name="moved", actor=actor)
    services.delete_repository(repository=repository, actor=actor)
    moved, deleted = told()
    assert (moved["event"]["action"], moved["movedTo"]["name"]) == ("move", f"{repository.team}/moved")
    assert deleted["event"] == {"action": "delete", "scope": "repo"}


def test_one_hears_of_what_one_watches_and_nothing_else(hook, repository, owner):
    hook(watched=[{"type": "model", "name": str(repository).upper()}], domains=["repo"])
    other = make_repository(repository.team, owner, "other")
    commit_files(other, owner, {"a": b"1"})
    services.set_visibility(repository=repository, public=True, actor=actor_for_user(owner))
    open_proposal(repository=repository, title="A change", actor=actor_for_user(owner))
    assert [body["event"]["scope"] for body in told()] == ["repo.config"]


def test_a_private_repository_is_told_of_to_members_alone(hook, repository, owner):
    stranger, member = make_user(), make_user()
    Membership.objects.create(team=repository.team, user=member, role=Role.READER)
    hook(token=token_for(stranger))
    mine = hook(token=token_for(member))
    commit_files(repository, owner, {"a": b"1"})
    assert [body["webhook"]["id"] for body in told()] == [mine["id"][:24]]
    Membership.objects.filter(user=member).delete()
    commit_files(repository, owner, {"a": b"2"})
    assert told() == []


def test_the_secret_travels_as_a_header(hook, repository, owner):
    hook()
    commit_files(repository, owner, {"a": b"1"})
    receiver = Receiver()
    assert deliver_due(receiver) == 1
    [(url, _, headers)] = receiver.taken
    assert url == "https://example.org/in?key=hidden"
    assert headers["X-Webhook-Secret"] == SECRET


def test_what_is_not_taken_is_tried_again_and_given_up_at_last(hook, repository, owner):
    hook()
    commit_files(repository, owner, {"a": b"1"})
    receiver = Receiver(*[500] * 20)
    assert deliver_due(receiver) == 0
    assert deliver_due(receiver) == 0
    assert len(receiver.taken) == 1
    now = timezone.now()
    for wait in RETRIES:
        now += wait + timedelta(seconds=60)
        with time_machine.travel(now, tick=False):
            deliver_due(receiver)
    assert len(receiver.taken) == 1 + len(RETRIES)
    assert not WebhookDelivery.objects.exists()


def test_nothing_is_told_of_what_did_not_happen(hook, repository, owner):
    hook()
    services.create_branch(repository=repository, name="side", start=None, actor=actor_for_user(owner))
    assert len(told()) == 1
    with pytest.raises(Exception, match="already exists"):
        services.create_branch(repository=repository, name="side", start=None, actor=actor_for_user(owner))
    assert told() == []


def test_a_disabled_webhook_hears_nothing_not_even_later(send, hook, repository, owner):
    made = hook()
    commit_files(repository, owner, {"a": b"1"})
    send("POST", f"/api/settings/webhooks/{made['id']}/disable")
    commit_files(repository, owner, {"a": b"2"})
    send("POST", f"/api/settings/webhooks/{made['id']}/enable")
    assert told() == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "0.0.0.0",  # noqa: S104 - refused, not bound
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_no_address_inside_is_called(address):
    assert not is_open(address)


def test_the_open_internet_is_called():
    assert is_open("93.184.215.14")
    assert is_open("2606:2800:21f:cb07:6820:80da:af6b:8b2c")


def test_a_host_with_one_address_inside_is_not_called(monkeypatch):
    found = [(0, 0, 0, "", (address, 80)) for address in ("93.184.215.14", "10.0.0.1")]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ForbiddenError, match="not one of the open internet"):
        address_of("example.org", 80)
    monkeypatch.setattr(settings.ENVIRONMENT, "webhooks_to_private_addresses", True)
    assert address_of("example.org", 80) == "93.184.215.14"


@pytest.fixture
def listener():
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.enable_socket
def test_a_post_goes_out_whole_and_follows_no_redirect(listener, monkeypatch):
    address, seen = listener
    with pytest.raises(ForbiddenError):
        post_json(f"{address}/in", b"{}", {})
    assert seen == []
    monkeypatch.setattr(settings.ENVIRONMENT, "webhooks_to_private_addresses", True)
    assert post_json(f"{address}/in?a=b", b'{"a": 1}', {"X-Webhook-Secret": SECRET}) == 302
    [(path, headers, body)] = seen
    assert (path, body) == ("/in?a=b", b'{"a": 1}')
    assert headers["X-Webhook-Secret"] == SECRET
    assert headers["Host"] == address.removeprefix("http://")
