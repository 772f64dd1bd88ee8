"""The two APIs and their one error shape. Routers are in the modules beside this one."""

from __future__ import annotations

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from steelyard_contracts.errors import InvalidInputError, NotFoundError, SteelyardError, body_of, unforeseen
from steelyard_contracts.wire import listed_in_words
from steelyard_platform.api import (
    accounts,
    compute,
    device,
    evaluations,
    fleet,
    handover,
    inspections,
    jobs,
    lineage,
    names,
    predictions,
    promotions,
    quarantine,
    repositories,
    retention,
    runs,
    samples,
    searches,
    signatures,
    tracking,
    workers,
    zoo,
)

_log = logging.getLogger(__name__)

# ninja's documentation page would load its scripts from another host; the document itself is enough for tools.
api = NinjaAPI(title="Steelyard", version="1", urls_namespace="api", docs_url=None)
device_api = NinjaAPI(title="Steelyard for devices", version="1", urls_namespace="device", docs_url=None)

api.add_router("", accounts.router)
api.add_router("/zoo", zoo.router)
api.add_router("/jobs", jobs.router)
api.add_router("/jobs", samples.router)
api.add_router("", runs.router)
api.add_router("/runs", tracking.router)
api.add_router("/jobs", workers.router)
api.add_router("/jobs", inspections.worker_router)
api.add_router("/searches", searches.router)
api.add_router("", inspections.router)
api.add_router("", compute.router)
api.add_router("", handover.router)
api.add_router("", fleet.router)
# Last: their addresses begin with a parameter.
api.add_router("/jobs", predictions.worker_router)
api.add_router("", predictions.router)
api.add_router("", evaluations.router)
api.add_router("", lineage.router)
api.add_router("", quarantine.router)
api.add_router("", signatures.router)
api.add_router("", names.router)
api.add_router("", promotions.router)
api.add_router("", retention.router)
api.add_router("", repositories.router)
device_api.add_router("", device.router)


def _refuse(request: HttpRequest, error: SteelyardError) -> HttpResponse:
    body = body_of(error).model_dump(mode="json")
    return api.create_response(request, body, status=error.status)


def _refuse_malformed(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Ninja's list of faults as one sentence, with the list in the details."""
    if any(fault["loc"][:1] == ("path",) for fault in error.errors):
        return unknown(request)
    faults = [{"where": ".".join(map(str, fault["loc"])), "what": fault["msg"]} for fault in error.errors]
    sentence = listed_in_words((_within_request(fault["loc"]), fault["msg"]) for fault in error.errors)
    return _refuse(request, InvalidInputError(f"The request is malformed: {sentence}.", faults=faults))


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    """An address that no part of the API has."""
    return _refuse(request, NotFoundError(f"There is no {request.method} {request.path}."))


def _within_request(place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Without where Ninja took it from: `body` and the name of the view's argument, or `query`."""
    return place[2:] if place[:1] == ("body",) else place[1:]


def _refuse_broken(request: HttpRequest, error: Exception) -> HttpResponse:
    """Our fault: the cause goes to the log, and no traceback to the user."""
    _log.exception("unexpected error in %s %s", request.method, request.path, exc_info=error)
    return _refuse(request, unforeseen(error))


def _refuse_unread(request: HttpRequest, error: HttpError) -> HttpResponse:
    """What Ninja itself refuses: a body that is no JSON."""
    return _refuse(request, InvalidInputError(f"The request is malformed: {error}.", status=error.status_code))


def _add_handlers(to: NinjaAPI) -> None:
    handlers: dict[type[Exception], Any] = {
        SteelyardError: _refuse,
        ValidationError: _refuse_malformed,
        HttpError: _refuse_unread,
        Exception: _refuse_broken,
    }
    for error, handler in handlers.items():
        to.add_exception_handler(error, handler)


_add_handlers(api)
_add_handlers(device_api)
