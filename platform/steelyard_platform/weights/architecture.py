"""What a version's network is for, as its own `config.json` says it, and which of its files can be run as it is."""

from __future__ import annotations

import json

from steelyard_contracts.errors import SteelyardError
from steelyard_contracts.manifests import MODEL_FILE
from steelyard_contracts.tasks import Task
from steelyard_platform.repos.blobs import blob_bytes
from steelyard_platform.repos.models import Branch, Version
from steelyard_platform.repos.tree import entries_at

_CONFIG, _ADAPTER = "config.json", "adapter_config.json"
_LARGEST = 4 * 1024 * 1024
_VARIANTS = 20
_ENDINGS = ("onnx-fp32", "onnx-fp16", "onnx-int8")


def is_adapter(version: Version) -> bool:
    """Whether it is what PEFT keeps beside a base, and no network by itself."""
    return entries_at(version).filter(path=_ADAPTER).exists()


def task_of(version: Version) -> Task | None:
    """None where the file is missing or says nothing that is known here, and for an adapter."""
    if is_adapter(version):
        return None
    entry = entries_at(version).filter(path=_CONFIG).select_related("blob").first()
    if entry is None or entry.blob is None or entry.blob.size > _LARGEST:
        return None
    try:
        found = json.loads(blob_bytes(entry.blob, limit=_LARGEST))
        return Task.of_architectures(map(str, found.get("architectures") or []))
    except (ValueError, AttributeError, TypeError, SteelyardError):
        return None


def onnx_version_of(version: Version) -> Version | None:
    """The version itself where it holds an ONNX file, else a variant of it that does: the most exact one."""
    if _is_onnx(version):
        return version
    branches = Branch.objects.filter(base=version, sees_base=False, head__isnull=False).select_related("head__branch")
    heads = [branch.head for branch in sorted(branches[:_VARIANTS], key=_exactness) if branch.head is not None]
    for head in heads:
        if _is_onnx(head):
            head.repository = version.repository
            return head
    return None


def _is_onnx(version: Version) -> bool:
    return entries_at(version).filter(path=MODEL_FILE).exists()


def _exactness(branch: Branch) -> tuple[int, str]:
    place = next((place for place, ending in enumerate(_ENDINGS) if branch.name.endswith(ending)), len(_ENDINGS))
    return place, branch.name
