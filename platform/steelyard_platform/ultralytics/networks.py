"""Models: what the runs of a project saved, in the words of this client's SDK. A model's name is its run's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone

from steelyard_contracts.errors import ConflictError, NotFoundError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.tracking import RunRequest, RunSource
from steelyard_platform.accounts.permissions import Action, Actor, demand, may
from steelyard_platform.jobs import tracking
from steelyard_platform.jobs.estimates import remaining_seconds
from steelyard_platform.jobs.models import Job
from steelyard_platform.jobs.series import last_values
from steelyard_platform.jobs.services import cancel_job
from steelyard_platform.repos.models import Branch, Entry, Repository, Version
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import find_branch
from steelyard_platform.repos.services import delete_branch, delete_version
from steelyard_platform.ultralytics import reports
from steelyard_platform.ultralytics.files import weights_address
from steelyard_platform.ultralytics.http import NotHereError, facade_view, json_body, limit_of, signed_in, text_of
from steelyard_platform.ultralytics.projects import find_project
from steelyard_platform.ultralytics.records import (
    DELETED,
    model_record,
    model_records,
    moment,
    newest_versions,
    status_of,
)
from steelyard_platform.ultralytics.starts import WANTED, full_name_of, own_namespace
from steelyard_platform.ultralytics.weights import Weights, branch_of, find_weights, twin_branches_of

_MOST = 500
_ONNX = ".onnx"
_CHANGED = frozenset({"name", "description", "epochs"})
_SAID_AT_THE_START = frozenset({"owner", "project", "model", "name", "description", "task", "trainArgs", "epochs"})


def find_model(request: HttpRequest, owner: str, project: str, model: str) -> tuple[Actor, Repository, Job]:
    """Raises: AuthenticationError, RepositoryNotFoundError; NotFoundError, also for one that was deleted."""
    actor, repository = find_project(request, owner, project)
    return actor, repository, _named(repository, model, actor)


def _named(repository: Repository, model: str, actor: Actor) -> Job:
    run = _shown(repository, actor).filter(run__name=model).first()
    if run is None:
        raise NotFoundError(f"{repository.full_name} has no model {model!r}, or you may not see it.")
    return run


def _shown(repository: Repository, actor: Actor) -> QuerySet[Job]:
    return tracking.runs_of(repository, actor).exclude(run__tags__has_key=DELETED)


def _saved(repository: Repository, run: Job) -> Version | None:
    return newest_versions(repository, [run.pk]).get(run.pk)


# --- one and many --------------------------------------------------------------------------------


def _list(request: HttpRequest, owner: str, project: str) -> HttpResponseBase:
    actor, repository = find_project(request, owner, project)
    runs = _shown(repository, actor).order_by("-created_at", "-pk")
    found = list(runs[: limit_of(request, default=100, most=_MOST)])
    return JsonResponse({"models": model_records(found, repository)})


def _create(request: HttpRequest) -> HttpResponseBase:
    """A run that is announced; weights come by an upload, or a training reports to it by its name."""
    actor, body = signed_in(request), json_body(request)
    others = sorted(name for name in body if name not in _SAID_AT_THE_START and body[name])
    if others:
        raise NotHereError(f"A model is made without {', '.join(others)}; a training reports those.")
    named = text_of(body, "project")
    full_name = named if "/" in named else f"{text_of(body, 'owner', own_namespace(actor))}/{named}"
    repository = find_repository(actor, RepositoryKind.MODEL, full_name_of(full_name, actor), Action.WRITE)
    wanted = reports.slug_of(text_of(body, "model", body.get("name") or "model"), "model")
    config = {**reports.mapping(body.get("trainArgs")), **({"task": body["task"]} if body.get("task") else {})}
    description = str(body.get("description") or "")
    tags = {WANTED: wanted, "announced": "true", **({"description": description} if description else {})}
    made = RunRequest(
        project=repository.full_name,
        name=wanted,
        config=config,
        source=RunSource.ULTRALYTICS,
        total_steps=reports.total_of(body),
        tags=tags,
    )
    run = tracking.start_run(request=made, actor=actor)
    answer = {"id": str(run.pk), "owner": repository.team.name, "project": repository.name, "model": run.run.name}
    return JsonResponse(answer, status=201)


def _retrieve(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    actor, repository, run = find_model(request, owner, project, model)
    if request.GET.get("analysis"):
        return JsonResponse({"analysis": None})
    record = {**model_record(run, repository, _saved(repository, run)), "metadata": {}}
    return JsonResponse({"model": record, "isOwner": may(actor, Action.WRITE, repository.resource)})


def _update(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    actor, _, run = find_model(request, owner, project, model)
    body = json_body(request)
    others = sorted(name for name, value in body.items() if name not in _CHANGED and value not in (None, [], {}))
    if others:
        raise NotHereError(
            f"Of a model, its name, its description and its epochs change here; not {', '.join(others)}."
        )
    name = reports.slug_of(text_of(body, "name", run.run.name), run.run.name)
    changed = tracking.update_run(
        run=run,
        actor=actor,
        name=name if name != run.run.name else None,
        tags={"description": str(body["description"])} if "description" in body else None,
        total_steps=reports.total_of(body),
    )
    return JsonResponse({"success": True, "model": changed.run.name})


def _delete(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    """What the run saved goes to the trash, with what conversions made of it.

    The run itself is history, and only not listed as a model any more.
    """
    actor, repository, run = find_model(request, owner, project, model)
    demand(actor, Action.MANAGE, repository.resource)
    if not JobState(run.state).is_final and status_of(run) != "untrained":
        raise ConflictError(f"{run.run.name} is training; cancel it before you delete it.")
    branch = find_branch(repository, branch_of(run))
    saved = Version.objects.select_related("repository__team", "branch").filter(repository=repository, job=run.pk)
    elsewhere = saved.exclude(branch=branch) if branch is not None else saved
    twins = Branch.objects.filter(repository=repository, name__in=twin_branches_of(saved))
    with transaction.atomic():
        for twin in twins:
            delete_branch(repository=repository, name=twin.name, actor=actor)
        for version in elsewhere.order_by("-number"):
            delete_version(version=version, actor=actor)
        if branch is not None:
            delete_branch(repository=repository, name=branch.name, actor=actor)
        tracking.update_run(run=run, actor=actor, tags={DELETED: timezone.now().isoformat()})
    return JsonResponse({"success": True})


# --- files ---------------------------------------------------------------------------------------


def _files(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    """Of a run what it saved last; of anything else that names a version, such as an alias, that one."""
    actor, repository = find_project(request, owner, project)
    run = _shown(repository, actor).filter(run__name=model).first()
    if run is not None and _saved(repository, run) is None:
        return JsonResponse({"files": []})
    weights = find_weights(repository.full_name, model, actor)
    address = weights_address(request, weights, model, actor)
    return JsonResponse({"files": [{"name": weights.file_name, "size": weights.size, "downloadUrl": address}]})


def _exports(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    """The ONNX variants that stand on what the run saved. Where each is fetched, it says itself."""
    _, repository, run = find_model(request, owner, project, model)
    found = _variants(repository, run)[: limit_of(request, default=50, most=100)]
    return JsonResponse({"exports": [_export_record(version, entry) for version, entry in found]})


def _export(request: HttpRequest, owner: str, project: str, model: str, number: int) -> HttpResponseBase:
    actor, repository, run = find_model(request, owner, project, model)
    found = _variants(repository, run)
    version, entry = next((one for one in found if one[0].number == number), (None, None))
    if version is None or entry is None:
        raise NotFoundError(f"{run.run.name} has no export {number}.")
    record = _export_record(version, entry)
    record["file"]["downloadUrl"] = weights_address(request, Weights(repository, version, entry), run.run.name, actor)
    return JsonResponse({"export": record})


def _variants(repository: Repository, run: Job) -> list[tuple[Version, Entry]]:
    """The newest version of each side branch, and its ONNX file; newest first. One query."""
    saved = Version.objects.filter(repository=repository, job=run.pk)
    of_branches = {"branch__repository": repository, "branch__base__in": saved, "branch__sees_base": False}
    rows = Entry.objects.filter(**of_branches, path__endswith=_ONNX, removed_in=None, blob__isnull=False)
    found: dict[int, tuple[Version, Entry]] = {}
    for entry in rows.select_related("branch__head__branch", "blob__xet").order_by("-branch", "path")[:1000]:
        if (head := entry.branch.head) is not None and head.pk not in found:
            head.repository = repository
            found[head.pk] = (head, entry)
    return list(found.values())


def _export_record(version: Version, entry: Entry) -> dict[str, Any]:
    name = f"{version.repository.name}-{version.label}{_ONNX}"
    made = moment(version.created_at)
    return {
        "id": str(version.number),
        "status": "completed",
        "format": "onnx",
        "file": {"size": entry.blob.size if entry.blob is not None else 0, "downloadFilename": name},
        "completedAt": made,
        "createdAt": made,
        "updatedAt": made,
    }


# --- trainings -----------------------------------------------------------------------------------


def _training(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    _, _, run = find_model(request, owner, project, model)
    total = run.run.total_steps or 0
    now = run.finished_at or timezone.now()
    elapsed = (now - run.started_at).total_seconds() if run.started_at else 0.0
    done = round(run.progress * total)
    remaining = remaining_seconds(run)
    return JsonResponse(
        {
            "job": {
                "id": str(run.pk),
                "status": status_of(run),
                "progress": {
                    "currentEpoch": done,
                    "totalEpochs": total,
                    "startedAt": moment(run.started_at),
                    "completedAt": moment(run.finished_at),
                    "percentage": round(100 * run.progress, 1),
                },
                "timing": {
                    "elapsedMs": round(1000 * elapsed),
                    "timePerEpochMs": round(1000 * elapsed / done) if done else None,
                    "etaMs": round(1000 * remaining) if remaining is not None else None,
                },
                "compute": None,
                "trainArgs": run.spec.get("config"),
                "epochMetrics": _finite(last_values(run.pk).items()),
                "error": {"message": run.error} if run.error else None,
                "createdAt": moment(run.created_at),
                "updatedAt": moment(run.run.heard_at),
            }
        }
    )


def _finite(values: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    return {name: value for name, value in values if value is not None and abs(value) < float("inf")}


def _cancel(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    actor, _, run = find_model(request, owner, project, model)
    cancel_job(job=run, actor=actor)
    return JsonResponse({"success": True, "status": "cancelled"})


def _start(request: HttpRequest) -> HttpResponseBase:
    signed_in(request)
    raise NotHereError(
        "Steelyard rents no GPUs. Train where you have one, with ULTRALYTICS_PLATFORM_URL set, or train a network of "
        "Steelyard's own zoo on its workers: steelyard train."
    )


def _predict(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    find_model(request, owner, project, model)
    raise NotHereError(
        f"Fetch the weights and predict where you are: yolo predict model=ul://{owner}/{project}/{model}."
    )


def _make_export(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    find_model(request, owner, project, model)
    raise NotHereError(
        f"Export where you are, yolo export model=ul://{owner}/{project}/{model}, and push the file beside the weights."
    )


def _clone(request: HttpRequest, owner: str, project: str, model: str) -> HttpResponseBase:
    find_model(request, owner, project, model)
    raise NotHereError("A version is not copied to another project here; name it by its ul:// address from there.")


def _availability(request: HttpRequest) -> HttpResponseBase:
    signed_in(request)
    return JsonResponse({})


of_project = facade_view(get=_list)
all_of_them = facade_view(post=_create)
one = facade_view(get=_retrieve, patch=_update, delete=_delete)
files = facade_view(get=_files)
exports = facade_view(get=_exports, post=_make_export)
export = facade_view(get=_export)
training = facade_view(get=_training, delete=_cancel)
start = facade_view(post=_start)
predict = facade_view(post=_predict)
clone = facade_view(post=_clone)
availability = facade_view(get=_availability)
