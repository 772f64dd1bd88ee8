"""The dashboard's addresses. Those with a namespace come last: reserved words keep them apart from the others."""

from __future__ import annotations

from django.urls import path

from steelyard_platform.pages import (
    access,
    account,
    card,
    fleet,
    home,
    jobs,
    lineage,
    names,
    promotions,
    quarantine,
    repositories,
    storage,
    trash,
    weights,
)
from steelyard_platform.repos import addresses  # noqa: F401 - registers the converter

_JOB = "jobs/<uuid:job_id>"
_ROLLOUT = "rollouts/<uuid:rollout_id>"

urlpatterns = [
    path("", home.home),
    path("login", account.sign_in),
    path("logout", account.sign_out),
    path("settings/tokens", account.tokens),
    path("settings/tokens/<int:token_id>/revoke", account.revoke),
    path("models", home.listing, {"kind": "model"}),
    path("datasets", home.listing, {"kind": "dataset"}),
    path("jobs", jobs.listing),
    path(_JOB, jobs.detail),
    path(f"{_JOB}/status", jobs.status),
    path(f"{_JOB}/series.json", jobs.series_json),
    path(f"{_JOB}/log.json", jobs.log_json),
    path(f"{_JOB}/cancel", jobs.cancel),
    path("storage", storage.everything),
    path("storage/<str:team>", storage.namespace),
    path("trash", trash.everything),
    path("trash/<int:item>/restore", trash.restore),
    path("trash/<int:item>/empty", trash.empty),
    path("fleet", fleet.teams),
    path("fleet/<str:team>", fleet.devices),
    path("fleet/<str:team>/devices", fleet.devices_live),
    path("fleet/<str:team>/devices/<str:device>/<str:verb>", fleet.change_device),
    path(_ROLLOUT, fleet.rollout),
    path(f"{_ROLLOUT}/devices", fleet.rollout_live),
]
for kind, prefix in (
    ("dataset", "datasets/<str:namespace>/<str:name>"),
    ("model", "<str:namespace>/<str:name>"),
):
    which = {"kind": kind}
    urlpatterns += [
        path(prefix, card.overview, which),
        path(f"{prefix}/edit", card.edit, which),
        path(f"{prefix}/edit/preview", card.preview, which),
        path(f"{prefix}/tree/<segment:revision>", repositories.files, which),
        path(f"{prefix}/tree/<segment:revision>/<path:folder>", repositories.files, which),
        path(f"{prefix}/access", access.access, which),
        path(f"{prefix}/access/ask", access.ask, which),
        path(f"{prefix}/access/decide", access.decide, which),
        path(f"{prefix}/versions", repositories.versions, which),
        path(f"{prefix}/versions/<segment:revision>", repositories.version, which),
        path(f"{prefix}/versions/<segment:revision>/tensors", weights.tensors, which),
        path(f"{prefix}/versions/<segment:revision>/quarantine/lift", quarantine.lift, which),
        path(f"{prefix}/versions/<segment:revision>/quarantine/put-back", quarantine.put_back, which),
        path(f"{prefix}/versions/<segment:revision>/convert", quarantine.convert, which),
        path(f"{prefix}/versions/<segment:revision>/promote", repositories.promote, which),
        path(f"{prefix}/versions/<segment:revision>/delete", trash.delete_version, which),
        path(f"{prefix}/versions/<segment:revision>/lineage", lineage.lineage, which),
        path(f"{prefix}/lineage", lineage.lineage, which),
        path(f"{prefix}/names", names.names, which),
        path(f"{prefix}/names/<str:verb>", names.change_alias, which),
        path(f"{prefix}/names/gates/<str:verb>", names.change_gates, which),
        path(f"{prefix}/promotions", promotions.listing, which),
        path(f"{prefix}/promotions/ask", promotions.ask, which),
        path(f"{prefix}/promotions/<int:number>", promotions.detail, which),
        path(f"{prefix}/promotions/<int:number>/<str:verb>", promotions.act, which),
        path(f"{prefix}/delete", trash.delete_repository, which),
        path(f"{prefix}/expiry", trash.expiry_rule, which),
        path(f"{prefix}/storage", storage.repository, which),
        path(f"{prefix}/compare", repositories.compare_form, which),
        path(f"{prefix}/compare/<segment:left>...<segment:right>", repositories.compare, which),
        path(f"{prefix}/commit/<str:commit_id>", repositories.commit, which),
        path(f"{prefix}/discussions/<int:number>", repositories.proposal, which),
    ]
