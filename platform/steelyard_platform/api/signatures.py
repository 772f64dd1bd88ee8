"""What vouches for a version: its signature, its bill of materials, and the keys that signatures are checked with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from ninja import Router

from steelyard_contracts.errors import RevisionNotFoundError, SteelyardError, body_of
from steelyard_contracts.refs import Ref
from steelyard_platform.accounts.authentication import api_actor
from steelyard_platform.accounts.permissions import Action
from steelyard_platform.api.lookups import Kind
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_version
from steelyard_platform.weights.bom import bom_of
from steelyard_platform.weights.keyring import public_document
from steelyard_platform.weights.signing import signature_of

router = Router(tags=["signatures"])


@router.get("/{kind}/{namespace}/{name}/versions/{segment:revision}/signature", response=dict[str, Any])
def get_signature(
    request: HttpRequest, response: HttpResponse, kind: Kind, namespace: str, name: str, revision: str
) -> dict[str, Any]:
    """The version's signature in the OpenSSF Model Signing format: a sigstore bundle, to be kept as `model.sig`."""
    version = _find(request, Ref(kind.kind, namespace, name, revision))
    response["Content-Disposition"] = 'attachment; filename="model.sig"'
    bundle: dict[str, Any] = signature_of(version).bundle
    return bundle


@router.get("/{kind}/{namespace}/{name}/versions/{segment:revision}/bom", response=dict[str, Any])
def get_bom(request: HttpRequest, kind: Kind, namespace: str, name: str, revision: str) -> dict[str, Any]:
    """The model version's bill of materials: CycloneDX 1.6 with a model card."""
    origin = settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
    version = _find(request, Ref(kind.kind, namespace, name, revision))
    return bom_of(version, actor=api_actor(request), origin=origin)


@require_safe
def signing_keys(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - Django's signature
    """The installation's public keys, for everybody: a JSON Web Key Set with PEMs and their history."""
    try:
        return JsonResponse(public_document())
    except SteelyardError as error:
        return JsonResponse(body_of(error).model_dump(mode="json"), status=error.status)


def _find(request: HttpRequest, ref: Ref) -> Version:
    found = find_version(api_actor(request), ref, Action.SEE)
    if found.version is None:
        raise RevisionNotFoundError(f"{found.repository.full_name} is empty.", revision=ref.revision)
    found.version.repository = found.repository
    return found.version
