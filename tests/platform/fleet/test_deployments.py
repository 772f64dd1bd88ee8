"""Which devices run something that was made from, or trained on, a version."""

from __future__ import annotations

import pytest

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.fleet import DeviceState, EnrolRequest, PollRequest
from steelyard_contracts.manifests import KNOWN_ANSWERS_FILE, MODEL_FILE
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.permissions import ANONYMOUS, Actor, Scope
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user, new_secret
from steelyard_platform.fleet import services
from steelyard_platform.fleet.lineage import Running, deployments_of, running
from steelyard_platform.repos.services import set_visibility
from steelyard_platform.weights.models import Relation
from steelyard_platform.weights.services import record_lineage
from tests.support.factories import commit_files, make_repository, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def chain(team, owner):
    """(the dataset's third version, the model trained on it, its variant), and the dataset's second version's model."""
    digits = make_repository(team, owner, "digits", RepositoryKind.DATASET)
    data = [commit_files(digits, owner, {"train/a/1.png": bytes([number])}) for number in range(3)]
    reader = make_repository(team, owner, "reader")
    older, model, variant = (
        commit_files(reader, owner, {MODEL_FILE: name, KNOWN_ANSWERS_FILE: b"{}"}) for name in (b"o", b"m", b"v")
    )
    for source, target, relation in (
        (data[1], older, Relation.TRAINED_ON),
        (data[2], older, Relation.EVALUATED_ON),
        (data[2], model, Relation.TRAINED_ON),
        (model, variant, Relation.QUANTIZED_FROM),
    ):
        record_lineage(source=source, target=target, relation=relation, job=None)
    return data[2], model, variant, older


@pytest.fixture
def deploy(team, owner):
    """An enrolled device that says it runs the version."""

    def run(name, version):
        key = new_secret()
        enrolment = actor_for_secret(services.issue_enrolment_token(team=team, actor=actor_for_user(owner)))
        services.enrol_device(request=EnrolRequest(name=name, key=key), actor=enrolment)
        release = services.create_release(version=version, variant=None, reason="", actor=actor_for_user(owner))
        services.answer_poll(request=PollRequest(running=release.digest), actor=actor_for_secret(key))
        return release

    return run


def found(version, actor):
    return {(one.device, one.version.rpartition("/")[2]) for one in deployments_of(version, actor=actor)[0]}


def test_one_query_tells_the_devices_from_a_dataset_through_models_to_variants(
    chain, deploy, owner, team, django_assert_num_queries
):
    data, model, variant, older = chain
    release = deploy("gate-1", variant)
    deploy("gate-2", model)
    deploy("gate-3", older)
    actor = actor_for_user(owner)
    with django_assert_num_queries(1):
        deployments, following = deployments_of(data, actor=actor)
    assert following is None
    one = next(one for one in deployments if one.device == "gate-1")
    assert (one.team, one.version, one.release) == (team.name, f"{team}/reader@v3", release.digest)
    assert one.state is DeviceState.PENDING
    assert one.last_seen_at is not None
    assert one.last_seen_at.tzinfo is not None
    assert found(data, actor) == {("gate-1", "reader@v3"), ("gate-2", "reader@v2")}
    assert found(variant, actor) == {("gate-1", "reader@v3")}
    assert found(older, actor) == {("gate-3", "reader@v1")}


def test_a_device_that_runs_something_else_now_is_gone_from_the_answer(chain, deploy, owner):
    data, _, variant, _ = chain
    deploy("gate-1", variant)
    from steelyard_platform.fleet.models import Device

    Device.objects.update(running="")
    assert found(data, actor_for_user(owner)) == set()


def test_a_team_keeps_its_devices_to_itself(chain, deploy, owner):
    data, model, variant, _ = chain
    deploy("gate-1", variant)
    for repository in (data.repository, model.repository):
        set_visibility(repository=repository, public=True, actor=actor_for_user(owner))
    for actor in (actor_for_user(make_user()), ANONYMOUS, Actor(scope=Scope.WORKER)):
        assert found(data, actor) == set()
        assert running([variant.pk], actor) == {}


def test_devices_come_in_pages_and_in_numbers(chain, deploy, owner, team):
    data, _, variant, _ = chain
    for number in range(5):
        deploy(f"gate-{number}", variant)
    actor = actor_for_user(owner)
    seen, cursor = [], None
    while True:
        page, cursor = deployments_of(data, actor=actor, cursor=cursor, limit=2)
        seen += [one.device for one in page]
        if cursor is None:
            break
    assert sorted(seen) == [f"gate-{number}" for number in range(5)]
    assert running([variant.pk, data.pk], actor) == {variant.pk: [Running(team.name, 5, "gate-0")]}
    with pytest.raises(InvalidInputError, match="is no cursor"):
        deployments_of(data, actor=actor, cursor="nonsense")
