"""Gated repositories: everybody sees them, and whoever was let in reads their files."""

from __future__ import annotations

import pytest

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import GatedError
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_platform.accounts.models import AuditRow, Membership
from steelyard_platform.accounts.permissions import Action, Role, Scope
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.jobs.specs import _version
from steelyard_platform.repos import admission
from steelyard_platform.repos.models import Gate
from steelyard_platform.repos.queries import find_repository, find_version
from steelyard_platform.repos.services import set_visibility
from tests.support.factories import commit_files, make_user, token_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def gated(repository, owner):
    commit_files(repository, owner, {"README.md": b"# Ask first\n", "weights": b"months of training"})
    set_visibility(repository=repository, public=True, actor=actor_for_user(owner))
    admission.set_gate(repository=repository, gate=Gate.MANUAL, actor=actor_for_user(owner))
    return repository


def assert_shut(answer):
    assert answer.status_code == 403, answer.content
    assert answer.headers["X-Error-Code"] == "GatedRepo"
    assert "is restricted and you are not in the authorized list" in answer.headers["X-Error-Message"]


def ways_to_its_files(repository):
    return [
        ("GET", f"/{repository}/resolve/main/weights"),
        ("HEAD", f"/{repository}/resolve/main/weights"),
        ("GET", f"/{repository}/raw/main/README.md"),
        ("GET", f"/api/models/{repository}/xet-read-token/main"),
        ("GET", f"/api/models/{repository}/auth-check"),
    ]


def test_no_way_to_its_files_is_open_to_a_visitor_or_to_nobody(gated, visit, send):
    for method, path in ways_to_its_files(gated):
        assert_shut(visit(method, path))
        assert_shut(send(method, path, token=""))


def test_what_it_is_and_what_its_files_are_called_is_open(gated, visit):
    record = visit("GET", f"/api/models/{gated}").json()
    assert (record["gated"], record["private"]) == ("manual", False)
    assert [one["rfilename"] for one in record["siblings"]] == ["README.md", "weights"]
    for path in ("tree/main", "commits/main", "refs"):
        assert visit("GET", f"/api/models/{gated}/{path}").status_code == 200


def test_its_own_team_reads_it_as_before(gated, send, owner):
    assert send("GET", f"/{gated}/resolve/main/weights").status_code == 200
    reader = make_user()
    Membership.objects.create(team=gated.team, user=reader, role=Role.READER)
    token = token_for(reader, Scope.READ)
    assert send("GET", f"/{gated}/resolve/main/weights", token=token).status_code == 200


def states(send, repository):
    lists = {
        state: send("GET", f"/api/models/{repository}/user-access-request/{state}").json()
        for state in ("pending", "accepted", "rejected")
    }
    return {state: [one["user"]["user"] for one in rows] for state, rows in lists.items()}


def test_asked_accepted_rejected_and_put_back(gated, send, visit, visitor):
    read, handle = f"/{gated}/resolve/main/weights", f"/api/models/{gated}/user-access-request/handle"
    asked = visit("POST", f"/{gated}/ask-access", {"affiliation": "a school"})
    assert (asked.status_code, asked.json()["status"]) == (200, "pending")
    assert_shut(visit("GET", read))
    [request] = send("GET", f"/api/models/{gated}/user-access-request/pending").json()
    assert request["fields"] == {"affiliation": "a school"}
    assert send("POST", handle, {"requestId": request["requestId"], "status": "accepted"}).status_code == 200
    assert visit("GET", read).status_code == 200
    again = send("POST", handle, {"user": visitor.username, "status": "accepted"})
    assert (again.status_code, "accepted already" in again.json()["error"]) == (404, True)
    send("POST", handle, {"user": visitor.username, "status": "rejected", "rejectionReason": "no"})
    assert_shut(visit("GET", read))
    assert states(send, gated) == {"pending": [], "accepted": [], "rejected": [visitor.username]}
    send("POST", handle, {"user": visitor.username, "status": "pending"})
    assert states(send, gated) == {"pending": [visitor.username], "accepted": [], "rejected": []}
    assert AuditRow.objects.filter(target=str(gated), action="decide on access").count() == 3


def test_an_automatic_gate_opens_for_whoever_asks(gated, send, visit, owner):
    assert send("PUT", f"/api/models/{gated}/settings", {"gated": "auto"}).json()["gated"] == "auto"
    assert_shut(visit("GET", f"/{gated}/resolve/main/weights"))
    assert visit("POST", f"/{gated}/ask-access", {}).json()["status"] == "accepted"
    assert visit("GET", f"/{gated}/resolve/main/weights").status_code == 200
    twice = visit("POST", f"/{gated}/ask-access", {})
    assert (twice.status_code, "is accepted" in twice.json()["error"]) == (409, True)


def test_somebody_is_let_in_unasked_once_and_their_mail_is_not_told(gated, send, visit, visitor):
    grant = f"/api/models/{gated}/user-access-request/grant"
    granted = send("POST", grant, {"user": visitor.username})
    assert (granted.status_code, "email" in granted.json()["user"]) == (200, False)
    assert visit("GET", f"/{gated}/resolve/main/weights").status_code == 200
    assert send("POST", grant, {"user": visitor.username}).status_code == 409
    assert send("POST", grant, {"user": "nobody-here"}).status_code == 404


def test_a_request_can_be_withdrawn_while_nobody_has_decided(gated, send, visit):
    cancel = f"/api/models/{gated}/user-access-request/cancel"
    assert visit("POST", cancel).status_code == 404
    visit("POST", f"/{gated}/ask-access", {})
    assert visit("POST", cancel).status_code == 200
    assert states(send, gated)["pending"] == []


def test_who_may_not_read_it_may_not_propose_to_it(gated, visit):
    for path in ("commit/main?create_pr=1", "preupload/main?create_pr=1", "discussions"):
        assert_shut(visit("POST", f"/api/models/{gated}/{path}", {}))
    assert_shut(visit("GET", f"/api/models/{gated}/xet-write-token/None?create_pr=1"))


@pytest.mark.parametrize("path", ["pending", "accepted"])
def test_who_asked_is_told_only_to_those_who_manage_it(gated, visit, path):
    visit("POST", f"/{gated}/ask-access", {})
    assert visit("GET", f"/api/models/{gated}/user-access-request/{path}").status_code == 403


@pytest.mark.parametrize("path", ["handle", "grant"])
def test_nobody_lets_themselves_in(gated, visit, visitor, path):
    visit("POST", f"/{gated}/ask-access", {})
    body = {"user": visitor.username, "status": "accepted"}
    assert visit("POST", f"/api/models/{gated}/user-access-request/{path}", body).status_code == 403
    assert_shut(visit("GET", f"/{gated}/resolve/main/weights"))


@pytest.mark.parametrize(
    ("body", "status"),
    [({"status": "accepted"}, 400), ({"user": "x", "status": "maybe"}, 400), ({"user": "x", "status": "pending"}, 404)],
)
def test_a_malformed_decision_is_refused(gated, send, body, status):
    assert send("POST", f"/api/models/{gated}/user-access-request/handle", body).status_code == status


def test_where_nothing_is_gated_nobody_asks(repository, send, owner, visit):
    assert send("PUT", f"/api/models/{repository}/settings", {"gated": "sometimes"}).status_code == 400
    set_visibility(repository=repository, public=True, actor=actor_for_user(owner))
    asked = visit("POST", f"/{repository}/ask-access", {})
    assert (asked.status_code, "is not gated" in asked.json()["error"]) == (400, True)


def test_a_job_cannot_be_sent_to_fetch_what_its_sender_may_not_read(gated, visitor):
    actor = actor_for_user(visitor)
    with pytest.raises(GatedError):
        _version(str(gated), RepositoryKind.MODEL, actor)
    with pytest.raises(GatedError):
        find_version(actor, parse_ref(str(gated)))
    assert find_repository(actor, RepositoryKind.MODEL, str(gated), Action.SEE) == gated


def test_a_whole_file_upload_is_no_way_in(gated, visit):
    oid = sha256_of(b"months of training")
    body = {"operation": "download", "objects": [{"oid": oid, "size": 18}]}
    assert visit("POST", f"/{gated}.git/info/lfs/objects/batch", body).status_code == 403
