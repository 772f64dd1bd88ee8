"""All addresses. The Hub's API and the pages share the root, so pages come last."""

from __future__ import annotations

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views.generic import RedirectView

from steelyard_platform.api.app import api, device_api, unknown
from steelyard_platform.api.signatures import signing_keys
from steelyard_platform.storage.views import signed_object


def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """200 when this process answers and reaches its database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("healthz", healthz),
    path(".well-known/steelyard-signing-keys.json", signing_keys),
    path("objects/<path:key>", signed_object),
    re_path(r"^api/(?:device/)?v1/?$", unknown),
    path("api/v1/", api.urls),
    path("api/device/v1/", device_api.urls),
    re_path(r"^api/(?:device/)?v1/", unknown),
    path("mlflow", RedirectView.as_view(url="/mlflow/")),
    path("mlflow/", include("steelyard_platform.mlflow.urls")),
    path("ultralytics/", include("steelyard_platform.ultralytics.urls")),
    path("", include("steelyard_platform.hub.urls")),
    path("", include("steelyard_platform.pages.urls")),
]
handler404 = "steelyard_platform.pages.rendering.not_found"
