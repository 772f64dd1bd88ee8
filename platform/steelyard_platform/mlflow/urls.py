"""MLflow's addresses, below `/mlflow`. What is not among them is answered in MLflow's own error shape."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, re_path

from steelyard_contracts.errors import SteelyardError
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.mlflow import (
    artifact_views,
    experiment_views,
    logged_model_views,
    registry_views,
    run_views,
    version_views,
    webhook_views,
)
from steelyard_platform.mlflow.experiments import find_experiment
from steelyard_platform.mlflow.http import View, unknown
from steelyard_platform.mlflow.names import find_model

# The client that this face was written against and is tested with.
VERSION = "3.17.2"


def version(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    return HttpResponse(VERSION, content_type="text/plain")


def health(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - as above
    return HttpResponse("OK", content_type="text/plain")


_TRACKING: dict[str, View] = {
    "experiments/create": experiment_views.create,
    "experiments/get": experiment_views.get,
    "experiments/get-by-name": experiment_views.get_by_name,
    "experiments/delete": experiment_views.delete,
    "experiments/restore": experiment_views.restore,
    "experiments/update": experiment_views.update,
    "experiments/search": experiment_views.search,
    "experiments/set-experiment-tag": experiment_views.set_tag,
    "experiments/delete-experiment-tag": experiment_views.delete_tag,
    "runs/create": run_views.create,
    "runs/get": run_views.get,
    "runs/update": run_views.update,
    "runs/delete": run_views.delete,
    "runs/restore": run_views.restore,
    "runs/search": run_views.search,
    "runs/log-metric": run_views.log_metric,
    "runs/log-parameter": run_views.log_parameter,
    "runs/set-tag": run_views.set_tag,
    "runs/delete-tag": run_views.delete_tag,
    "runs/log-batch": run_views.log_batch,
    "runs/log-model": run_views.log_model,
    "runs/log-inputs": run_views.log_inputs,
    "runs/outputs": run_views.outputs,
    "metrics/get-history": run_views.metric_history,
    "artifacts/list": artifact_views.list_of_run,
    "logged-models": logged_model_views.create,
    "logged-models/search": logged_model_views.search,
    "logged-models/<str:model_id>": logged_model_views.one,
    "logged-models/<str:model_id>/tags": logged_model_views.set_tags,
    "logged-models/<str:model_id>/tags/<path:key>": logged_model_views.delete_tag,
    "logged-models/<str:model_id>/params": logged_model_views.log_params,
    "logged-models/<str:model_id>/artifacts/directories": logged_model_views.directories,
    "logged-models/<str:model_id>/artifacts/files": logged_model_views.files,
}
_REGISTRY: dict[str, View] = {
    "registered-models/create": registry_views.create,
    "registered-models/get": registry_views.get,
    "registered-models/rename": registry_views.rename,
    "registered-models/update": registry_views.update,
    "registered-models/delete": registry_views.delete,
    "registered-models/search": registry_views.search,
    "registered-models/set-tag": registry_views.set_tag,
    "registered-models/delete-tag": registry_views.delete_tag,
    "registered-models/alias": registry_views.alias,
    "registered-models/get-latest-versions": registry_views.latest_versions,
    "model-versions/create": version_views.create,
    "model-versions/get": version_views.get,
    "model-versions/update": version_views.update,
    "model-versions/delete": version_views.delete,
    "model-versions/search": version_views.search,
    "model-versions/set-tag": version_views.set_tag,
    "model-versions/delete-tag": version_views.delete_tag,
    "model-versions/transition-stage": version_views.transition,
    "model-versions/get-download-uri": version_views.get_download_uri,
    "webhooks": webhook_views.webhooks,
    "webhooks/<str:webhook_id>": webhook_views.webhook,
}
_ARTIFACTS: dict[str, View] = {
    "artifacts": artifact_views.list_artifacts,
    "artifacts/<path:path>": artifact_views.artifact,
    "mpu/create/<path:path>": artifact_views.create_parts,
    "mpu/complete/<path:path>": artifact_views.complete_parts,
    "mpu/abort/<path:path>": artifact_views.abort_parts,
}


def _below(prefix: str, views: dict[str, View]) -> list[URLPattern]:
    return [path(f"{prefix}/{address}", view) for address, view in views.items()]


def printed(request: HttpRequest) -> HttpResponse:
    """What clients print for people to open, as in `/mlflow/#/experiments/1/runs/…`: a browser alone knows the rest."""
    return render(request, "mlflow.html")


def experiment(request: HttpRequest, key: str) -> HttpResponse:
    """To the runs of its repository; to the list of models where there is none yet."""

    def page(actor: Actor) -> str:
        project = find_experiment(actor, key).project
        return f"{project.page}/runs" if project is not None else "/models"

    return _lead(request, page)


def model(request: HttpRequest, name: str, number: int | None = None) -> HttpResponse:
    """To the repository of a registered model, or to its version."""
    place = f"/versions/v{number}" if number else ""
    return _lead(request, lambda actor: find_model(actor, name).page + place)


def _lead(request: HttpRequest, page: Callable[[Actor], str]) -> HttpResponse:
    """To the page, by way of the login. Raises: Http404 for what is not there, or that the person may not see."""
    actor = page_actor(request)
    if actor.is_anonymous:
        return redirect(f"/login?next={quote(request.path)}")
    try:
        return redirect(page(actor))
    except SteelyardError as error:
        raise Http404(str(error)) from error


urlpatterns = [
    path("", printed),
    path("experiments/<str:key>", experiment),
    path("models/<path:name>/versions/<int:number>", model),
    path("models/<path:name>", model),
    path("version", version),
    path("health", health),
    # What MLflow's pages and some clients ask, beside the API.
    path("get-artifact", artifact_views.get_of_run),
    re_path("^/?model-versions/get-artifact$", version_views.get_artifact),  # some write the slash twice
    *(
        pattern
        for api in ("api/2.0", "ajax-api/2.0", "api/3.0", "ajax-api/3.0")
        for pattern in [
            *_below(f"{api}/mlflow", _TRACKING),
            *_below(f"{api}/mlflow", _REGISTRY),
            *_below(f"{api}/mlflow-artifacts", _ARTIFACTS),
        ]
    ),
    re_path(r"^", unknown),
]
