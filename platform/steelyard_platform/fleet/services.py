"""Writes about the fleet: enrolment, releases, rollouts, and what devices report."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from steelyard_contracts.digests import sha256_of
from steelyard_contracts.errors import (
    AlreadyExistsError,
    AuthenticationError,
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from steelyard_contracts.fleet import (
    DeviceState,
    DeviceView,
    EnrolAnswer,
    EnrolRequest,
    InstallReport,
    InstallState,
    PollAnswer,
    PollRequest,
    ReleaseOffer,
    ReleaseView,
    RolloutDeviceView,
    RolloutRequest,
    RolloutState,
    RolloutView,
)
from steelyard_contracts.manifests import (
    KNOWN_ANSWERS_FILE,
    MODEL_FILE,
    Envelope,
    ManifestFile,
    ReleaseManifest,
)
from steelyard_contracts.names import check_device_name
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.models import Team, Token
from steelyard_platform.accounts.permissions import PLATFORM, Action, Actor, Scope, demand
from steelyard_platform.accounts.tokens import issue_token, revoke_token
from steelyard_platform.fleet.models import Device, Install, Release, Rollout
from steelyard_platform.fleet.plan import ALLOWED_REPORTS, Step, next_step
from steelyard_platform.fleet.signatures import public_key_pem, sign_manifest, trusted_envelope
from steelyard_platform.repos import tree
from steelyard_platform.repos.locking import lock_version
from steelyard_platform.repos.models import Branch, Entry, Version
from steelyard_platform.repos.revisions import Snapshot
from steelyard_platform.repos.services import tidy_reason
from steelyard_platform.weights.approvals import settle
from steelyard_platform.weights.gates import Verdict
from steelyard_platform.weights.models import GateRule
from steelyard_platform.weights.quarantine import check_download
from steelyard_platform.weights.services import gated, pass_gates, refuse_unless_passed, sign_if_asked, verdicts_for

_ENROLMENT = timedelta(days=7)
_INFO_ITEMS = 20
_INFO_LENGTH = 200
_OF_INSTALL = ("rollout__release__version__branch", "rollout__release__version__repository__team")
_DOCUMENTATION = frozenset({"README.md", ".gitattributes"})


# --- enrolment ---------------------------------------------------------------------------------


def issue_enrolment_token(*, team: Team, actor: Actor) -> str:
    """A token that can do one thing: ask for a device's place in the team. Raises: ForbiddenError."""
    demand(actor, Action.OPERATE_FLEET, team.resource)
    _, secret = issue_token(name=f"enrolment in {team.name}", scope=Scope.DEVICE, team=team, valid_for=_ENROLMENT)
    audit.record(actor, "issue enrolment token", team.name)
    return secret


@transaction.atomic
def enrol_device(*, request: EnrolRequest, actor: Actor) -> EnrolAnswer:
    """A place for the device, pending until an operator accepts it. Asking again with the same key is fine.

    Raises: ForbiddenError, InvalidNameError, AlreadyExistsError when another key has the name.
    """
    token = Token.objects.select_related("team").filter(pk=actor.token_id, scope=Scope.DEVICE, subject="").first()
    if token is None or token.team is None:
        raise ForbiddenError("Enrol with an enrolment token of the team: `steelyard devices enrolment-token TEAM`.")
    check_device_name(request.name)
    team = token.team
    device = Device.objects.select_related("token").filter(team=team, name__iexact=request.name).first()
    if device is None:
        device = _new_device(team, request)
        audit.record(actor, "enrol device", f"{team.name}/{device.name}")
    elif device.token.digest != sha256_of(request.key.encode()):
        raise AlreadyExistsError(
            f"The team {team.name} has a device {request.name} with another key.", device=request.name
        )
    return EnrolAnswer(device=device.pk, state=DeviceState(device.state), public_key=public_key_pem())


def _new_device(team: Team, request: EnrolRequest) -> Device:
    device = Device(team=team, name=request.name, info=_tidy(request.info))
    device.token, _ = issue_token(
        name=f"device {request.name}",
        scope=Scope.DEVICE,
        team=team,
        subject=f"device:{device.pk}",
        secret=request.key,
    )
    device.save()
    return device


@transaction.atomic
def accept_device(*, device: Device, actor: Actor) -> Device:
    """Raises: ForbiddenError; ConflictError for a revoked device, whose key opens nothing any more."""
    demand(actor, Action.OPERATE_FLEET, device.team.resource)
    if device.state == DeviceState.REVOKED:
        raise ConflictError(f"The device {device.name} was revoked; enrol it anew under another name.")
    device.state = DeviceState.ACCEPTED
    device.save(update_fields=["state"])
    audit.record(actor, "accept device", f"{device.team.name}/{device.name}")
    return device


def revoke_device(*, device: Device, actor: Actor) -> Device:
    """Its key opens nothing from now on; a rollout that waits for it goes on without. Raises: ForbiddenError."""
    demand(actor, Action.OPERATE_FLEET, device.team.resource)
    open_states = [InstallState.WAITING, InstallState.OFFERED, InstallState.INSTALLING]
    with transaction.atomic():
        revoke_token(device.token)
        device.state = DeviceState.REVOKED
        device.save(update_fields=["state"])
        waiting = Install.objects.filter(device=device, state__in=open_states)
        rollouts = list(waiting.values_list("rollout", flat=True))
        waiting.update(state=InstallState.FAILED, detail="The device was revoked.", updated_at=timezone.now())
        audit.record(actor, "revoke device", f"{device.team.name}/{device.name}")
    for rollout in rollouts:
        advance_rollout(rollout)
    return device


def find_device(team: Team, name: str, actor: Actor) -> Device:
    """Raises: NotFoundError."""
    demand(actor, Action.READ, team.resource)
    device = Device.objects.select_related("team", "token").filter(team=team, name__iexact=name).first()
    if device is None:
        raise NotFoundError(f"The team {team.name} has no device {name}.", device=name)
    return device


# --- releases ----------------------------------------------------------------------------------


def create_release(
    *, version: Version, variant: str | None, reason: str, actor: Actor, override: bool = False
) -> Release:
    """Signs a version for devices; releasing the same bytes again returns the same release.

    Raises: ForbiddenError, GateRefusedError, NotFoundError for a missing variant, InvalidInputError for a version
        that no device could run, or an override without a reason.
    """
    demand(actor, Action.OPERATE_FLEET, version.repository.team.resource)
    if variant:
        version = variant_of(version, variant)
    check_download(Snapshot(version.repository, version), actor)
    sign_if_asked(version, GateRule.RELEASE)
    with gated(version.repository, actor):
        verdicts = pass_gates(
            f"{version.repository.full_name}@{version.label} cannot be released",
            version,
            GateRule.RELEASE,
            override=override,
            reason=reason,
            actor=actor,
        )
        release = _signed(version, verdicts, reason, actor)
        settle(version, GateRule.RELEASE, move=None, actor=actor)
    return release


def _signed(version: Version, verdicts: list[Verdict], reason: str, actor: Actor) -> Release:
    """The release of these bytes: the one that there is, with what was overridden now, or a new one."""
    manifest, records = _manifest_of(version), [verdict.as_record() for verdict in verdicts]
    team = version.repository.team
    known = Release.objects.filter(team=team, digest=manifest.digest).first()
    if known is not None:
        if not all(verdict.passed for verdict in verdicts):
            known.verdicts, known.reason = records, tidy_reason(reason)
            known.save(update_fields=["verdicts", "reason"])
        return known
    lock_version(version)
    release = Release.objects.create(
        team=team,
        version=version,
        digest=manifest.digest,
        envelope=sign_manifest(manifest).model_dump(),
        size=manifest.size,
        reason=tidy_reason(reason),
        verdicts=records,
        created_by=actor.name,
    )
    target = version.repository.full_name
    audit.record(actor, "create release", target, version=version.label, digest=manifest.digest)
    return release


def variant_branch(version_label: str, variant: str) -> str:
    """The side branch of a variant: `v2-onnx-int8`."""
    return f"{version_label}-{variant}"


def variant_of(version: Version, variant: str) -> Version:
    """Raises: NotFoundError, naming the variants there are."""
    branches = Branch.objects.filter(base=version, head__isnull=False).select_related("head__branch")
    prefix = variant_branch(version.label, "")
    found = {branch.name.removeprefix(prefix): branch.head for branch in branches}
    head = found.get(variant)
    if head is None:
        there = ", ".join(sorted(found)) or "none; optimise it first"
        raise NotFoundError(f"{version.label} has no variant {variant!r}. There are: {there}.", variant=variant)
    head.repository = version.repository
    return head


def _manifest_of(version: Version) -> ReleaseManifest:
    entries = {entry.path: entry for entry in tree.entries_at(version).order_by("path")}
    if missing := [path for path in (MODEL_FILE, KNOWN_ANSWERS_FILE) if path not in entries]:
        raise InvalidInputError(
            f"{version.repository.full_name}@{version.label} cannot run on a device: it has no "
            f"{' and no '.join(missing)}. Release a variant made by `steelyard optimise`.",
        )
    return ReleaseManifest(
        repository=version.repository.full_name,
        version=version.label,
        commit=version.commit_id,
        files=[
            ManifestFile(path=path, size=entry.blob.size, sha256=entry.blob.sha256)
            for path, entry in entries.items()
            if entry.blob is not None and path not in _DOCUMENTATION
        ],
    )


def release_file(release_id: UUID, path: str, actor: Actor) -> Entry:
    """A file of a release that this device was offered. Raises: NotFoundError."""
    device = device_of(actor)
    install = Install.objects.filter(device=device, rollout__release_id=release_id).exclude(state=InstallState.WAITING)
    found = install.select_related(*_OF_INSTALL).first()
    if found is None:
        raise NotFoundError("This device was not offered that release.")
    release = found.rollout.release
    manifest = ReleaseManifest.model_validate_json(Envelope.model_validate(release.envelope).payload_bytes())
    if path not in {file.path for file in manifest.files}:
        raise NotFoundError(f"The release has no file {path!r}.", path=path)
    check_download(Snapshot(release.version.repository, release.version), actor)
    return tree.entry_at(release.version, path)


# --- rollouts ----------------------------------------------------------------------------------


def start_rollout(*, request: RolloutRequest, actor: Actor) -> Rollout:
    """Offers the release to the first devices, if it may still be released.

    Raises: ForbiddenError, NotFoundError, ConflictError; GateRefusedError when a gate refuses by now what it let pass,
        or nobody asked it, when the release was made.
    """
    releases = Release.objects.select_related("team", "version__repository__team", "version__branch")
    release = releases.filter(pk=request.release).first()
    if release is None:
        raise NotFoundError(f"There is no release {request.release}.")
    demand(actor, Action.OPERATE_FLEET, release.team.resource)
    check_download(Snapshot(release.version.repository, release.version), actor)
    sign_if_asked(release.version, GateRule.RELEASE)
    with gated(release.version.repository, actor):
        _check_still_released(release, request, actor)
        devices = _accepted_devices(release.team, request.devices)
        _check_free(devices)
        rollout = Rollout.objects.create(
            team=release.team, release=release, max_failures=request.max_failures, created_by=actor.name
        )
        Install.objects.bulk_create(
            Install(
                rollout=rollout,
                device=device,
                stage=0 if position < request.first else 1,
                state=InstallState.OFFERED if position < request.first else InstallState.WAITING,
            )
            for position, device in enumerate(devices)
        )
        audit.record(actor, "start rollout", release.team.name, release=release.digest, devices=request.devices[:100])
    return rollout


def _check_still_released(release: Release, request: RolloutRequest, actor: Actor) -> None:
    """What was overridden before stays so, and what is overridden now is noted. Raises: as `pass_gates`."""
    version, forgiven = release.version, set(release.overridden)
    verdicts = [one for one in verdicts_for(version, GateRule.RELEASE) if one.rule not in forgiven]
    refuse_unless_passed(
        f"{version.repository.full_name}@{version.label} cannot be rolled out",
        verdicts,
        version,
        override=request.override,
        reason=request.reason,
        actor=actor,
    )
    if all(verdict.passed for verdict in verdicts):
        return
    known = [record for record in release.verdicts if record["rule"] in forgiven]
    release.verdicts = [*known, *(verdict.as_record() for verdict in verdicts)]
    release.reason = tidy_reason(request.reason)
    release.save(update_fields=["verdicts", "reason"])


def _accepted_devices(team: Team, names: list[str]) -> list[Device]:
    # Locked, so that of two rollouts at once the second sees the first.
    devices = Device.objects.select_for_update().filter(team=team, name__in=names).order_by("pk")
    by_name = {device.name: device for device in devices}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise NotFoundError(f"The team {team.name} has no device {', '.join(unknown[:10])}.", devices=unknown[:10])
    refused = [name for name in names if by_name[name].state != DeviceState.ACCEPTED]
    if refused:
        raise ConflictError(f"Not accepted: {', '.join(refused[:10])}. Accept a device before you send it anything.")
    return [by_name[name] for name in dict.fromkeys(names)]


def _check_free(devices: list[Device]) -> None:
    busy = Install.objects.filter(device__in=devices, rollout__state__in=[RolloutState.RUNNING, RolloutState.PAUSED])
    if (first := busy.select_related("device").first()) is not None:
        raise ConflictError(f"{first.device.name} is in another rollout that has not ended; end that one first.")


@transaction.atomic
def set_rollout_state(*, rollout: Rollout, state: RolloutState, actor: Actor) -> Rollout:
    """Pauses, resumes or cancels. Raises: ForbiddenError, ConflictError when it has ended."""
    demand(actor, Action.OPERATE_FLEET, rollout.team.resource)
    locked = Rollout.objects.select_for_update().get(pk=rollout.pk)
    if RolloutState(locked.state).is_final:
        raise ConflictError(f"The rollout is {locked.state} already.")
    Rollout.objects.filter(pk=rollout.pk).update(state=state)
    audit.record(actor, f"rollout {state}", rollout.team.name, rollout=str(rollout.pk))
    return find_rollout(rollout.pk, actor)


def find_rollout(rollout_id: UUID, actor: Actor) -> Rollout:
    """Raises: NotFoundError, ForbiddenError."""
    rollout = (
        Rollout.objects.select_related("team", "release__version__repository__team")
        .prefetch_related("installs__device")
        .filter(pk=rollout_id)
        .first()
    )
    if rollout is None:
        raise NotFoundError(f"There is no rollout {rollout_id}.")
    demand(actor, Action.READ, rollout.team.resource)
    return rollout


def advance_rollout(rollout_id: UUID) -> None:
    """Takes the step that the devices' states call for. Safe to repeat, and from several processes."""
    with transaction.atomic():
        rollout = Rollout.objects.select_for_update().get(pk=rollout_id)
        if rollout.state != RolloutState.RUNNING:
            return
        stages: dict[int, list[InstallState]] = defaultdict(list)
        for stage, state in Install.objects.filter(rollout=rollout).values_list("stage", "state"):
            stages[stage].append(InstallState(state))
        match next_step(stages, rollout.stage, rollout.max_failures):
            case Step.WAIT:
                return
            case Step.HALT:
                rollout.state = RolloutState.HALTED
            case Step.COMPLETE:
                rollout.state = RolloutState.COMPLETED
            case Step.ADVANCE:
                rollout.stage += 1
                waiting = Install.objects.filter(rollout=rollout, stage=rollout.stage)
                waiting.update(state=InstallState.OFFERED, updated_at=timezone.now())
        rollout.save(update_fields=["state", "stage"])
        audit.record(PLATFORM, "advance rollout", rollout.team.name, state=rollout.state, stage=rollout.stage)


# --- what devices say --------------------------------------------------------------------------


def device_of(actor: Actor) -> Device:
    """The accepted or pending device whose key this is. Raises: AuthenticationError."""
    device = Device.objects.select_related("team").filter(pk=actor.subject_id("device") or UUID(int=0)).first()
    if device is None:
        raise AuthenticationError("This is no device's key.")
    return device


def answer_poll(*, request: PollRequest, actor: Actor) -> PollAnswer:
    """Notes that the device lives and what it runs; offers it the release it should run, if any."""
    device = device_of(actor)
    device.last_seen_at = timezone.now()
    device.running = request.running or ""
    device.info = _tidy({**device.info, **request.info})
    device.save(update_fields=["last_seen_at", "running", "info"])
    offer = _offer_for(device) if device.state == DeviceState.ACCEPTED else None
    poll_seconds = float(settings.ENVIRONMENT.device_poll_seconds)
    return PollAnswer(state=DeviceState(device.state), offer=offer, poll_seconds=poll_seconds)


def _offer_for(device: Device) -> ReleaseOffer | None:
    offered = [InstallState.OFFERED, InstallState.INSTALLING]
    install = (
        Install.objects.filter(device=device, state__in=offered, rollout__state=RolloutState.RUNNING)
        .select_related("rollout__release")
        .first()
    )
    if install is None:
        return None
    release = install.rollout.release
    manifest = trusted_envelope(Envelope.model_validate(release.envelope))
    return ReleaseOffer(release=release.pk, digest=release.digest, manifest=manifest)


def receive_report(*, report: InstallReport, actor: Actor) -> None:
    """A device's word on its install; then the rollout moves on. Raises: NotFoundError, ConflictError."""
    device = device_of(actor)
    with transaction.atomic():
        installs = Install.objects.select_for_update(of=("self",)).filter(device=device)
        install = installs.filter(rollout__release_id=report.release).order_by("-rollout__created_at").first()
        if install is None:
            raise NotFoundError("This device was not offered that release.")
        if report.state not in ALLOWED_REPORTS[InstallState(install.state)]:
            raise ConflictError(f"The install is {install.state}; {report.state} cannot follow.", state=install.state)
        install.state, install.detail = report.state, report.detail
        install.save(update_fields=["state", "detail", "updated_at"])
        audit.record(actor, f"install {report.state}", f"{device.team.name}/{device.name}", detail=report.detail[:200])
        Device.objects.filter(pk=device.pk).update(running=report.running or "", last_seen_at=timezone.now())
    advance_rollout(install.rollout_id)


def _tidy(info: dict[str, str]) -> dict[str, str]:
    """A device describes itself in a few short words; more is cut off."""
    return {key[:_INFO_LENGTH]: value[:_INFO_LENGTH] for key, value in list(info.items())[:_INFO_ITEMS]}


# --- views for the faces -----------------------------------------------------------------------


def device_views(devices: list[Device]) -> list[DeviceView]:
    """One query for all: which version each device's release is."""
    digests = {device.running for device in devices if device.running}
    releases = Release.objects.filter(digest__in=digests).select_related("version__repository__team")
    names = {one.digest: f"{one.version.repository.full_name}@{one.version.label}" for one in releases}
    return [
        DeviceView(
            name=device.name,
            team=device.team.name,
            state=DeviceState(device.state),
            running=device.running or None,
            running_version=names.get(device.running),
            last_seen_at=device.last_seen_at,
            info=device.info,
        )
        for device in devices
    ]


def release_view(release: Release) -> ReleaseView:
    return ReleaseView(
        id=release.pk,
        repository=release.version.repository.full_name,
        version=release.version.label,
        digest=release.digest,
        size=release.size,
        reason=release.reason,
        overridden=list(release.overridden.values()),
        created_by=release.created_by,
        created_at=release.created_at,
    )


def rollout_view(rollout: Rollout) -> RolloutView:
    installs = sorted(rollout.installs.all(), key=lambda install: (install.stage, install.pk))
    return RolloutView(
        id=rollout.pk,
        release=release_view(rollout.release),
        state=RolloutState(rollout.state),
        stage=rollout.stage,
        stages=max((install.stage for install in installs), default=0) + 1,
        devices=[
            RolloutDeviceView(
                device=install.device.name,
                stage=install.stage,
                state=InstallState(install.state),
                detail=install.detail,
                updated_at=install.updated_at,
            )
            for install in installs
        ],
        created_by=rollout.created_by,
        created_at=rollout.created_at,
    )
