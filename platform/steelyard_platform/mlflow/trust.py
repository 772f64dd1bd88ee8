"""Who gets what nobody has scanned, or what the scan called dangerous: docs/decisions says why.

MLflow pickles whatever it logs. Whoever may write to a repository may also read back what its own runs have logged and
registered: they could have written the same. Everybody else gets what is neither dangerous nor unknown.
"""

from __future__ import annotations

from steelyard_contracts.errors import BeingScannedError, QuarantinedError
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor, may
from steelyard_platform.mlflow.models import RunFile, VersionNote
from steelyard_platform.repos.blobs import read_blob
from steelyard_platform.repos.models import Repository
from steelyard_platform.repos.revisions import Snapshot
from steelyard_platform.weights.disguise import HEAD_BYTES, is_disguised
from steelyard_platform.weights.inspection import may_hold_weights
from steelyard_platform.weights.models import WeightFile
from steelyard_platform.weights.quarantine import check_download


def check_version(snapshot: Snapshot, actor: Actor) -> None:
    """What goes past a quarantine leaves an audit row. Raises: QuarantinedError, BeingScannedError."""
    try:
        check_download(snapshot, actor)
    except (QuarantinedError, BeingScannedError):
        version, repository = snapshot.version, snapshot.repository
        is_writer = version is not None and may(actor, Action.WRITE, repository.resource)
        if not is_writer or not VersionNote.objects.filter(version=version, is_own=True).exists():
            raise
        audit.record(actor, "read past quarantine", repository.full_name, version=str(version))


def check_run_file(project: Repository, file: RunFile, actor: Actor) -> None:
    """Raises: QuarantinedError, BeingScannedError."""
    if may(actor, Action.WRITE, project.resource):
        return
    report = WeightFile.objects.filter(pk=file.blob_id).defer("outline", "statistics").first()
    if report is not None and report.has_danger:
        raise QuarantinedError(
            f"{file.path!r} of this run is in quarantine: {report.findings[0]['sentence']} Only those who may write to "
            f"{project.full_name} can read it."
        )
    if report is None and _may_be_weights(file):
        raise BeingScannedError(
            f"{file.path!r} of this run may hold code, and nobody has scanned it: files that belong to no version are "
            f"for those who may write to {project.full_name}. Ask one of them to register the model, then read its "
            "version."
        )


def _may_be_weights(file: RunFile) -> bool:
    if may_hold_weights(file.path):
        return True
    head = b"".join(read_blob(file.blob, 0, HEAD_BYTES))
    return is_disguised(file.path, head, goes_on=file.blob.size > HEAD_BYTES)
