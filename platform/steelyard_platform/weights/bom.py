"""A version's bill of materials: CycloneDX 1.6 with a model card (ML-BOM), as a JSON document.

What it is made of (files with their digests), from (base models, datasets), under which licence, and what was measured.
A reader finds in it what they could have found elsewhere: edges and evaluations that lead to what they may not see are
left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from steelyard_contracts.digests import canonical_json, sha256_of
from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.refs import RepositoryKind
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos.card import card_text, parse_metadata, split_card, tags_of
from steelyard_platform.repos.models import Version
from steelyard_platform.weights.models import LineageEdge, Relation
from steelyard_platform.weights.services import visible_evaluations, visible_lineage
from steelyard_platform.weights.signing import files_of
from steelyard_platform.weights.statements import SignedFile, manifest_digest

_MOST_EDGES, _MOST_EVALUATIONS = 500, 200


@dataclass(frozen=True, slots=True)
class _Origins:
    """Components that the version came from, by the names they are referred to by."""

    datasets: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)


def bom_of(version: Version, *, actor: Actor, origin: str) -> dict[str, Any]:
    """The document, for this reader. `origin`: the installation's address.

    Raises: InvalidInputError for a dataset's version; TooLargeError.
    """
    if version.repository.kind != RepositoryKind.MODEL:
        raise InvalidInputError(f"{version.repository.full_name} is a dataset; a bill of materials is made of a model.")
    card, _ = parse_metadata(split_card(card_text(version) or "")[0])
    origins = _origins(version, card, actor)
    model = _model(version, card, origins, actor, origin)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": version.created_at.isoformat(),
            "tools": {
                "components": [{"type": "application", "name": "steelyard", "version": metadata.version("steelyard")}]
            },
            "component": model,
        },
        "components": list(origins.datasets.values()),
        "dependencies": [{"ref": model["bom-ref"], "dependsOn": list(origins.datasets)}],
    }
    # The same content has the same serial number, and other content another one.
    name = f"{version.commit_id}:{sha256_of(canonical_json(document))}"
    return {**document, "serialNumber": uuid5(NAMESPACE_URL, name).urn}


def _model(version: Version, card: dict[str, Any], origins: _Origins, actor: Actor, origin: str) -> dict[str, Any]:
    repository, files = version.repository, files_of(version)
    ref = f"{repository.full_name}@{version.label}"
    api = f"{origin}/api/v1/models/{repository.full_name}/versions/{version.label}"
    return {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "group": repository.team.name,
        "name": repository.name,
        "version": version.label,
        "description": version.title,
        "authors": [{"name": version.author_name}],
        "hashes": [{"alg": "SHA-256", "content": manifest_digest(files)}],
        "licenses": list(_licences(card)),
        "tags": tags_of(card),
        "pedigree": {"ancestors": list(origins.models.values())},
        "externalReferences": [
            {"type": "distribution", "url": f"{origin}{repository.page}/tree/{version.label}"},
            {"type": "attestation", "url": f"{api}/signature", "comment": "OpenSSF Model Signing v1"},
        ],
        "components": [_file(ref, file) for file in sorted(files, key=lambda file: file.path)],
        "modelCard": {
            "modelParameters": {
                **_given("task", card.get("pipeline_tag")),
                "datasets": [{"ref": name} for name in origins.datasets],
            },
            "quantitativeAnalysis": {"performanceMetrics": list(_metrics(version, actor))},
        },
        "properties": [{"name": "steelyard:commit", "value": version.commit_id}],
    }


def _file(ref: str, file: SignedFile) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"{ref}:{file.path}",
        "name": file.path,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        "properties": [{"name": "steelyard:size", "value": str(file.size)}],
    }


def _origins(version: Version, card: dict[str, Any], actor: Actor) -> _Origins:
    """What was recorded, and what the card declares beyond it."""
    found = _Origins()
    for edge in visible_lineage(version, actor).filter(target=version)[:_MOST_EDGES]:
        if edge.relation == Relation.TRAINED_ON:
            found.datasets[f"datasets:/{_ref(edge)}"] = _component(edge.source, "data")
        elif edge.relation.endswith("-from"):
            found.models[_ref(edge)] = _component(edge.source, "machine-learning-model")
    for key, known, kind, prefix in (
        ("datasets", found.datasets, "data", "datasets:/"),
        ("base_model", found.models, "machine-learning-model", ""),
    ):
        recorded = {ref.removeprefix(prefix).partition("@")[0] for ref in known}
        for name in _strings(card.get(key)):
            if name.partition("@")[0] not in recorded:
                known[prefix + name] = {"type": kind, "bom-ref": prefix + name, "name": name}
    return found


def _ref(edge: LineageEdge) -> str:
    return f"{edge.source.repository.full_name}@{edge.source.label}"


def _component(source: Version, kind: str) -> dict[str, Any]:
    repository = source.repository
    return {
        "type": kind,
        "bom-ref": f"{repository.ref}@{source.label}",
        "group": repository.team.name,
        "name": repository.name,
        "version": source.label,
        "properties": [{"name": "steelyard:commit", "value": source.commit_id}],
    }


def _licences(card: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """As an SPDX expression where it is one; the card's own words otherwise."""
    names = _strings(card.get("license"))
    if names == ["other"] and isinstance(card.get("license_name"), str):
        yield {"license": {"name": card["license_name"], **_given("url", card.get("license_link"))}}
        return
    try:
        (name,) = names
        yield {"expression": canonicalize_license_expression(name)}
    except (ValueError, InvalidLicenseExpression):
        yield from ({"license": {"name": name}} for name in names)


def _metrics(version: Version, actor: Actor) -> Iterator[dict[str, str]]:
    """The newest measure of each kind in each place."""
    seen: set[tuple[str, str]] = set()
    for row in visible_evaluations(version, actor)[:_MOST_EVALUATIONS]:
        where = f"{row.dataset.repository.full_name}@{row.dataset.label} {row.split} in {row.runtime}"
        for name, value in row.metrics.items():
            if (name, where) not in seen:
                seen.add((name, where))
                yield {"type": name, "value": str(value), "slice": where}


def _given(key: str, value: Any) -> dict[str, str]:
    return {key: value} if isinstance(value, str) and value else {}


def _strings(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(item for item in values if isinstance(item, str) and item))
