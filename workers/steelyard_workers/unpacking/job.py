"""The job that unpacks: an archive's files as a version of the dataset that it was sent to."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from steelyard_contracts.jobs import UnpackSpec
from steelyard_contracts.refs import RepositoryKind
from steelyard_workers.session import JobSession
from steelyard_workers.unpacking import archives

_UNPACKED_AT, _SORTED_AT = 0.7, 0.75


def unpack(session: JobSession, spec: UnpackSpec) -> dict[str, Any]:
    """Returns the job's result: the version, and how many files came, were left out, or stayed as they are."""
    session.progress(0.02, f"fetching {spec.name}")
    packed = session.archive(spec)
    folder = session.scratch / "unpacked"
    folder.mkdir()

    def told(share: float) -> None:
        session.progress(0.05 + (_UNPACKED_AT - 0.05) * share, f"unpacking {spec.name}")

    found = archives.unpack(packed, folder, name=spec.name, told=told)
    packed.unlink()
    root = archives.content_of(folder)
    session.progress(_SORTED_AT, "committing the version")
    kept = _drop(root, session.paths_in(spec.dataset, RepositoryKind.DATASET)) if spec.keep else 0
    said = {"files": found.files - kept, "left_out": found.left_out, "kept": kept}
    session.log(
        f"{spec.name}: {found.files} files, {found.size} bytes; {found.left_out} left out, {kept} there already"
    )
    if kept == found.files:
        return said
    version = session.commit(root, spec.dataset, kind=RepositoryKind.DATASET, title=f"Unpacked {spec.name}")
    shutil.rmtree(folder)
    return {"version": version, **said}


def _drop(root: Path, known: set[str]) -> int:
    """Takes away what is there already. Returns how many files that were."""
    doomed = [path for path in root.rglob("*") if path.is_file() and path.relative_to(root).as_posix() in known]
    for path in doomed:
        path.unlink()
    return len(doomed)
