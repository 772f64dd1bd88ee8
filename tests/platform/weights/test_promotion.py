"""Moving an alias past the gates."""

from __future__ import annotations

import pytest
from django.conf import settings

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import ForbiddenError, GateRefusedError, InvalidInputError, InvalidNameError
from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.weights import FileReport, Finding, Severity
from steelyard_platform.accounts.models import AuditRow
from steelyard_platform.accounts.permissions import OPERATOR, Actor, Role
from steelyard_platform.accounts.services import set_role
from steelyard_platform.accounts.tokens import actor_for_user
from steelyard_platform.repos.models import Alias, AliasMove, Version
from steelyard_platform.repos.services import protect_alias
from steelyard_platform.weights.inspection import record_report
from steelyard_platform.weights.models import VersionSignature
from steelyard_platform.weights.services import add_gate, promote_version, record_evaluation, verdicts_for
from steelyard_platform.weights.signing import revoke_key, rotate_key, signature_of
from tests.support.factories import commit_files, make_repository, make_user, picture_dataset

pytestmark = pytest.mark.django_db
WORKER = Actor(name="a worker")


@pytest.fixture
def model(owner, team):
    return make_repository(team, owner, "reader")


@pytest.fixture
def dataset(owner, team):
    return picture_dataset(make_repository(team, owner, "digits", RepositoryKind.DATASET), owner)


def evaluate(version, dataset, accuracy):
    report = EvaluationReport(model="-", dataset="-", runtime="torch-cpu", metrics={"accuracy": accuracy})
    record_evaluation(version=version, dataset=dataset, report=report, job=None)


def test_a_version_that_meets_the_rules_gets_the_name(model, owner, team, dataset):
    actor = actor_for_user(owner)
    add_gate(repository=model, text=f"accuracy >= 0.9 on {team}/digits@v1", applies_to="production", actor=actor)
    version = commit_files(model, owner, {"w": b"1"})
    evaluate(version, dataset, 0.95)
    promote_version(version=version, alias="production", reason="better", actor=actor)
    assert Alias.objects.get(name="production").version == version
    move = AliasMove.objects.get()
    assert (move.actor, move.reason, move.verdicts[0]["passed"]) == (owner.username, "better", True)


def test_one_that_does_not_is_refused_and_the_name_stays(model, owner, team, dataset):
    actor = actor_for_user(owner)
    good, bad = commit_files(model, owner, {"w": b"1"}), commit_files(model, owner, {"w": b"2"})
    evaluate(good, dataset, 0.95)
    evaluate(bad, dataset, 0.5)
    promote_version(version=good, alias="production", reason="", actor=actor)
    add_gate(repository=model, text="accuracy >= 0.9", applies_to="*", actor=actor)
    with pytest.raises(GateRefusedError) as refusal:
        promote_version(version=bad, alias="production", reason="", actor=actor)
    assert str(refusal.value) == f"{model}@v2 cannot become 'production': accuracy is 0.5; at least 0.9 is asked."
    assert Alias.objects.get(name="production").version == good
    assert AuditRow.objects.filter(action="refused by gate").exists()


def test_a_rule_for_one_alias_leaves_others_free(model, owner):
    actor = actor_for_user(owner)
    version = commit_files(model, owner, {"w": b"1"})
    add_gate(repository=model, text="accuracy >= 0.9", applies_to="production", actor=actor)
    promote_version(version=version, alias="staging", reason="", actor=actor)
    with pytest.raises(GateRefusedError, match="was never measured"):
        promote_version(version=version, alias="production", reason="", actor=actor)


def test_a_protected_alias_is_moved_by_maintainers_only(model, owner, team):
    contributor = make_user()
    set_role(team=team, username=contributor.username, role=Role.CONTRIBUTOR, actor=actor_for_user(owner))
    version = commit_files(model, owner, {"w": b"1"})
    promote_version(version=version, alias="production", reason="", actor=actor_for_user(contributor))
    protect_alias(repository=model, name="production", protected=True, actor=actor_for_user(owner))
    with pytest.raises(ForbiddenError, match="may not manage model"):
        promote_version(version=version, alias="production", reason="", actor=actor_for_user(contributor))
    promote_version(version=version, alias="production", reason="", actor=actor_for_user(owner))


def test_a_rule_follows_the_name_of_its_dataset(model, owner, team, dataset):
    actor = actor_for_user(owner)
    add_gate(repository=model, text=f"accuracy >= 0.9 on {team}/digits@gold", applies_to="*", actor=actor)
    version = commit_files(model, owner, {"w": b"1"})
    evaluate(version, dataset, 0.95)
    with pytest.raises(GateRefusedError, match="@gold was never measured"):
        promote_version(version=version, alias="production", reason="", actor=actor)
    promote_version(version=dataset, alias="gold", reason="", actor=actor)
    promote_version(version=version, alias="production", reason="", actor=actor)


def test_the_size_of_a_version_is_known_without_measuring_it(model, owner):
    actor = actor_for_user(owner)
    add_gate(repository=model, text="size_mb <= 0.001", applies_to="*", actor=actor)
    promote_version(version=commit_files(model, owner, {"w": b"1"}), alias="production", reason="", actor=actor)
    large = commit_files(model, owner, {"w": bytes(2000)})
    with pytest.raises(GateRefusedError, match=r"it weighs 0.002 MB; at most 0.001 is asked\.$"):
        promote_version(version=large, alias="production", reason="", actor=actor)


def test_an_override_takes_a_maintainer_and_a_reason_and_is_kept(model, owner, team):
    actor, contributor = actor_for_user(owner), make_user()
    set_role(team=team, username=contributor.username, role=Role.CONTRIBUTOR, actor=actor)
    add_gate(repository=model, text="accuracy >= 0.9", applies_to="production", actor=actor)
    version = commit_files(model, owner, {"w": b"1"})

    def override(reason, who):
        promote_version(version=version, alias="production", override=True, reason=reason, actor=who)

    with pytest.raises(ForbiddenError, match="may not manage model"):
        override("hurry", actor_for_user(contributor))
    with pytest.raises(InvalidInputError, match="Gates are overridden with a reason"):
        override("  ", actor)
    assert not Alias.objects.exists()
    override("the old one is broken", actor)
    said = "accuracy was never measured; evaluate this version first"
    move = AliasMove.objects.get()
    assert (move.reason, move.overridden) == ("the old one is broken", [said])
    row = AuditRow.objects.get(action="override gates")
    assert (row.actor, row.detail["reason"]) == (owner.username, "the old one is broken")
    assert row.detail["rules"] == [f"accuracy >= 0.9: {said}"]


def test_an_override_that_was_not_needed_is_none(model, owner):
    version = commit_files(model, owner, {"w": b"1"})
    promote_version(version=version, alias="production", reason="", override=True, actor=actor_for_user(owner))
    assert AliasMove.objects.get().overridden == []
    assert not AuditRow.objects.filter(action="override gates").exists()


def test_no_alias_is_called_like_the_releases_that_gates_speak_of(model, owner):
    version = commit_files(model, owner, {"w": b"1"})
    with pytest.raises(InvalidNameError, match="Gates mean releases to devices by 'release'"):
        promote_version(version=version, alias="release", reason="", actor=actor_for_user(owner))


def scanned(version, data, *findings):
    """As a worker reports it."""
    report = FileReport(sha256=sha256_of(data), format="torch", findings=list(findings))
    record_report(version=version, report=report, actor=WORKER)
    Version.objects.filter(pk=version.pk).update(is_examined=True)
    version.refresh_from_db(fields=["is_examined"])


@pytest.mark.parametrize("severity", list(Severity))
def test_a_version_passes_when_all_its_files_were_scanned_and_nothing_was_found(model, owner, severity):
    actor = actor_for_user(owner)
    add_gate(repository=model, text="no scan findings", applies_to="*", actor=actor)
    clean, other = (commit_files(model, owner, {"model.pt": data, "README.md": b"#"}) for data in (b"1", b"2"))
    with pytest.raises(GateRefusedError, match="1 file was not scanned yet; ask again when that is done"):
        promote_version(version=clean, alias="production", reason="", actor=actor)
    scanned(clean, b"1")
    promote_version(version=clean, alias="production", reason="", actor=actor)
    scanned(other, b"2", Finding(severity=severity, code="runs-code", sentence="It runs os.system."))
    with pytest.raises(GateRefusedError, match=r"1 finding: model.pt: It runs os.system; none is asked\.$"):
        promote_version(version=other, alias="production", reason="", actor=actor)


def test_a_version_that_nobody_has_looked_at_may_hold_anything(model, owner):
    actor = actor_for_user(owner)
    add_gate(repository=model, text="no scan findings", applies_to="*", actor=actor)
    version = commit_files(model, owner, {"README.md": b"#"})
    with pytest.raises(GateRefusedError, match="not scanned yet"):
        promote_version(version=version, alias="production", reason="", actor=actor)


def test_a_version_is_signed_when_a_rule_asks_for_it(model, owner):
    actor = actor_for_user(owner)
    add_gate(repository=model, text="signed", applies_to="*", actor=actor)
    version = commit_files(model, owner, {"w": b"1"})
    assert not verdicts_for(version, "production")[0].passed
    promote_version(version=version, alias="production", reason="", actor=actor)
    assert AliasMove.objects.get().verdicts[0]["sentence"] == "it is signed; one by this installation is asked"
    assert VersionSignature.objects.filter(version=version).exists()


def test_a_version_that_cannot_be_signed_is_refused(model, owner, monkeypatch):
    """The key lies with a program, and that program does not answer."""
    actor = actor_for_user(owner)
    add_gate(repository=model, text="signed", applies_to="*", actor=actor)
    version = commit_files(model, owner, {"w": b"1"})
    monkeypatch.setattr(settings.ENVIRONMENT, "signing_backend", "steelyard_platform.weights.signers.CommandSigner")
    monkeypatch.setattr(settings.ENVIRONMENT, "signing_command", "/bin/false")
    with pytest.raises(GateRefusedError, match="it has no valid signature; one by this installation is asked"):
        promote_version(version=version, alias="production", reason="", actor=actor)


def test_what_a_revoked_key_signed_is_not_signed(model, owner):
    actor = actor_for_user(owner)
    add_gate(repository=model, text="signed", applies_to="*", actor=actor)
    version = commit_files(model, owner, {"w": b"1"})
    key = signature_of(version).key_id
    assert verdicts_for(version, "production")[0].passed
    rotate_key(actor=OPERATOR)
    revoke_key(key_id=key, reason="it was copied", actor=OPERATOR)
    assert not verdicts_for(version, "production")[0].passed
