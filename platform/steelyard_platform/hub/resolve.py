"""Files by address: `/{namespace}/{name}/resolve/{revision}/{path}`, with HEAD, GET and Range."""

from __future__ import annotations

from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from steelyard_contracts.errors import EntryNotFoundError
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.hub import xet
from steelyard_platform.hub.http import error_response, hub_view, kind_of
from steelyard_platform.repos import tree
from steelyard_platform.repos.addresses import ENCODED_SLASH
from steelyard_platform.repos.downloads import note_download
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve as resolve_revision
from steelyard_platform.repos.serving import serve_entry
from steelyard_platform.storage.xet.tokens import Right
from steelyard_platform.weights.quarantine import check_download


@hub_view("GET", "HEAD")
def resolve(request: HttpRequest, kind: str, namespace: str, name: str, revision: str, file: str) -> HttpResponseBase:
    actor = api_actor(request)
    repository = find_repository(actor, kind_of(kind), f"{namespace}/{name}")
    if repository.full_name.lower() != f"{namespace}/{name}".lower():
        moved = quote(f"{repository.page}/resolve/{revision}/{file}")
        # Without a host: some clients follow no other redirect when they ask for a file's metadata.
        return HttpResponse(status=307, headers={"Location": moved})
    snapshot = resolve_revision(repository, revision)
    check_download(snapshot, actor)
    try:
        entry = tree.entry_at(snapshot.version, file.replace(ENCODED_SLASH, "/"))
    except EntryNotFoundError as error:
        response: HttpResponseBase = error_response(error)
    else:
        # A picture that a card's page shows is not a download.
        if request.method == "GET" and request.headers.get("Sec-Fetch-Dest") != "image":
            note_download(repository, actor, request.META.get("REMOTE_ADDR", ""))
        response = serve_entry(request, entry)
        if entry.is_lfs and entry.blob is not None and entry.blob.xet_id is not None:
            route = xet.token_address(request, repository, Right.READ, snapshot.commit_id)
            response.headers["X-Xet-Hash"] = entry.blob.xet_id
            response.headers["X-Linked-Size"] = str(entry.blob.size)
            response.headers["X-Linked-ETag"] = f'"{entry.etag}"'
            response.headers["Link"] = f'<{route}>; rel="xet-auth"'
    # Also with a 404: clients then remember that this commit does not have the file.
    response.headers["X-Repo-Commit"] = snapshot.commit_id
    return response
