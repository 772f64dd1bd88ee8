"""Enrolment, signed releases and staged rollouts."""

from __future__ import annotations

import base64

import pytest

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import (
    AlreadyExistsError,
    AuthenticationError,
    ConflictError,
    ForbiddenError,
    GateRefusedError,
    InvalidInputError,
    NotFoundError,
    QuarantinedError,
)
from steelyard_contracts.fleet import (
    DeviceState,
    EnrolRequest,
    InstallReport,
    InstallState,
    PollRequest,
    RolloutRequest,
    RolloutState,
)
from steelyard_contracts.manifests import KNOWN_ANSWERS_FILE, MODEL_FILE, Envelope, ReleaseManifest
from steelyard_contracts.weights import FileReport, Finding, Severity
from steelyard_edge.releases import UntrustedReleaseError, verified_manifest
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import OPERATOR, Role
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_secret, actor_for_user, new_secret
from steelyard_platform.fleet import services
from steelyard_platform.fleet.models import Device, Rollout
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.services import delete_repository
from steelyard_platform.weights import promotions
from steelyard_platform.weights.inspection import record_report
from steelyard_platform.weights.keyring import pinned_key
from steelyard_platform.weights.services import add_gate
from steelyard_platform.weights.signing import revoke_key, rotate_key
from tests.support.factories import commit_files, make_repository, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def enrolment(team, owner):
    return actor_for_secret(services.issue_enrolment_token(team=team, actor=actor_for_user(owner)))


@pytest.fixture
def version(owner, team):
    files = {MODEL_FILE: b"onnx", KNOWN_ANSWERS_FILE: b"{}", "config.json": b"{}", "README.md": b"#"}
    return commit_files(make_repository(team, owner, "reader"), owner, files)


def enrol(enrolment, name, key=None, accept_as=None):
    key = key or new_secret()
    services.enrol_device(request=EnrolRequest(name=name, key=key), actor=enrolment)
    if accept_as:
        services.accept_device(device=Device.objects.get(name=name), actor=actor_for_user(accept_as))
    return actor_for_secret(key)


def poll(actor):
    return services.answer_poll(request=PollRequest(), actor=actor)


def report(actor, release, state):
    services.receive_report(report=InstallReport(release=release.pk, state=state, running=release.digest), actor=actor)


def release_of(version, owner, **options):
    return services.create_release(version=version, variant=None, reason="", actor=actor_for_user(owner), **options)


def test_a_device_waits_for_an_operator(enrolment, owner):
    device = enrol(enrolment, "gate-1")
    assert poll(device).state is DeviceState.PENDING
    services.accept_device(device=Device.objects.get(), actor=actor_for_user(owner))
    assert poll(device).state is DeviceState.ACCEPTED


def test_a_name_belongs_to_the_key_that_took_it(enrolment):
    key = new_secret()
    enrol(enrolment, "gate-1", key)
    enrol(enrolment, "gate-1", key)
    with pytest.raises(AlreadyExistsError, match="has a device gate-1 with another key"):
        enrol(enrolment, "gate-1")
    assert Device.objects.count() == 1


def test_enrolment_takes_an_enrolment_token(owner):
    with pytest.raises(ForbiddenError, match="Enrol with an enrolment token of the team"):
        enrol(actor_for_user(owner), "gate-1")


def test_a_revoked_key_opens_nothing(enrolment, owner):
    key = new_secret()
    enrol(enrolment, "gate-1", key, accept_as=owner)
    services.revoke_device(device=Device.objects.select_related("team", "token").get(), actor=actor_for_user(owner))
    with pytest.raises(AuthenticationError, match="Invalid credentials"):
        actor_for_secret(key)
    with pytest.raises(ConflictError, match="was revoked"):
        services.accept_device(device=Device.objects.select_related("team").get(), actor=actor_for_user(owner))


def test_a_release_is_signed_and_the_same_bytes_are_the_same_release(version, owner):
    release = release_of(version, owner)
    manifest = ReleaseManifest.model_validate_json(base64.b64decode(release.envelope["payload"]))
    assert {file.path for file in manifest.files} == {MODEL_FILE, KNOWN_ANSWERS_FILE, "config.json"}
    assert manifest.digest == release.digest
    assert Envelope.model_validate(release.envelope).signature
    assert release_of(version, owner) == release


def test_a_device_that_pinned_a_key_trusts_releases_after_a_rotation_and_none_after_its_revocation(
    version, owner, enrolment
):
    request = EnrolRequest(name="gate-1", key=new_secret())
    pinned = services.enrol_device(request=request, actor=enrolment).public_key
    device = actor_for_secret(request.key)
    services.accept_device(device=Device.objects.get(), actor=actor_for_user(owner))
    rotate_key(actor=OPERATOR)
    release = release_of(version, owner)
    rollout = RolloutRequest(release=release.pk, devices=["gate-1"])
    services.start_rollout(request=rollout, actor=actor_for_user(owner))
    assert verified_manifest(poll(device).offer, pinned).digest == release.digest
    revoke_key(key_id=release.envelope["key_id"], reason="stolen", actor=OPERATOR)
    offer = poll(device).offer
    with pytest.raises(UntrustedReleaseError, match="signature is not valid"):
        verified_manifest(offer, pinned)
    assert verified_manifest(offer, pinned_key().public_key).digest == release.digest


def test_a_version_that_no_device_could_run_is_not_released(owner, team):
    version = commit_files(make_repository(team, owner, "raw"), owner, {"model.safetensors": b"w"})
    with pytest.raises(InvalidInputError, match="has no model.onnx and no known_answers.json"):
        release_of(version, owner)
    with pytest.raises(NotFoundError, match="has no variant 'onnx-int8'. There are: none; optimise it first"):
        services.create_release(version=version, variant="onnx-int8", reason="", actor=actor_for_user(owner))


def test_a_release_that_is_found_dangerous_later_goes_to_no_device_any_more(version, owner, enrolment):
    device = enrol(enrolment, "gate-1", accept_as=owner)
    release = release_of(version, owner)
    request = RolloutRequest(release=release.pk, devices=["gate-1"])
    services.start_rollout(request=request, actor=actor_for_user(owner))
    assert services.release_file(release.pk, MODEL_FILE, device).path == MODEL_FILE
    finding = Finding(severity=Severity.DANGER, code="lying-header", sentence="It lies.")
    report = FileReport(sha256=sha256_of(b"onnx"), format="onnx", findings=[finding])
    record_report(version=version, report=report, actor=OPERATOR)
    with pytest.raises(QuarantinedError, match=f"{MODEL_FILE}: It lies."):
        services.release_file(release.pk, "config.json", device)
    for again in (
        lambda: release_of(version, owner),
        lambda: services.start_rollout(request=request, actor=actor_for_user(owner)),
    ):
        with pytest.raises(QuarantinedError):
            again()


def test_a_release_passes_its_gates(version, owner):
    add_gate(repository=version.repository, text="accuracy >= 0.9", applies_to="release", actor=actor_for_user(owner))
    with pytest.raises(GateRefusedError, match="cannot be released: accuracy was never measured"):
        release_of(version, owner)


def test_an_override_of_a_releases_gates_is_kept_with_it(version, owner, team, enrolment):
    actor, contributor = actor_for_user(owner), make_user()
    add_gate(repository=version.repository, text="accuracy >= 0.9", applies_to="release", actor=actor)
    with pytest.raises(InvalidInputError, match="Gates are overridden with a reason"):
        release_of(version, owner, override=True)
    set_role(team=team, username=contributor.username, role=Role.CONTRIBUTOR, actor=actor)
    asked = {"version": version, "variant": None, "reason": "recall", "override": True}
    with pytest.raises(ForbiddenError, match="may not operate the fleet"):
        services.create_release(**asked, actor=actor_for_user(contributor))
    view = services.release_view(services.create_release(**asked, actor=actor))
    assert (view.reason, view.overridden) == (
        "recall",
        ["accuracy was never measured; evaluate this version first"],
    )
    assert AuditRow.objects.get(action="override gates").detail["reason"] == "recall"
    enrol(enrolment, "gate-1", accept_as=owner)
    services.start_rollout(request=RolloutRequest(release=view.id, devices=["gate-1"]), actor=actor)


def test_a_release_that_no_longer_passes_is_not_rolled_out(version, owner, enrolment):
    actor = actor_for_user(owner)
    release = release_of(version, owner)
    enrol(enrolment, "gate-1", accept_as=owner)
    add_gate(repository=version.repository, text="accuracy >= 0.9", applies_to="release", actor=actor)
    request = RolloutRequest(release=release.pk, devices=["gate-1"])
    with pytest.raises(GateRefusedError, match="cannot be rolled out: accuracy was never measured"):
        services.start_rollout(request=request, actor=actor)
    assert AuditRow.objects.get(action="refused by gate").detail["rules"] == ["accuracy >= 0.9"]
    forced = request.model_copy(update={"override": True, "reason": "the old one burns"})
    services.start_rollout(request=forced, actor=actor)
    assert AuditRow.objects.get(action="override gates").detail["reason"] == "the old one burns"
    view = services.rollout_view(services.find_rollout(Rollout.objects.get().pk, actor)).release
    assert (view.reason, len(view.overridden)) == ("the old one burns", 1)
    enrol(enrolment, "gate-2", accept_as=owner)
    services.start_rollout(request=request.model_copy(update={"devices": ["gate-2"]}), actor=actor)


def test_a_release_that_a_maintainer_approved(version, owner, team, enrolment):
    actor, author = actor_for_user(owner), make_user()
    set_role(team=team, username=author.username, role=Role.MAINTAINER, actor=actor)
    asker = actor_for_user(author)
    add_gate(repository=version.repository, text="approved by 1 maintainer", applies_to="release", actor=actor)
    promotion = promotions.request_promotion(version=version, target="release", words="", actor=asker)
    with pytest.raises(ConflictError, match="A release is carried out by releasing this version"):
        promotions.carry_out(promotion=promotion, reason="", override=False, actor=asker)
    with pytest.raises(GateRefusedError, match="no maintainer has approved it"):
        release_of(version, author)
    promotions.approve(promotion=promotion, seen=None, words="", actor=actor)
    release = release_of(version, author)
    assert promotions.promotion_numbered(version.repository, 1).state == "carried_out"
    for name in ("gate-1", "gate-2"):  # it was asked for once, and may be rolled out often
        enrol(enrolment, name, accept_as=owner)
        services.start_rollout(request=RolloutRequest(release=release.pk, devices=[name]), actor=asker)


def test_the_others_wait_until_the_first_device_is_healthy(version, owner, enrolment):
    first, second = (enrol(enrolment, name, accept_as=owner) for name in ("gate-1", "gate-2"))
    release = release_of(version, owner)
    request = RolloutRequest(release=release.pk, devices=["gate-1", "gate-2"])
    services.start_rollout(request=request, actor=actor_for_user(owner))
    assert poll(second).offer is None
    offer = poll(first).offer
    assert offer is not None
    assert offer.digest == release.digest
    report(first, release, InstallState.INSTALLING)
    assert poll(second).offer is None
    report(first, release, InstallState.HEALTHY)
    assert poll(second).offer is not None
    report(second, release, InstallState.HEALTHY)
    assert Rollout.objects.get().state == RolloutState.COMPLETED
    steps = AuditRow.objects.filter(action="advance rollout").order_by("pk")
    assert [step.detail["state"] for step in steps] == ["running", "completed"]
    assert AuditRow.objects.filter(action="install healthy").count() == 2


def test_one_failure_too_many_halts_the_rollout(version, owner, enrolment):
    first, second = (enrol(enrolment, name, accept_as=owner) for name in ("gate-1", "gate-2"))
    release = release_of(version, owner)
    request = RolloutRequest(release=release.pk, devices=["gate-1", "gate-2"])
    services.start_rollout(request=request, actor=actor_for_user(owner))
    report(first, release, InstallState.ROLLED_BACK)
    assert Rollout.objects.get().state == RolloutState.HALTED
    assert poll(second).offer is None


def test_a_device_reads_only_what_it_was_offered(version, owner, enrolment):
    first, second = (enrol(enrolment, name, accept_as=owner) for name in ("gate-1", "gate-2"))
    release = release_of(version, owner)
    request = RolloutRequest(release=release.pk, devices=["gate-1", "gate-2"])
    services.start_rollout(request=request, actor=actor_for_user(owner))
    assert services.release_file(release.pk, MODEL_FILE, first).path == MODEL_FILE
    with pytest.raises(NotFoundError, match="was not offered that release"):
        services.release_file(release.pk, MODEL_FILE, second)
    with pytest.raises(NotFoundError, match="has no file 'README.md'"):
        services.release_file(release.pk, "README.md", first)


def test_a_rollout_does_not_wait_for_a_device_that_was_revoked(version, owner, enrolment):
    enrol(enrolment, "gate-1", accept_as=owner)
    second = enrol(enrolment, "gate-2", accept_as=owner)
    release = release_of(version, owner)
    request = RolloutRequest(release=release.pk, devices=["gate-1", "gate-2"], max_failures=1)
    services.start_rollout(request=request, actor=actor_for_user(owner))
    device = Device.objects.select_related("team", "token").get(name="gate-1")
    services.revoke_device(device=device, actor=actor_for_user(owner))
    assert poll(second).offer is not None


def test_what_devices_run_cannot_be_deleted(version, owner):
    release_of(version, owner)
    with pytest.raises(ConflictError, match="was released to devices; what they run is kept"):
        delete_repository(repository=version.repository, actor=actor_for_user(owner))
    assert Version.objects.filter(pk=version.pk).exists()


def test_reports_out_of_order_are_refused(version, owner, enrolment):
    device = enrol(enrolment, "gate-1", accept_as=owner)
    release = release_of(version, owner)
    services.start_rollout(request=RolloutRequest(release=release.pk, devices=["gate-1"]), actor=actor_for_user(owner))
    report(device, release, InstallState.HEALTHY)
    report(device, release, InstallState.HEALTHY)  # a repeat is fine
    with pytest.raises(ConflictError, match="The install is healthy; failed cannot follow"):
        report(device, release, InstallState.FAILED)


def test_a_rollout_takes_accepted_devices_only_and_one_at_a_time(version, owner, enrolment):
    enrol(enrolment, "pending")
    enrol(enrolment, "gate-1", accept_as=owner)
    release = release_of(version, owner)

    def start(*names):
        request = RolloutRequest(release=release.pk, devices=list(names))
        return services.start_rollout(request=request, actor=actor_for_user(owner))

    with pytest.raises(ConflictError, match="Not accepted: pending"):
        start("gate-1", "pending")
    with pytest.raises(NotFoundError, match="has no device nobody"):
        start("nobody")
    start("gate-1")
    with pytest.raises(ConflictError, match="gate-1 is in another rollout"):
        start("gate-1")
