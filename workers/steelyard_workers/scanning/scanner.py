"""Scanning as a process of its own: what it must not take is taken from it, and its end is a finding like any other."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from steelyard_contracts.weights import Finding, Severity
from steelyard_workers.scanning.limits import DEFAULT

_FINDINGS = TypeAdapter(list[Finding])


def scan_file(path: Path) -> list[Finding]:
    """Everything in the file that is a danger to whoever loads or unpacks it. Never raises for what is in the file."""
    with tempfile.TemporaryDirectory(prefix="steelyard-scan-") as scratch:
        command = [sys.executable, "-m", "steelyard_workers.scanning.child", str(path), scratch]
        try:
            done = subprocess.run(command, capture_output=True, timeout=DEFAULT.wall_seconds, check=False)
        except subprocess.TimeoutExpired:
            return [_unfinished(f"within {DEFAULT.wall_seconds} seconds")]
    if done.returncode:
        return [_unfinished(f"with {DEFAULT.memory_bytes >> 20} MiB of memory and {DEFAULT.cpu_seconds} seconds")]
    try:
        return _FINDINGS.validate_json(done.stdout)
    except ValidationError:
        return [_unfinished("to its end")]


def _unfinished(how: str) -> Finding:
    sentence = f"The file could not be scanned {how}; what cannot be looked at counts as a danger."
    return Finding(severity=Severity.DANGER, code="not-scanned", sentence=sentence)
