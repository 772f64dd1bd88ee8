"""The addresses below `/ultralytics`: the client is told `ULTRALYTICS_PLATFORM_URL=https://host/ultralytics`."""

from __future__ import annotations

from django.urls import path, re_path
from django.views.generic import RedirectView

from steelyard_platform.ultralytics import (
    account,
    archives,
    datasets,
    events,
    files,
    networks,
    overview,
    projects,
    trash,
    uploads,
)

_WEBHOOKS = "api/webhooks"
_MODEL = "api/models/<str:owner>/<str:project>/<str:model>"

urlpatterns = [
    # What a training posts and fetches.
    path(f"{_WEBHOOKS}/training/metrics", events.receive),
    path(f"{_WEBHOOKS}/models/upload", uploads.ask),
    path(f"{_WEBHOOKS}/datasets/<str:namespace>/<str:name>/export", files.dataset),
    path(f"{_WEBHOOKS}/models/<str:namespace>/<str:project>/<str:model>/download", files.model),
    # What its SDK asks for.
    path("api/account/summary", account.summary),
    path("api/api-keys", account.keys),
    path("api/storage", account.storage),
    path("api/users", account.profile),
    path("api/projects", projects.all_of_them),
    path("api/projects/<str:owner>", projects.of_owner),
    path("api/projects/<str:owner>/<str:project>", projects.one),
    path("api/projects/<str:owner>/<str:project>/clone", projects.clone),
    path("api/datasets", datasets.all_of_them),
    path("api/datasets/<str:owner>", datasets.of_owner),
    path("api/datasets/<str:owner>/<str:dataset>", datasets.one),
    path("api/datasets/<str:owner>/<str:dataset>/export", datasets.exported),
    path("api/datasets/<str:owner>/<str:dataset>/clone", datasets.clone),
    path("api/datasets/<str:owner>/<str:dataset>/models", datasets.trained),
    path("api/datasets/<str:owner>/<str:dataset>/class-stats", datasets.class_stats),
    path("api/datasets/<str:owner>/<str:dataset>/ingest", archives.ingest),
    path("api/models", networks.all_of_them),
    path("api/models/<str:owner>/<str:project>", networks.of_project),
    path(_MODEL, networks.one),
    path(f"{_MODEL}/files", networks.files),
    path(f"{_MODEL}/training", networks.training),
    path(f"{_MODEL}/exports", networks.exports),
    path(f"{_MODEL}/exports/<int:number>", networks.export),
    path(f"{_MODEL}/predict", networks.predict),
    path(f"{_MODEL}/clone", networks.clone),
    path("api/training/start", networks.start),
    path("api/training/gpu-availability", networks.availability),
    path("api/upload/signed-url", uploads.promise_to_sdk),
    path("api/upload/complete", uploads.complete),
    path("api/trash", trash.everything),
    # Addresses that are their own credential.
    path("uploads/<str:ticket>/<str:filename>", uploads.receive),
    path("exports/<path:rest>", files.export),
    path("weights/<path:rest>", files.weights),
    path("pictures/<str:namespace>/<str:name>/<str:label>/<path:path>", files.picture),
    re_path(r"^api/", overview.unknown),
    # What the client prints for people to open.
    path("settings", RedirectView.as_view(url="/settings/tokens")),
    path("<str:namespace>/<str:project>/<str:model>", overview.page_of_model),
    path("<str:namespace>/<str:project>", overview.page_of_project),
]
