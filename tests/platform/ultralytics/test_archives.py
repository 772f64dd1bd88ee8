"""Archives of pictures: promised an address, sent, and unpacked by a job that the answers speak of."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.jobs import Finish, JobState, UnpackSpec
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.jobs import archives, services
from steelyard_platform.jobs.models import Archive, Job
from steelyard_platform.repos.blobs import read_blob
from steelyard_platform.repos.garbage import collect_garbage
from tests.support.factories import make_repository, make_user, token_for
from tests.support.jobs import claim, later

pytestmark = pytest.mark.django_db(transaction=True)

CONTENT = b"PK a zip of pictures" * 100_000


@pytest.fixture
def dataset(owner, team):
    return make_repository(team, owner, "shapes", RepositoryKind.DATASET)


@pytest.fixture
def ask(client, owner):
    """A request below /ultralytics/api: (status, answer)."""
    token = token_for(owner)

    def call(method, path, body=None, secret=token):
        headers = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
        data = json.dumps(body or {})
        response = client.generic(method, f"/ultralytics/api/{path}", data, content_type="application/json", **headers)
        return response.status_code, response.json()

    return call


@pytest.fixture
def ingest(ask, dataset):
    def call(session, **more):
        return ask("POST", f"datasets/{dataset}/ingest", {"sessionId": session, **more})

    return call


@pytest.fixture
def sent(ask, client, dataset):
    """The session of an archive that has arrived."""
    asked = {"assetType": "datasets", "assetId": str(dataset.pk), "filename": "my shapes.zip", "totalBytes": 1}
    status, signed = ask("POST", "upload/signed-url", asked)
    assert status == 200
    address = signed["uploadUrl"].removeprefix("http://testserver")
    assert address.endswith("/my-shapes.zip")
    assert client.generic("PUT", address, CONTENT).status_code == 200
    return signed["sessionId"]


def status_of(ask, dataset):
    return ask("GET", f"datasets/{dataset}")[1]["dataset"]["status"]


def test_a_worker_gets_what_was_sent_and_the_answers_follow_it(ask, ingest, client, sent, dataset):
    assert ask("POST", "upload/complete", {"sessionId": sent})[1]["file"]["size"] == len(CONTENT)
    status, asked = ingest(sent)
    assert (status, asked["status"]) == (200, "queued")
    assert ingest(sent)[1]["jobId"] == asked["jobId"]  # said twice is done once
    assert status_of(ask, dataset) == "processing"
    job = Job.objects.get(pk=asked["jobId"])
    claimed, actor = claim(job)
    assert isinstance(claimed.spec, UnpackSpec)
    assert (claimed.spec.dataset, claimed.spec.keep) == (str(dataset), False)
    got = client.get(f"/api/v1/jobs/{job.pk}/archive", headers={"Authorization": f"Bearer {claimed.token}"})
    assert b"".join(got.streaming_content) == CONTENT
    services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.FAILED, error="no archive"))
    assert status_of(ask, dataset) == "failed"
    said = ask("GET", f"datasets/{dataset}")[1]["dataset"]
    assert (said["processingError"]["message"], said["lastIngestJobId"]) == ("no archive", asked["jobId"])
    assert ingest(sent)[1]["jobId"] != asked["jobId"]  # and what failed may be tried again


def test_it_is_kept_until_it_is_a_version(ingest, sent):
    collect_garbage(timedelta(0))
    assert b"".join(read_blob(Archive.objects.get().blob)) == CONTENT
    job = Job.objects.get(pk=ingest(sent)[1]["jobId"])
    archives.forget_old()
    assert Archive.objects.exists()
    _, actor = claim(job)
    services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.SUCCEEDED, result={"version": "v1"}))
    archives.forget_old()
    assert not Archive.objects.exists()
    assert collect_garbage(timedelta(0)).blobs == 1
    status, refusal = ingest(sent)
    assert (status, refusal["error"]) == (409, "my-shapes.zip was unpacked already; upload it again.")


def test_one_that_nobody_unpacks_is_given_up(sent):
    with later(6 * 86_400):
        archives.forget_old()
        assert Archive.objects.exists()
    with later(8 * 86_400):
        archives.forget_old()
        assert not Archive.objects.exists()


def test_nothing_has_arrived_yet(ask, ingest, dataset):
    asked = {"assetType": "datasets", "assetId": str(dataset.pk), "filename": "a.tgz"}
    session = ask("POST", "upload/signed-url", asked)[1]["sessionId"]
    assert ask("POST", "upload/complete", {"sessionId": session})[0] == 409
    assert ingest(session)[0] == 409
    assert ingest("no session")[0] == 404


def test_a_checksum_is_compared(ask, sent):
    status, refusal = ask("POST", "upload/complete", {"sessionId": sent, "checksum": "0" * 64})
    assert (status, refusal["code"]) == (400, "digest_mismatch")


def test_whoever_may_not_write_neither_sends_nor_unpacks(ask, sent, dataset):
    stranger = token_for(make_user("stranger"))
    asked = {"assetType": "datasets", "assetId": str(dataset.pk), "filename": "a.zip"}
    assert ask("POST", "upload/signed-url", asked, secret=stranger)[0] == 404
    for path, body in ((f"datasets/{dataset}/ingest", {"sessionId": sent}), ("upload/complete", {"sessionId": sent})):
        assert ask("POST", path, body, secret=stranger)[0] == 404


def test_an_archive_of_one_dataset_is_none_of_another(ask, sent, owner, team):
    others = make_repository(team, owner, "others", RepositoryKind.DATASET)
    assert ask("POST", f"datasets/{others}/ingest", {"sessionId": sent})[0] == 404


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"filename": "shapes.rar"}, 400, "An archive ends in .zip, .tar, .tar.gz, .tgz; 'shapes.rar' does not."),
        ({"filename": "shapes.ndjson"}, 400, "does not"),
        ({"assetId": "no id"}, 404, "There is no dataset with the id 'no id'."),
        ({"assetType": "images"}, 501, "Weights and archives of pictures are uploaded here, and images are not."),
    ],
)
def test_what_is_no_archive_of_a_dataset_is_refused(ask, dataset, asked, status, said):
    body = {"assetType": "datasets", "assetId": str(dataset.pk), "filename": "a.zip", **asked}
    answer = ask("POST", "upload/signed-url", body)
    assert (answer[0], said in answer[1]["error"]) == (status, True)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"conflictPolicy": "keep_both"}, 501),
        ({"conflictPolicy": "merge"}, 400),
        ({"targetSplit": "train"}, 501),
        ({"sourceUrl": "http://example.org/a.zip"}, 501),
    ],
)
def test_what_is_not_done_here_is_said_before_anything_is_asked_of_a_worker(ingest, sent, more, status):
    assert ingest(sent, **more)[0] == status
    assert not Job.objects.filter(kind="unpack").exists()


def test_what_is_there_can_be_kept(ingest, sent):
    assert Job.objects.get(pk=ingest(sent, conflictPolicy="skip")[1]["jobId"]).spec["keep"] is True


def test_it_is_not_asked_for_as_other_jobs_are(client, owner, sent, dataset):
    spec = {"kind": "unpack", "dataset": str(dataset), "archive": str(Archive.objects.get().pk), "name": "a.zip"}
    body = {"spec": {**spec, "size": 1, "sha256": "0" * 64}}
    headers = {"Authorization": f"Bearer {token_for(owner)}"}
    answer = client.post("/api/v1/jobs", body, content_type="application/json", headers=headers)
    assert (answer.status_code, "push a folder" in answer.json()["error"]["message"]) == (400, True)


def test_a_job_without_an_archive_is_told_so(ingest, sent):
    job = Job.objects.get(pk=ingest(sent)[1]["jobId"])
    _, actor = claim(job)
    Archive.objects.all().delete()
    with pytest.raises(SteelyardError, match="no archive"):
        archives.content_for_worker(job.pk, actor)
