"""One conversion in a process of its own, which reaches no network and writes nothing but the file it was handed."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from steelyard_contracts.errors import InvalidInputError, UnavailableError
from steelyard_workers.convert.isolation import cut_off

_CPU_SECONDS, _WALL_SECONDS = 1800, 3600
_HEADER_BYTES = 100_000_000
_LONGEST_SENTENCE = 1000


@dataclass(frozen=True, slots=True)
class Converted:
    tensors: int
    left_out: list[str]


def convert_file(source: Path, target: Path) -> Converted:
    """Writes `source`, saved by torch, as safetensors.

    Raises:
        InvalidInputError: it holds more than tensors, or cannot be read; with the sentence of what torch says.
        UnavailableError: this machine cannot cut a process off the network.
    """
    limits = functools.partial(cut_off, cpu_seconds=_CPU_SECONDS, file_bytes=2 * source.stat().st_size + _HEADER_BYTES)
    command = [sys.executable, "-m", "steelyard_workers.convert.child", str(source)]
    # Of the environment it gets where Python finds its modules, and no more.
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    with target.open("wb") as file:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE, env=environment, check=False,
                timeout=_WALL_SECONDS, preexec_fn=limits,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise InvalidInputError(f"{source.name} was not converted within {_WALL_SECONDS} seconds.") from error
        except subprocess.SubprocessError as error:
            raise UnavailableError(
                "This worker can cut no process off the network: it may make no user namespace and set no seccomp "
                "filter. Nothing was loaded."
            ) from error
    return _outcome(source, target, done)


def _outcome(source: Path, target: Path, done: subprocess.CompletedProcess[bytes]) -> Converted:
    try:
        said = json.loads(done.stderr.rpartition(b"\n")[2])
        if error := said.get("error"):
            raise InvalidInputError(f"{source.name}: {error}"[:_LONGEST_SENTENCE])
        with safe_open(target, framework="np") as file:
            assert len(file.keys()) == said["tensors"]  # noqa: S101 - the format's own reader agrees
    except (ValueError, KeyError, AttributeError, AssertionError, SafetensorError) as error:
        raise InvalidInputError(
            f"{source.name} was not converted: the sandbox ended with the status {done.returncode}, perhaps at one of "
            "its limits on memory and time."
        ) from error
    return Converted(said["tensors"], [str(name) for name in said["left_out"]])
