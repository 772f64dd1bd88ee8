"""The Hub's addresses. A revision, and a path inside the API, is one segment whose slashes came as %2F."""

from __future__ import annotations

from django.urls import path, re_path, register_converter

from steelyard_platform.hub import (
    access,
    chunks,
    commits,
    discussions,
    history,
    identity,
    lfs,
    listing,
    references,
    repositories,
    resolve,
    trees,
    webhooks,
    xet,
)
from steelyard_platform.hub.converters import KindConverter
from steelyard_platform.storage.xet.tokens import Right

register_converter(KindConverter, "kind")

_REPOSITORY = "api/<kind:kind>/<str:namespace>/<str:name>"
# Models have no prefix, datasets have one.
# A namespace's part of the store: see `storage.xet.tokens.scope_of`.
_STORE = "xet/<str:scope>"
_NAMELESS = identity.without_namespace
_FILES = ["<str:namespace>/<str:name>", "datasets/<str:namespace>/<str:name>"]

urlpatterns = [
    path("api/whoami-v2", identity.whoami),
    path("api/validate-yaml", repositories.validate_yaml),
    path("api/repos/create", repositories.create),
    path("api/repos/delete", repositories.delete),
    path("api/repos/move", repositories.move),
    path("api/agent-harnesses", identity.agent_harnesses),
    path("api/<kind:kind>", listing.list_repositories),
    path("api/<kind:kind>-tags-by-type", listing.tags_by_type),
    path("api/<kind:kind>/<str:namespace>/like", repositories.like_or_info),
    path(f"{_REPOSITORY}/like", repositories.unlike),
    path(_REPOSITORY, repositories.info),
    path(f"{_REPOSITORY}/revision/<segment:revision>", repositories.info),
    path(f"{_REPOSITORY}/auth-check", identity.auth_check),
    path(f"{_REPOSITORY}/auth-check/write", identity.auth_check_write),
    path(f"{_REPOSITORY}/settings", repositories.settings),
    *(
        path(f"{_REPOSITORY}/user-access-request/{state}", access.requests, {"state": state})
        for state in ("pending", "accepted", "rejected")
    ),
    path(f"{_REPOSITORY}/super-squash/<segment:revision>", history.squash),
    path(f"{_REPOSITORY}/lfs-files", history.large_files),
    path(f"{_REPOSITORY}/lfs-files/batch", history.forget_large_files),
    path(f"{_REPOSITORY}/discussions", discussions.discussions),
    path(f"{_REPOSITORY}/discussions/<int:number>", discussions.discussion),
    path(f"{_REPOSITORY}/user-access-request/handle", access.handle),
    path(f"{_REPOSITORY}/user-access-request/grant", access.grant),
    path(f"{_REPOSITORY}/user-access-request/cancel", access.cancel),
    path(f"{_REPOSITORY}/preupload/<segment:revision>", commits.preupload),
    path(f"{_REPOSITORY}/commit/<segment:revision>", commits.commit),
    path(f"{_REPOSITORY}/tree/<segment:revision>", trees.tree),
    path(f"{_REPOSITORY}/tree/<segment:revision>/<path:folder>", trees.tree),
    path(f"{_REPOSITORY}/paths-info/<segment:revision>", trees.paths_info),
    path(f"{_REPOSITORY}/commits/<segment:revision>", trees.list_commits),
    path(f"{_REPOSITORY}/refs", references.list_refs),
    path(f"{_REPOSITORY}/branch/<segment:revision>", references.branch),
    path(f"{_REPOSITORY}/tag/<segment:revision>", references.tag),
    path(f"{_REPOSITORY}/xet-read-token/<segment:revision>", xet.token, {"right": Right.READ}),
    path(f"{_REPOSITORY}/xet-write-token/<segment:revision>", xet.token, {"right": Right.WRITE}),
    path(f"{_STORE}/v1/reconstructions/<str:digest>", xet.reconstruction),
    path(f"{_STORE}/v2/reconstructions/<str:digest>", xet.reconstruction_v2),
    path(f"{_STORE}/v1/xorbs/default/<str:digest>", xet.xorb),
    path(f"{_STORE}/v1/xorb-grants/default/<str:digest>", xet.xorb_grant),
    path(f"{_STORE}/v1/shards", xet.shard),
    path(f"{_STORE}/v2/shards", xet.shard_v2),
    # The specification writes the first, the client asks for the second.
    path(f"{_STORE}/v1/chunks/default-merkledb/<str:digest>", xet.chunk),
    path(f"{_STORE}/v1/chunks/default/<str:digest>", xet.chunk),
    path(f"{_STORE}/v1/telemetry", xet.telemetry),
    path("v1/telemetry", xet.telemetry),
    path(f"{_STORE}/steelyard/known", chunks.known),
    path(f"{_STORE}/steelyard/chunks/<str:digest>", chunks.recipe),
    path(f"{_STORE}/steelyard/ranges/<str:digest>", chunks.ranges),
    re_path(r"^xet/", identity.unknown),
    path("api/settings/webhooks", webhooks.webhooks),
    path("api/settings/webhooks/<str:identifier>", webhooks.webhook),
    path("api/settings/webhooks/<str:identifier>/enable", webhooks.switch, {"disabled": False}),
    path("api/settings/webhooks/<str:identifier>/disable", webhooks.switch, {"disabled": True}),
    path("api/users/<str:username>/likes", identity.likes),
    path("api/<kind:kind>/<str:name>", identity.without_namespace),
    re_path(r"^api/(?:models|datasets)/[^/]+/(?:revision|tree|paths-info|preupload|commit|commits)/", _NAMELESS),
    path("lfs/complete/<str:ticket>", lfs.complete),
    re_path(r"^api/(?!v1/|device/)", identity.unknown),
]
for kind, prefix in zip(("models", "datasets"), _FILES, strict=True):
    urlpatterns += [
        path(f"{prefix}/resolve/<segment:revision>/<path:file>", resolve.resolve, {"kind": kind}),
        path(f"{prefix}/ask-access", access.ask, {"kind": kind}),
        path(f"{prefix}/raw/<segment:revision>/<path:file>", resolve.resolve, {"kind": kind}),
        path(f"{prefix}.git/info/lfs/objects/batch", lfs.batch, {"kind": kind}),
        path(f"{prefix}.git/info/lfs/objects/verify", lfs.verify, {"kind": kind}),
    ]
urlpatterns.append(re_path(r"^(?:datasets/)?[^/]+/resolve/.", _NAMELESS))
