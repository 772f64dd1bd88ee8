"""What a deletion would break: said before it happens, and in the refusal when it cannot."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from steelyard_contracts.errors import ConflictError, ForbiddenError
from steelyard_contracts.fleet import InstallState, RolloutRequest
from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.manifests import KNOWN_ANSWERS_FILE, MODEL_FILE
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import TrainSpec
from steelyard_platform.accounts.models import Membership
from steelyard_platform.accounts.permissions import Role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.fleet import services as fleet
from steelyard_platform.jobs.services import request_job
from steelyard_platform.repos import services
from steelyard_platform.repos.deletion import foresee_repository, foresee_version
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.holds import MOST_NAMED
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.models import Relation
from steelyard_platform.weights.promotions import request_promotion
from steelyard_platform.weights.services import add_gate, record_evaluation, record_lineage
from tests.platform.fleet.test_fleet import enrol, release_of, report
from tests.platform.hub.test_xet import CHUNKS, Uploader
from tests.platform.repos.test_garbage import GRACE, later
from tests.support.factories import commit_files, empty_trash, make_repository, make_team, make_user, picture_dataset

pytestmark = pytest.mark.django_db


@pytest.fixture
def actor(owner):
    return actor_for_user(owner)


@pytest.fixture
def model(owner, team):
    files = {MODEL_FILE: b"onnx", KNOWN_ANSWERS_FILE: b"{}"}
    return commit_files(make_repository(team, owner, "reader"), owner, files)


@pytest.fixture
def dataset(owner, team):
    return picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)


def holds(outlook):
    return [(hold.kind, hold.name, hold.stops) for hold in outlook.holds]


def evaluate(version, dataset):
    measured = EvaluationReport(model="-", dataset="-", runtime="torch-cpu", metrics={"accuracy": 0.9})
    record_evaluation(version=version, dataset=dataset, report=measured, job=None)


def test_names_and_branches_are_told_and_stand_in_the_way(model, actor):
    repository = model.repository
    services.move_alias(version=model, name="production", reason="", verdicts=[], actor=actor)
    services.create_tag(repository=repository, name="best", at=resolve(repository), message="", actor=actor)
    services.create_branch(repository=repository, name="side", start=resolve(repository), actor=actor)
    outlook = foresee_version(repository, model, actor)
    assert holds(outlook) == [("alias", "production", True), ("tag", "best", True), ("branch", "side", True)]
    (line,) = outlook.lines
    assert line == (
        f"{repository}@v1 cannot be deleted: the alias 'production' stands on v1; the tag 'best' stands on v1; "
        "the branch 'side' stands on v1. Move or delete what stands in the way first."
    )
    # They go along with the whole.
    assert foresee_repository(repository, actor).refusal is None


def test_what_a_device_runs_cannot_be_deleted_and_the_device_is_named(model, owner, team, actor):
    device = enrol(actor_for_secret(team, actor), "gate-1", accept_as=owner)
    release = release_of(model, owner)
    fleet.start_rollout(request=RolloutRequest(release=release.pk, devices=["gate-1"]), actor=actor)
    report(device, release, InstallState.HEALTHY)
    for outlook in (foresee_version(model.repository, model, actor), foresee_repository(model.repository, actor)):
        assert holds(outlook) == [("release", release.digest[:12], True), ("device", "gate-1", True)]
    for delete in (
        lambda: services.delete_version(version=model, actor=actor),
        lambda: services.delete_repository(repository=model.repository, actor=actor),
    ):
        with pytest.raises(ConflictError, match="the device gate-1 runs v1"):
            delete()


def actor_for_secret(team, actor):
    from steelyard_platform.accounts.tokens import actor_for_secret as speaking

    return speaking(fleet.issue_enrolment_token(team=team, actor=actor))


def test_what_a_gate_is_measured_on_cannot_be_deleted(model, dataset, owner, team, actor):
    commit_files(dataset.repository, owner, {"train/a/0.png": b"another"})
    add_gate(
        repository=model.repository, text=f"accuracy >= 0.9 on {dataset.repository}@v1", applies_to="*", actor=actor
    )
    add_gate(repository=model.repository, text=f"recall >= 0.9 on {dataset.repository}", applies_to="*", actor=actor)
    with pytest.raises(ConflictError, match=f"the gate 'accuracy .*@v1' of {team}/reader refers to v1"):
        services.delete_version(version=dataset, actor=actor)
    with pytest.raises(ConflictError, match="the gate 'recall") as refusal:
        services.delete_repository(repository=dataset.repository, actor=actor)
    assert len(refusal.value.details["holds"]) == 2
    newest = resolve(dataset.repository).version
    assert newest is not None
    services.delete_version(version=newest, actor=actor)


def test_a_strangers_gate_keeps_nothing_until_they_have_measured_on_it(dataset, owner, actor):
    stranger = make_user()
    theirs = make_repository(make_team(stranger), stranger, "reader")
    rule = f"accuracy >= 0.9 on {dataset.repository}@v1"
    add_gate(repository=theirs, text=rule, applies_to="*", actor=actor_for_user(stranger))
    assert foresee_version(dataset.repository, dataset, actor).refusal is None
    evaluate(commit_files(theirs, stranger, {"w": b"1"}), dataset)
    outlook = foresee_version(dataset.repository, dataset, actor)
    assert holds(outlook) == [("gate", "", True), ("descendant", "", True)]
    assert str(theirs) not in str(outlook.lines)
    assert "a gate of a model that you may not see refers to v1" in outlook.lines[0]
    assert "a version that you may not see was made from v1 or measured on it" in outlook.lines[0]


def test_what_was_made_from_a_version_keeps_it_and_is_told_of_a_repository(model, dataset, owner, actor):
    record_lineage(source=dataset, target=model, relation=Relation.TRAINED_ON, job=None)
    name = f"{model.repository}@v1"
    assert holds(foresee_version(dataset.repository, dataset, actor)) == [("descendant", name, True)]
    outlook = foresee_repository(dataset.repository, actor)
    assert holds(outlook) == [("descendant", name, False)]
    assert outlook.lines[-1] == f"Also: {name} was made from v1 or measured on it."
    services.delete_repository(repository=model.repository, actor=actor)
    assert holds(foresee_version(dataset.repository, dataset, actor)) == []


def test_a_job_that_has_not_ended_is_told_and_does_not_stand_in_the_way(dataset, team, actor):
    job = request_job(spec=TrainSpec(dataset=f"{dataset.repository}@v1", output=f"{team}/out"), actor=actor)
    outlook = foresee_version(dataset.repository, dataset, actor)
    assert holds(outlook) == [("job", str(job.pk), False)]
    assert outlook.lines[-1] == f"Also: the train job {str(job.pk)[:8]} uses v1 and has not ended."
    services.delete_version(version=dataset, actor=actor)


def test_a_request_for_promotion_is_told_and_asks_for_nothing_any_more(model, owner, team, actor):
    asked = request_promotion(version=model, target="production", words="", actor=actor)
    assert holds(foresee_version(model.repository, model, actor)) == [("promotion", f"#{asked.number}", False)]
    services.delete_version(version=model, actor=actor)
    asked.refresh_from_db()
    assert asked.version is None


def test_a_gate_may_name_the_version_by_its_commit(model, dataset, actor):
    rule = f"accuracy >= 0.9 on {dataset.repository}@{dataset.commit_id}"
    add_gate(repository=model.repository, text=rule, applies_to="*", actor=actor)
    with pytest.raises(ConflictError, match="refers to v1"):
        services.delete_version(version=dataset, actor=actor)


def test_it_says_what_is_freed_and_that_is_what_is_freed(client):
    ada = Uploader(client)
    actor = actor_for_user(ada.owner)
    ada.push("w.bin", *CHUNKS)
    ada.push("w.bin", CHUNKS[0], b"another end" * 1000)
    commit_files(ada.repository, ada.owner, {"README.md": b"words"})
    version = resolve(ada.repository, "v1").version
    assert version is not None
    outlook = foresee_version(ada.repository, version, actor)
    assert (
        outlook.lines[1]
        == f"When the trash is emptied, {outlook.freed / 1000:.1f} kB will be freed that nothing else needs."
    )
    services.delete_version(version=version, actor=actor)
    rest = foresee_repository(ada.repository, actor)
    empty_trash(ada.owner)
    with later(24 * 40):
        assert collect_garbage(GRACE).objects.bytes == outlook.freed > 0
    services.delete_repository(repository=ada.repository, actor=actor)
    empty_trash(ada.owner)
    with later(24 * 80):
        assert collect_garbage(GRACE).objects.bytes == rest.freed > 0


def test_a_long_list_is_cut_and_says_so(model, actor):
    for number in range(MOST_NAMED + 5):
        services.create_tag(
            repository=model.repository, name=f"t{number}", at=resolve(model.repository), message="", actor=actor
        )
    with CaptureQueriesContext(connection) as queries:
        outlook = foresee_version(model.repository, model, actor)
    assert [hold.sentence for hold in outlook.holds][-1] == "and more of the kind 'tag'"
    assert len(outlook.holds) == MOST_NAMED + 1
    assert len(queries) < 20


def test_who_may_not_delete_is_told_nothing(model, team):
    writer = make_user()
    Membership.objects.create(team=team, user=writer, role=Role.CONTRIBUTOR)
    with pytest.raises(ForbiddenError):
        foresee_version(model.repository, model, actor_for_user(writer))
    with pytest.raises(ForbiddenError):
        foresee_repository(model.repository, actor_for_user(writer))
