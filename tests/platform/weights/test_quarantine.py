"""A version with a dangerous file is seen by everybody who may see it, and downloaded by nobody."""

from __future__ import annotations

import json

import pytest
from django.conf import settings

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import ConflictError, ForbiddenError, InvalidInputError, QuarantinedError
from steelyard_contracts.jobs import ConvertSpec, InspectSpec, JobState
from steelyard_contracts.weights import FileReport, Finding, QuarantineState, Severity
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import OPERATOR, PLATFORM, Action, Actor, Role, Scope, may
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.fleet.services import create_release
from steelyard_platform.jobs.inspections import request_inspections
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.services import claim_job, request_job
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.revisions import Snapshot
from steelyard_platform.repos.services import create_branch
from steelyard_platform.weights.inspection import files_to_inspect, record_report
from steelyard_platform.weights.quarantine import (
    check_download,
    history_of,
    lift,
    put_back,
    quarantine_of,
    quarantined_among,
)
from tests.support.factories import commit_files, make_repository, make_user, token_for
from tests.support.malicious import attack

pytestmark = pytest.mark.django_db
EVIL = attack()
SENTENCE = "The pickle in the file imports posix.system."


@pytest.fixture
def repository(team, owner):
    return make_repository(team, owner, "reader")


@pytest.fixture
def boss(owner):
    return actor_for_user(owner)


def find(version, content, severity=Severity.DANGER):
    """What a worker reports."""
    finding = Finding(severity=severity, code="pickle-import", sentence=SENTENCE)
    report = FileReport(sha256=sha256_of(content), format="pickle", findings=[finding])
    return record_report(version=fresh(version), report=report, actor=PLATFORM)


def fresh(version):
    return Version.objects.select_related("branch", "repository__team").get(pk=version.pk)


def state(version):
    return quarantine_of(fresh(version)).state


@pytest.fixture
def held(repository, owner):
    """v1 with a dangerous file and others."""
    version = commit_files(repository, owner, {"model.pt": EVIL, "config.json": b"{}", "README.md": b"# Reader"})
    find(version, EVIL)
    return fresh(version)


@pytest.fixture
def get(client, owner):
    def call(path, token=None):
        return client.get(path, HTTP_AUTHORIZATION=f"Bearer {token or token_for(owner)}")

    return call


def test_lists_of_versions_mark_those_in_quarantine_in_as_many_queries_for_many_as_for_few(
    get, client, held, repository, owner, django_assert_num_queries
):
    commit_files(repository, owner, {"config.json": b"[]"})
    boss = actor_for_user(owner)
    create_branch(repository=repository, name="side", start=Snapshot(repository, fresh(held)), actor=boss)
    hidden = commit_files(repository, owner, {"model.pt": b"harmless", "more.txt": b"1"}, branch="side")
    shown = commit_files(repository, owner, {"model.pt": None, "again.bin": EVIL}, branch="side")
    lift(version=fresh(shown), reason="reviewed", actor=boss)
    versions = list(Version.objects.filter(repository=repository).select_related("branch").order_by("number"))
    assert {one.label for one in versions if one.pk in quarantined_among(versions)} == {"v1", "v2"}
    assert hidden.label == "v3"
    put_back(version=fresh(shown), reason="not any more", actor=boss)
    with django_assert_num_queries(4):
        assert len(quarantined_among(versions)) == 3
    marks = {one["version"]: one["quarantined"] for one in get(f"/api/v1/models/{repository}/versions").json()["items"]}
    assert marks == {"v1": True, "v2": True, "v3": False, "v4": True}
    client.force_login(owner)
    assert client.get(f"/{repository}/versions").content.decode().count("quarantine</span>") == 3


# --- what is held back -------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["model.pt", "config.json", "README.md"])
def test_no_file_of_it_is_served_and_the_refusal_says_which_file_why_and_what_to_do(get, held, repository, file):
    response = get(f"/{repository}/resolve/v1/{file}")
    assert response.status_code == 403
    said = response.headers["X-Error-Message"]
    for part in (f"{repository}@v1 is in quarantine", "model.pt: ", SENTENCE, "Push a version without it", "lift"):
        assert part in said
    assert response.json()["code"] == "quarantined"
    # By this word the Hub's clients show the sentence instead of blaming the connection.
    assert response.headers["X-Error-Code"] == "GatedRepo"


def test_it_is_seen_all_the_same(get, client, held, repository, owner):
    assert get(f"/api/models/{repository}/revision/v1").status_code == 200
    assert get(f"/api/models/{repository}/tree/v1").status_code == 200
    client.force_login(owner)
    page = client.get(f"/{repository}/versions/v1").content.decode()
    assert "This version is not downloaded" in page
    assert SENTENCE in page
    assert "Lift the quarantine of v1" in page


def test_no_token_for_its_chunks_is_given_out(get, held, repository):
    response = get(f"/api/models/{repository}/xet-read-token/v1")
    assert (response.status_code, response.json()["code"]) == (403, "quarantined")


def test_versions_without_the_file_are_free_and_versions_with_it_are_not(get, held, repository, owner):
    commit_files(repository, owner, {"config.json": b"[]"})
    commit_files(repository, owner, {"model.pt": None})
    commit_files(repository, owner, {"again.bin": EVIL})
    assert [get(f"/{repository}/resolve/v{n}/README.md").status_code for n in (1, 2, 3, 4)] == [403, 403, 200, 403]


def test_a_branch_that_shows_the_file_through_is_held_and_one_that_hides_it_is_not(held, repository, owner, boss):
    create_branch(repository=repository, name="side", start=Snapshot(repository, held), sees_base=True, actor=boss)
    through = commit_files(repository, owner, {"extra.txt": b"x"}, branch="side")
    hidden = commit_files(repository, owner, {"model.pt": None}, branch="side")
    assert [state(through), state(hidden)] == [QuarantineState.QUARANTINED, QuarantineState.NONE]


def test_the_same_bytes_anywhere_else_are_held_too(get, held, team, owner):
    other = make_repository(team, owner, "copy")
    commit_files(other, owner, {"innocent.bin": EVIL})
    assert get(f"/{other}/resolve/main/innocent.bin").status_code == 403


def test_a_warning_holds_nothing_back(get, repository, owner):
    version = commit_files(repository, owner, {"model.pt": b"weights"})
    find(version, b"weights", Severity.WARNING)
    assert get(f"/{repository}/resolve/v1/model.pt").status_code == 200


def test_a_second_report_without_the_danger_frees_the_version(held, repository):
    record_report(version=held, report=FileReport(sha256=sha256_of(EVIL), format="pickle"), actor=PLATFORM)
    assert state(held) is QuarantineState.NONE


def test_a_release_does_not_get_it_and_the_way_to_safetensors_is_open(held, repository, boss):
    assert request_job(spec=ConvertSpec(model=f"{repository}@v1"), actor=boss).state == JobState.QUEUED
    with pytest.raises(QuarantinedError, match="model.pt"):
        create_release(version=held, variant=None, reason="", actor=boss)


def test_a_stranger_to_a_private_repository_learns_nothing(client, held, repository):
    token = token_for(make_user())
    for path in (f"/{repository}/resolve/v1/model.pt", f"/api/v1/models/{repository}/versions/v1/quarantine"):
        assert client.get(path, HTTP_AUTHORIZATION=f"Bearer {token}").status_code == 404


def test_the_inspection_itself_reads_the_file_and_nobody_else_has_that_right(get, held, repository, owner, boss):
    job = request_job(spec=InspectSpec(model=f"{repository}@v1"), actor=boss)
    claim = claim_job(job_id=job.pk, worker="here", actor=Actor(name="worker", scope=Scope.WORKER))
    assert get(f"/{repository}/resolve/v1/model.pt", claim.token).status_code == 200
    assert get(f"/api/models/{repository}/xet-read-token/v1", claim.token).status_code == 200
    for actor in (boss, OPERATOR):
        assert not may(actor, Action.INSPECT, repository.resource)


def test_a_download_costs_one_query_more_and_a_refusal_three(
    get, held, repository, owner, django_assert_max_num_queries, django_assert_num_queries
):
    free = fresh(commit_files(repository, owner, {"model.pt": None}))
    actor = Actor()
    Repository.objects.update(is_public=True)
    with django_assert_num_queries(1):
        check_download(Snapshot(free.repository, free), actor)
    with django_assert_max_num_queries(3), pytest.raises(QuarantinedError):
        check_download(Snapshot(held.repository, held), actor)


# --- lifting it --------------------------------------------------------------------------------


def test_a_maintainer_lifts_it_with_a_reason_that_is_kept(get, held, repository, owner, boss):
    lift(version=held, reason="our own layer", actor=boss)
    assert state(held) is QuarantineState.LIFTED
    assert get(f"/{repository}/resolve/v1/model.pt").status_code == 200
    row = AuditRow.objects.get(action="lift quarantine")
    assert (row.actor, row.detail["reason"], row.detail["files"]) == (owner.username, "our own layer", ["model.pt"])


def test_it_is_put_back_with_a_reason(get, held, repository, boss):
    lift(version=held, reason="a mistake", actor=boss)
    put_back(version=held, reason="it was one", actor=boss)
    assert get(f"/{repository}/resolve/v1/model.pt").status_code == 403
    (row,) = history_of(held)
    assert (row.reason, row.ended_reason, row.ended_by) == ("a mistake", "it was one", boss.name)
    assert AuditRow.objects.filter(action="put back into quarantine").exists()


def test_only_this_version_is_lifted(get, held, repository, owner, boss):
    lift(version=held, reason="known", actor=boss)
    commit_files(repository, owner, {"config.json": b"[]"})
    assert get(f"/{repository}/resolve/v2/model.pt").status_code == 403


def test_a_danger_found_later_brings_it_back(held, repository, owner, boss):
    lift(version=held, reason="known", actor=boss)
    find(held, b"{}")
    assert state(held) is QuarantineState.QUARANTINED
    lift(version=held, reason="that one too", actor=boss)
    assert state(held) is QuarantineState.LIFTED
    assert [row.ended_reason for row in history_of(held)] == ["", "more dangers were found"]


def test_it_is_not_lifted_by_contributors_without_a_reason_or_twice(held, team, boss):
    contributor = make_user()
    set_role(team=team, username=contributor.username, role=Role.CONTRIBUTOR, actor=boss)
    with pytest.raises(ForbiddenError):
        lift(version=held, reason="please", actor=actor_for_user(contributor))
    with pytest.raises(InvalidInputError, match="Say why"):
        lift(version=held, reason="  ", actor=boss)
    lift(version=held, reason="known", actor=boss)
    with pytest.raises(ConflictError, match="is not in quarantine"):
        lift(version=held, reason="again", actor=boss)
    put_back(version=held, reason="no", actor=boss)
    with pytest.raises(ConflictError, match="Nobody has lifted"):
        put_back(version=held, reason="no", actor=boss)


def test_the_api_shows_lifts_and_puts_back(client, held, repository, owner):
    home = f"/api/v1/models/{repository}/versions/v1/quarantine"
    header = {"HTTP_AUTHORIZATION": f"Bearer {token_for(owner)}"}

    def send(path, reason):
        return client.post(path, json.dumps({"reason": reason}), content_type="application/json", **header).json()

    shown = client.get(home, **header).json()
    assert (shown["state"], shown["findings"][0]["path"]) == ("quarantined", "model.pt")
    assert send(f"{home}/lift", "known")["state"] == "lifted"
    assert send(f"{home}/put-back", "no")["history"][0]["ended_reason"] == "no"
    assert client.post(f"{home}/lift", "{}", content_type="application/json", **header).status_code == 400


def test_the_page_lifts_and_puts_back(client, held, repository, owner):
    client.force_login(owner)
    home = f"/{repository}/versions/v1"
    assert client.post(f"{home}/quarantine/lift", {"reason": "our own layer"}).status_code == 302
    page = client.get(home).content.decode()
    assert "our own layer" in page
    assert "Put v1 back" in page
    client.post(f"{home}/quarantine/put-back", {"reason": "no"})
    assert "This version is not downloaded" in client.get(home).content.decode()


# --- waiting, and what hides -------------------------------------------------------------------


def test_an_installation_may_wait_for_the_scan(get, repository, owner, monkeypatch):
    version = commit_files(repository, owner, {"model.pt": b"weights", "README.md": b"# Hi"})
    assert get(f"/{repository}/resolve/v1/model.pt").status_code == 200
    monkeypatch.setattr(settings.ENVIRONMENT, "downloads_wait_for_scan", True)
    response = get(f"/{repository}/resolve/v1/README.md")
    assert (response.status_code, response.json()["code"]) == (403, "being_scanned")
    assert "is being scanned" in response.headers["X-Error-Message"]
    request_inspections()
    record_report(
        version=fresh(version), report=FileReport(sha256=sha256_of(b"weights"), format="torch"), actor=PLATFORM
    )
    assert get(f"/{repository}/resolve/v1/README.md").status_code == 200


def test_a_pickle_named_like_a_text_or_a_picture_is_looked_into(repository, owner):
    files = {
        "notes.txt": b"cposix\nsystem\n(S'true'\ntR.",
        "logo.png": EVIL,
        "photo.gif": b"GIF89a\x01\x01\x01cposix\nsystem\n(S'true'\ntR.",
        "words.json": b"PK\x03\x04" + bytes(100),
        "long.txt": b"V" + b"a" * 100_000 + b"\n0cposix\nsystem\n(S'true'\ntR.",
    }
    plain = {
        "README.md": "# Grüße\n(c) the makers\n".encode(),
        "vocab.txt": b"and\nor\nnot\n" * 20_000,
        "tokenizer.json": b'{"model": {"vocab": {"a": 1}}}',
        "chart.png": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "cut.md": b"# " + b"a" * (64 * 1024 - 3) + "é and more".encode(),
        "empty.txt": b"",
    }
    version = commit_files(repository, owner, {**files, **plain})
    assert [file.path for file in files_to_inspect(fresh(version))] == sorted(files)
    assert request_inspections() == 1
    find(version, files["notes.txt"])
    assert state(version) is QuarantineState.QUARANTINED
    assert Job.objects.get().spec["model"] == f"{repository}@v1"
