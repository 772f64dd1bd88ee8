"""Quarantine: a version that holds a dangerous file is seen by all who may see it, and downloaded by nobody.

    check_download(snapshot, actor)     asked by every face before it serves a file of a version
    check_content(...)                  asked by the chunk store, which serves files without their version
    lift(version=…, reason=…, actor=…)  a maintainer's word that this version may go out all the same
    put_back(version=…, reason=…, actor=…)

Nothing is noted on a version when a danger is found: it is in quarantine as long as it holds a file that `WeightFile`
calls dangerous, in whatever version that file was found first. A lift is for the dangers that were known when it was
made; one that is found later brings the version back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from steelyard_contracts.errors import BeingScannedError, ConflictError, InvalidInputError, QuarantinedError
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.weights import Finding, QuarantineState, Severity
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, demand, may
from steelyard_platform.repos import tree
from steelyard_platform.repos.locking import lock_version
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.revisions import Snapshot
from steelyard_platform.weights.inspection import files_of
from steelyard_platform.weights.models import QuarantineLift, WeightFile

_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Danger:
    """A dangerous file of a version, and the findings that make it one."""

    path: str
    sha256: str
    findings: list[Finding]


@dataclass(frozen=True, slots=True)
class Quarantine:
    """What there is to know about a version's quarantine. `lift` is the one in force."""

    state: QuarantineState
    dangers: list[Danger]
    lift: QuarantineLift | None


def quarantine_of(version: Version) -> Quarantine:
    """In one query while nothing is wrong, and in three otherwise."""
    dangers = dangers_in(version)
    if not dangers:
        return Quarantine(QuarantineState.NONE, [], None)
    lift = _lift_for(version, dangers)
    return Quarantine(QuarantineState.LIFTED if lift else QuarantineState.QUARANTINED, dangers, lift)


def dangers_in(version: Version) -> list[Danger]:
    """Its dangerous files, by path."""
    dangerous = WeightFile.objects.filter(has_danger=True).values("pk")
    rows = tree.rare_entries_at(version, Q(blob__in=dangerous)).order_by("path")
    found = rows.values_list("path", "blob_id", "blob__weight_file__findings")[:_SHOWN]
    return [Danger(path, sha256, _dangerous(findings)) for path, sha256, findings in found]


def quarantined_among(versions: Sequence[Version]) -> set[int]:
    """The ids of those that are in quarantine, for lists: a few queries, however many there are."""
    dangerous = WeightFile.objects.filter(has_danger=True).values("pk")
    dangers = tree.rare_contents_among(versions, Q(blob__in=dangerous))
    if not dangers:
        return set()
    lifts = QuarantineLift.objects.filter(version__in=dangers, ended_at=None).values_list("version_id", "files")
    lifted = {version: set(files) for version, files in lifts}
    return {version for version, contents in dangers.items() if not contents <= lifted.get(version, set())}


def check_download(snapshot: Snapshot, actor: Actor) -> None:
    """Whether the version's files may go out to this actor.

    Raises:
        QuarantinedError: it holds a dangerous file, and nobody has lifted the quarantine.
        BeingScannedError: the installation waits for scans, and not all of its files were looked into.
    """
    version, repository = snapshot.version, snapshot.repository
    if version is None or may(actor, Action.INSPECT, repository.resource):
        return
    found = quarantine_of(version)
    if found.state is QuarantineState.QUARANTINED:
        raise QuarantinedError(_sentence(repository, version, found.dangers))
    waits = settings.ENVIRONMENT.downloads_wait_for_scan and repository.kind == RepositoryKind.MODEL
    if waits and not (version.is_examined and all(file.report for file in files_of(version))):
        raise BeingScannedError(
            f"{repository.full_name}@{version.label} is being scanned; its files go out once each was looked into. "
            "Try again in a moment."
        )


def check_content(*, sha256: str, is_dangerous: bool, version_id: int) -> None:
    """Whether a file may go out to whoever was let in to the version. Raises: QuarantinedError."""
    if not is_dangerous:
        return
    lifts = QuarantineLift.objects.filter(version_id=version_id, ended_at=None)
    if any(sha256 in lift.files for lift in lifts):
        return
    findings = _dangerous(WeightFile.objects.values_list("findings", flat=True).get(pk=sha256))
    raise QuarantinedError(f"This file is in quarantine: {findings[0].sentence}")


@transaction.atomic
def lift(*, version: Version, reason: str, actor: Actor) -> QuarantineLift:
    """Lets the version go out with the dangers that are known now.

    Raises: ForbiddenError; InvalidInputError without a reason; ConflictError when it is not in quarantine.
    """
    repository = version.repository
    demand(actor, Action.MANAGE, repository.resource)
    _demand_reason(reason)
    # Two at once would both find no lift in force.
    lock_version(version)
    found = quarantine_of(version)
    if found.state is not QuarantineState.QUARANTINED:
        raise ConflictError(f"{repository.full_name}@{version.label} is not in quarantine.", state=found.state)
    _end(version, "", "more dangers were found")
    made = QuarantineLift.objects.create(
        version=version, files=[one.sha256 for one in found.dangers], reason=reason.strip(), lifted_by=actor.name
    )
    files = [one.path for one in found.dangers][:10]
    audit.record(actor, "lift quarantine", repository.full_name, version=version.label, files=files, reason=made.reason)
    return made


@transaction.atomic
def put_back(*, version: Version, reason: str, actor: Actor) -> None:
    """Ends the lift. Raises: ForbiddenError; InvalidInputError without a reason; ConflictError when there is none."""
    repository = version.repository
    demand(actor, Action.MANAGE, repository.resource)
    _demand_reason(reason)
    if not _end(version, actor.name, reason.strip()):
        raise ConflictError(f"Nobody has lifted the quarantine of {repository.full_name}@{version.label}.")
    audit.record(actor, "put back into quarantine", repository.full_name, version=version.label, reason=reason.strip())


def history_of(version: Version) -> QuerySet[QuarantineLift]:
    """Every lift of the version, newest first."""
    return QuarantineLift.objects.filter(version=version).order_by("-pk")


def _end(version: Version, by: str, reason: str) -> int:
    in_force = QuarantineLift.objects.filter(version=version, ended_at=None)
    return in_force.update(ended_at=timezone.now(), ended_by=by, ended_reason=reason)


def _lift_for(version: Version, dangers: Sequence[Danger]) -> QuarantineLift | None:
    """The lift in force, if it is for every one of these."""
    found = QuarantineLift.objects.filter(version=version, ended_at=None).first()
    return found if found and {one.sha256 for one in dangers} <= set(found.files) else None


def _demand_reason(reason: str) -> None:
    if not reason.strip():
        raise InvalidInputError("Say why; the reason is kept and shown.", field="reason")


def _dangerous(findings: list[dict[str, object]]) -> list[Finding]:
    found = [Finding.model_validate(one) for one in findings]
    return [one for one in found if one.severity is Severity.DANGER]


def _sentence(repository: Repository, version: Version, dangers: Sequence[Danger]) -> str:
    name, first = f"{repository.full_name}@{version.label}", dangers[0]
    more = f" (and {len(dangers) - 1} more)" if len(dangers) > 1 else ""
    return (
        f"{name} is in quarantine and cannot be downloaded. {first.path}{more}: {first.findings[0].sentence} "
        f"Push a version without it, or ask a maintainer to say why it may go out: "
        f"steelyard quarantine lift {name} --reason ..."
    )
