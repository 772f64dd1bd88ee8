"""The job of the kind `inspect`: fetches the files that nobody has looked into, and reports on each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

from steelyard_contracts.errors import NotFoundError
from steelyard_contracts.jobs import InspectSpec
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.weights import MOST_FINDINGS, FileToInspect
from steelyard_workers.inspection.files import inspect_file
from steelyard_workers.scanning import scan_file
from steelyard_workers.session import JobSession

# So much of a version lies on this machine's disk at once, unless one file is larger.
_AT_ONCE = 2_000_000_000


def inspect(session: JobSession, spec: InspectSpec) -> dict[str, Any]:
    """Reports on every file as soon as it was read, so that another attempt goes on with the next."""
    try:
        files = session.files_to_inspect()
    except NotFoundError as error:
        session.log(f"{error} It was deleted meanwhile; there is nothing to look into.")
        return {"files": 0, "findings": 0}
    total = sum(file.size for file in files) or 1
    done = findings = 0
    for batch in _batches(files):
        folder = session.fetch_files(spec.model, RepositoryKind.MODEL, [file.path for file in batch])
        for file in batch:

            def on_bytes(count: int, path: str = file.path) -> None:
                nonlocal done
                done += count
                session.progress(done / total, f"reading {path}")

            dangers = scan_file(folder / file.path)
            report = inspect_file(folder / file.path, sha256=file.sha256, on_bytes=on_bytes)
            report.findings = [*dangers, *report.findings][:MOST_FINDINGS]
            session.report_file(report)
            findings += len(report.findings)
            session.log(f"{file.path}: {report.format}, {len(report.tensors)} tensors, {len(report.findings)} findings")
        shutil.rmtree(folder)
    return {"files": len(files), "findings": findings}


def _batches(files: list[FileToInspect]) -> Iterator[list[FileToInspect]]:
    batch: list[FileToInspect] = []
    size = 0
    for file in files:
        if batch and size + file.size > _AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch
