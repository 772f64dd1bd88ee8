"""What a `FolderObjectStore`'s signed addresses answer: PUT of an object or of a part, GET of some of its bytes."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from steelyard_contracts.errors import NotFoundError, SteelyardError, body_of
from steelyard_platform.storage import signing
from steelyard_platform.storage.folder import FolderObjectStore
from steelyard_platform.storage.ranges import deliver_ranges
from steelyard_platform.storage.receiving import body_stream
from steelyard_platform.storage.services import object_store


@csrf_exempt
@require_http_methods(["GET", "PUT"])
def signed_object(request: HttpRequest, key: str) -> HttpResponseBase:
    """Serves an address that `signing` made. On S3 there are none, and this is a plain 404."""
    try:
        store = object_store()
        if not isinstance(store, FolderObjectStore):
            raise NotFoundError("Objects are served by the object store itself.")
        claims = signing.check_address(str(request.method), key, request.GET.dict())
        if request.method == "GET":
            return deliver_ranges(request, store, key, allowed=claims["ranges"])
        return _receive(request, store, key, claims)
    except SteelyardError as error:
        return JsonResponse(body_of(error).model_dump(), status=error.status)


def _receive(request: HttpRequest, store: FolderObjectStore, key: str, claims: dict[str, str]) -> HttpResponse:
    body = body_stream(request)
    if "part" in claims:
        etag = store.put_part(claims["upload"], int(claims["part"]), body).etag
    else:
        etag = store.put(key, body).etag
    return HttpResponse(status=200, headers={"ETag": f'"{etag}"'})
