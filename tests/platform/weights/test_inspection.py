"""What the platform knows of the inside of weights: who asks, who reports, who reads."""

from __future__ import annotations

import gzip

import pytest

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import ConflictError, ForbiddenError, InvalidInputError, RepositoryNotFoundError
from steelyard_contracts.jobs import Finish, InspectSpec, JobState
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.weights import (
    FileReport,
    Finding,
    Histogram,
    InspectionState,
    Severity,
    TensorStatistics,
    TensorView,
)
from steelyard_platform.accounts.permissions import Action, Actor, Scope
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user
from steelyard_platform.jobs import services
from steelyard_platform.jobs.inspections import inspection, request_inspections
from steelyard_platform.jobs.models import Job
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.services import delete_version
from steelyard_platform.weights.inspection import files_to_inspect, record_report, tensors_of
from steelyard_platform.weights.models import WeightFile
from steelyard_platform.weights.modules import Outline, root_of, top_modules
from tests.support.factories import commit_files, make_repository, make_user, token_for

pytestmark = pytest.mark.django_db
WORKER = Actor(name="worker", scope=Scope.WORKER)


@pytest.fixture
def repository(team, owner):
    return make_repository(team, owner, "reader")


def report_of(content, tensors=(), **values):
    views = [
        TensorView(
            name=name,
            dtype="F32",
            shape=[count],
            size=4 * count,
            digest=sha256_of(name.encode()),
            statistics=TensorStatistics(
                min=-1, max=1, mean=0, std=0.5, zeros=0.25, histogram=Histogram(low=-1, high=1, counts=[1] * 32)
            ),
        )
        for name, count in dict(tensors).items()
    ]
    values = {"format": "safetensors", "framework": "pytorch", **values}
    parameters = sum(dict(tensors).values())
    return FileReport(sha256=sha256_of(content), tensors=views, parameters=parameters, **values)


def fresh(version):
    found = Version.objects.select_related("repository__team", "branch").get(pk=version.pk)
    return inspection(found)


def claimed(job):
    claim = services.claim_job(job_id=job.pk, worker="here", actor=WORKER)
    return claim, actor_for_secret(claim.token)


def test_a_commit_of_weights_is_inspected_once_and_its_copy_never(repository, owner):
    first = commit_files(repository, owner, {"model.safetensors": b"weights", "README.md": b"# Hi"})
    assert fresh(first).state is InspectionState.PENDING
    assert [request_inspections(), request_inspections()] == [1, 0]
    (job,) = Job.objects.all()
    assert (job.kind, job.created_by_name, job.spec["model"]) == ("inspect", "steelyard", f"{repository}@v1")
    claim, actor = claimed(job)
    assert actor.grants == {(repository.pk, Action.READ), (repository.pk, Action.INSPECT)}
    assert claim.spec == InspectSpec(model=f"{repository}@v1")
    assert [file.path for file in files_to_inspect(first)] == ["model.safetensors"]
    record_report(version=first, report=report_of(b"weights", {"head.weight": 4}), actor=actor)
    services.finish_job(job_id=job.pk, actor=actor, finish=Finish(state=JobState.SUCCEEDED))
    assert fresh(first).state is InspectionState.DONE
    second = commit_files(repository, owner, {"copy.safetensors": b"weights", "README.md": b"# Hello"})
    assert request_inspections() == 0
    assert [model.name for model in fresh(second).models] == ["copy.safetensors", "model.safetensors"]


def test_what_was_read_is_read_again_when_somebody_asks(repository, owner, client):
    version = commit_files(repository, owner, {"w.safetensors": b"1"})
    record_report(version=version, report=report_of(b"1"), actor=actor_for_user(owner))
    assert files_to_inspect(version) == []
    client.force_login(owner)
    page = client.get(f"/{repository}/versions/v1/tensors").content.decode()
    assert "Inspect again" in page
    asked = client.post(f"/{repository}/versions/v1/inspect", {"again": "1"})
    job = Job.objects.get()
    assert asked.headers["Location"] == f"/jobs/{job.pk}"
    assert job.created_by_name == owner.username
    claim, _ = claimed(job)
    listed = client.get(f"/api/v1/jobs/{job.pk}/files-to-inspect", HTTP_AUTHORIZATION=f"Bearer {claim.token}")
    assert [file["path"] for file in listed.json()] == ["w.safetensors"]


def test_few_inspections_wait_at_a_time_and_the_newest_versions_go_first(repository, owner):
    for number in range(7):
        commit_files(repository, owner, {"w.safetensors": f"{number}".encode()})
    assert [request_inspections(), request_inspections()] == [4, 0]
    labels = set(Job.objects.values_list("spec__model", flat=True))
    assert labels == {f"{repository}@v{number}" for number in (4, 5, 6, 7)}
    Job.objects.update(state=JobState.SUCCEEDED)
    assert request_inspections() == 3
    assert not Version.objects.filter(is_examined=False).exists()


def test_what_lies_in_the_trash_holds_nothing_up(repository, owner):
    deleted = commit_files(repository, owner, {"w.safetensors": b"1"})
    commit_files(repository, owner, {"w.safetensors": b"2"})
    delete_version(version=deleted, actor=actor_for_user(owner))
    assert [request_inspections(), request_inspections()] == [1, 0]
    assert Job.objects.get().spec["model"] == f"{repository}@v2"


def test_pictures_of_a_dataset_are_no_weights(team, owner):
    commit_files(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner, {"a.bin": b"1"})
    assert request_inspections() == 0
    assert not Version.objects.filter(is_examined=False).exists()


def test_an_inspection_whose_requester_has_left_goes_on(repository, owner):
    commit_files(repository, owner, {"w.safetensors": b"1"})
    request_inspections()
    type(owner).objects.filter(pk=owner.pk).update(is_active=False)
    assert claimed(Job.objects.get())[0].attempt == 1


def test_a_job_of_a_person_who_is_gone_is_not_taken_for_the_platforms(repository, owner):
    commit_files(repository, owner, {"w.safetensors": b"1"})
    job = services.request_job(spec=InspectSpec(model=f"{repository}@v1"), actor=actor_for_user(owner))
    Job.objects.update(created_by=None)
    with pytest.raises(ConflictError, match="The person who requested this job is gone"):
        services.claim_job(job_id=job.pk, worker="here", actor=WORKER)


def test_who_may_not_run_jobs_asks_for_none(repository, owner):
    commit_files(repository, owner, {"w.safetensors": b"1"})
    with pytest.raises(RepositoryNotFoundError):
        services.request_job(spec=InspectSpec(model=f"{repository}@v1"), actor=actor_for_user(make_user()))
    type(repository).objects.update(is_public=True)
    with pytest.raises(ForbiddenError, match="may not run jobs in"):
        services.request_job(spec=InspectSpec(model=f"{repository}@v1"), actor=actor_for_user(make_user()))


def test_an_inspection_that_ended_without_its_reports_says_so_and_is_asked_for_again(repository, owner, client):
    version = commit_files(repository, owner, {"w.safetensors": b"1"})
    request_inspections()
    assert fresh(version).state is InspectionState.PENDING
    Job.objects.update(state=JobState.LOST)
    assert fresh(version).state is InspectionState.FAILED
    client.force_login(owner)
    assert "Inspect the others" in client.get(f"/{repository}/versions/v1").content.decode()
    client.post(f"/{repository}/versions/v1/inspect")
    assert fresh(version).state is InspectionState.PENDING


def test_readers_are_offered_no_inspection_and_refused_one(repository, owner, client):
    commit_files(repository, owner, {"w.safetensors": b"1"})
    type(repository).objects.update(is_public=True)
    client.force_login(make_user())
    assert "Inspect" not in client.get(f"/{repository}/versions/v1/tensors").content.decode()
    assert client.post(f"/{repository}/versions/v1/inspect").status_code == 403
    client.logout()
    assert client.post(f"/{repository}/versions/v1/inspect").headers["Location"].startswith("/login")
    assert not Job.objects.exists()


def test_several_files_that_an_index_names_are_one_model(repository, owner):
    files = {"model-1.safetensors": b"1", "model-2.safetensors": b"2", "model.safetensors.index.json": b"{}"}
    version = commit_files(repository, owner, {**files, "old.pt": b"3"})
    actor = actor_for_user(owner)
    for content, tensors in ((b"1", {"net.a.weight": 2}), (b"2", {"net.b.weight": 3, "head.bias": 1})):
        record_report(version=version, report=report_of(content, tensors), actor=actor)
    shards = ["model-1.safetensors", "model-2.safetensors", "model-3.safetensors"]
    record_report(version=version, report=report_of(b"{}", format="index", shards=shards), actor=actor)
    record_report(version=version, report=report_of(b"3", {"net.a.weight": 200}, format="torch"), actor=actor)
    view = fresh(version)
    assert view.state is InspectionState.DONE
    assert [(model.name, model.parameters) for model in view.models] == [
        ("model.safetensors.index.json", 6),
        ("old.pt", 200),
    ]
    assert (view.format, view.parameters, view.dtypes) == ("safetensors", 6, {"F32": 6})
    assert [(module.name, module.parameters) for module in view.modules] == [("net", 5), ("head", 1)]
    (finding,) = view.findings
    assert "names 'model-3.safetensors', which this version lacks" in finding.sentence
    page, following = tensors_of(version, limit=2)
    assert [(tensor.path, tensor.name) for tensor in page] == [
        ("model-1.safetensors", "net.a.weight"),
        ("model-2.safetensors", "net.b.weight"),
    ]
    rest, end = tensors_of(version, limit=2, cursor=following)
    assert ([tensor.name for tensor in rest], end) == (["head.bias"], None)
    assert rest[0].model_dump()["statistics"]["std"] == 0.5
    assert [tensor.name for tensor in tensors_of(version, module="net.b")[0]] == ["net.b.weight"]


def test_dangers_come_first_and_mark_the_file(repository, owner):
    version = commit_files(repository, owner, {"a.onnx": b"1", "b.pt": b"2", "c.gguf": b"3"})
    warned = Finding(severity=Severity.WARNING, code="not-finite", sentence="NaN.", tensor="w")
    dangerous = Finding(severity=Severity.DANGER, code="external-data-outside", sentence="Outside.")
    actor = actor_for_user(owner)
    record_report(version=version, report=report_of(b"1", format="onnx", findings=[warned]), actor=actor)
    record_report(version=version, report=report_of(b"2", format="torch", findings=[warned, dangerous]), actor=actor)
    record_report(version=version, report=report_of(b"3", format="unknown"), actor=actor)
    found = [(finding.path, finding.code) for finding in fresh(version).findings]
    assert found[0] == ("b.pt", "external-data-outside")
    assert ("c.gguf", "other-format") in found
    assert set(WeightFile.objects.filter(has_danger=True).values_list("pk", flat=True)) == {sha256_of(b"2")}


def test_a_report_on_a_file_of_another_version_is_refused(repository, owner):
    version = commit_files(repository, owner, {"a.pt": b"1"})
    with pytest.raises(InvalidInputError, match="v1 has no file with the SHA-256"):
        record_report(version=version, report=report_of(b"2"), actor=actor_for_user(owner))


def test_a_version_of_many_files_costs_no_more_queries(repository, owner, django_assert_max_num_queries):
    few = commit_files(repository, owner, {f"{n}.safetensors": f"{n}".encode() for n in range(3)})
    many = commit_files(repository, owner, {f"{n}.safetensors": f"{n}".encode() for n in range(60)})
    actor = actor_for_user(owner)
    for number in range(60):
        record_report(version=many, report=report_of(f"{number}".encode(), {"w": 2}), actor=actor)
    for version in (few, many):
        with django_assert_max_num_queries(4):
            assert inspection(version).state is InspectionState.DONE


class TestOverHTTP:
    @pytest.fixture
    def version(self, repository, owner):
        return commit_files(repository, owner, {"model.safetensors": b"weights"})

    def post(self, client, job, token, body):
        headers = {"Authorization": f"Bearer {token}"}
        address = f"/api/v1/jobs/{job.pk}/files"
        return client.post(address, body, content_type="application/gzip", headers=headers)

    def test_a_worker_reports_and_readers_read(self, client, repository, owner, version):
        request_inspections()
        job = Job.objects.get()
        claim, _ = claimed(job)
        headers = {"Authorization": f"Bearer {claim.token}"}
        (file,) = client.get(f"/api/v1/jobs/{job.pk}/files-to-inspect", headers=headers).json()
        assert (file["path"], file["sha256"]) == ("model.safetensors", sha256_of(b"weights"))
        body = gzip.compress(report_of(b"weights", {"head.weight": 4}).model_dump_json().encode())
        for _ in range(2):
            assert self.post(client, job, claim.token, body).status_code == 204
        reader = {"Authorization": f"Bearer {token_for(owner)}"}
        home = f"/api/v1/models/{repository}/versions/v1"
        view = client.get(f"{home}/inspection", headers=reader).json()
        assert (view["state"], view["parameters"], view["modules"][0]["name"]) == ("done", 4, "head")
        page = client.get(f"{home}/tensors?module=head", headers=reader).json()
        assert (page["items"][0]["name"], page["next"]) == ("head.weight", None)
        assert client.get(f"{home}/tensors?cursor=x", headers=reader).status_code == 400
        assert client.get(f"{home}/tensors?model=none", headers=reader).status_code == 404

    def test_strangers_learn_nothing(self, client, repository, version):
        headers = {"Authorization": f"Bearer {token_for(make_user())}"}
        for what in ("inspection", "tensors"):
            for name in (repository.full_name, "nobody/nothing"):
                assert client.get(f"/api/v1/models/{name}/versions/v1/{what}", headers=headers).status_code == 404

    def test_a_gated_model_shows_its_tensors_to_those_who_were_let_in(self, client, repository, version):
        type(repository).objects.update(is_public=True, gate="manual")
        headers = {"Authorization": f"Bearer {token_for(make_user())}"}
        answer = client.get(f"/api/v1/models/{repository}/versions/v1/inspection", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "gated")

    @pytest.mark.parametrize("body", [b"", b"no gzip", gzip.compress(b"no json"), gzip.compress(b"{}")], ids=range(4))
    def test_what_is_no_report_is_refused(self, client, version, body):
        request_inspections()
        job = Job.objects.get()
        claim, _ = claimed(job)
        answer = self.post(client, job, claim.token, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")

    def test_a_bomb_is_refused_before_it_is_unpacked(self, client, version):
        request_inspections()
        job = Job.objects.get()
        claim, _ = claimed(job)
        bomb = gzip.compress(bytes(200_000_000), 1)
        assert self.post(client, job, claim.token, bomb).status_code == 413

    def test_nobody_else_reports(self, client, owner, version):
        request_inspections()
        job = Job.objects.get()
        for token in (token_for(owner, Scope.ADMIN), "sy_nothing"):
            assert self.post(client, job, token, gzip.compress(b"{}")).status_code in {401, 409}


def outline(name, dtype="F32"):
    return Outline(name, dtype, [2], 8, None, None)


@pytest.mark.parametrize(
    ("names", "root", "modules"),
    [
        (["net.a.w", "net.b.w", "head.w"], "", ["net", "head"]),
        (["model.net.a.w", "model.head.w"], "model", ["model.net", "model.head"]),
        (["head.weight", "head.bias"], "", ["head"]),
        (["weight", "bias"], "", ["weight", "bias"]),
        (["top/dense/kernel", "top/conv/kernel"], "top", ["top/dense", "top/conv"]),
        (["../../etc/passwd", "head.w", "a..b"], "", ["../../etc", "head", "a"]),
        ([], "", []),
    ],
)
def test_modules_begin_where_names_part(names, root, modules):
    tensors = [outline(name) for name in names]
    assert root_of(tensors) == root
    assert [view.name for view in top_modules(tensors)] == modules
