"""A training that reports: `POST /ultralytics/api/webhooks/training/metrics`, one event in each request.

    training_started     a run, or the one that goes on
    epoch_end            points; facts about the model
    system_metrics       the machine's points
    console_output       lines
    checkpoint_saved     a sign of life: the upload was the version already
    training_progress    a sign of life
    training_complete    the weights on main, what was measured, the end
    training_failed      the end

Each answer names the run, and says whether somebody wants it to end.

Every event may come twice, late, or before the one that it follows.
"""

from __future__ import annotations

import time
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import JobState
from steelyard_contracts.tracking import RunAnswer, RunPoint
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.jobs import tracking
from steelyard_platform.jobs.models import Attempt, Job
from steelyard_platform.jobs.series_tables import MetricSeries
from steelyard_platform.ultralytics import reports, starts
from steelyard_platform.ultralytics.endings import complete
from steelyard_platform.ultralytics.http import facade_view, json_body, signed_in, text_of

_QUIET = RunAnswer(cancel=False)


def _receive(request: HttpRequest) -> HttpResponseBase:
    actor, body = signed_in(request), json_body(request)
    event, data = text_of(body, "event"), reports.mapping(body.get("data"))
    project, name = text_of(body, "project", ""), text_of(body, "name", "")
    if event == "training_started" and body.get("modelId"):
        run = starts.go_on(body["modelId"], data, actor)
        answer = tracking.write_points(run=run, points=[], actor=actor)
    elif event == "training_started":
        run = starts.begin(project, name, data, actor)
        answer = tracking.write_points(run=run, points=[], actor=actor)
    else:
        run = starts.find(project, name, body.get("modelId"), actor)
        answer = _take(event, run, data, actor)
    named = {"modelId": str(run.pk), "runId": str(run.pk), "modelSlug": run.run.name}
    return JsonResponse({**named, "cancelled": answer.cancel or answer.stop})


receive = facade_view(post=_receive)


def _take(event: str, run: Job, data: dict[str, Any], actor: Actor) -> RunAnswer:
    match event:
        case "epoch_end":
            return _epoch(run, data, actor)
        case "system_metrics":
            meters = reports.meters_of(data, int(time.time()))
            return tracking.write_points(run=run, points=meters, actor=actor)
        case "checkpoint_saved" | "training_progress":
            return tracking.write_points(run=run, points=[], actor=actor)
        case "console_output":
            began = Attempt.objects.get(job=run, number=run.attempt).started_at
            return tracking.write_lines(run=run, lines=reports.lines_of(data, began), actor=actor)
        case "training_complete":
            complete(run, data, actor)
            return _QUIET
        case "training_failed" | "training_error":
            tracking.finish_run(run=run, state=JobState.FAILED, error=reports.why_failed(data), actor=actor)
            return _QUIET
        case _:
            raise InvalidInputError(f"Steelyard knows no event {event[:60]!r} of a training.", event=event[:60])


def _epoch(run: Job, data: dict[str, Any], actor: Actor) -> RunAnswer:
    points = reports.points_of(data)
    if not _was_told(run, points):
        # These carry no moment of their own: told again, they would be another.
        points += reports.meters_of(reports.mapping(data.get("system")), int(time.time()))
    answer = tracking.write_points(run=run, points=points, actor=actor)
    facts = reports.mapping(data.get("modelInfo"))
    if facts and "model_info" not in run.spec.get("config", {}):
        tracking.update_run(run=run, config={"model_info": facts}, actor=actor)
    return answer


def _was_told(run: Job, points: list[RunPoint]) -> bool:
    """Whether this epoch, or a later one, was reported before."""
    if not points:
        return False
    first = points[0]
    return MetricSeries.objects.filter(job=run, name=first.name, last_step__gte=first.step).exists()
