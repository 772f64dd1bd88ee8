"""`steelyard worker --launch FILE`: asks which jobs wait, and starts a machine for each, `at_most` at once.

FILE is TOML:

    launcher = "kubernetes"        # or "local"
    at_most = 10

    [kubernetes]                   # the fields of KubernetesSettings
    image = "registry.example.org/steelyard:1"
    url = "https://hub.example.org"
    gpu_products = { "gpu:a100" = "NVIDIA-A100-SXM4-80GB" }
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.wire import faults_in_words
from steelyard_contracts.workers import Capabilities, NextJob
from steelyard_workers.launchers.kubernetes import KubernetesLauncher, KubernetesSettings
from steelyard_workers.launchers.launcher import Launcher, LaunchError
from steelyard_workers.launchers.local import LocalLauncher

_log = logging.getLogger(__name__)
_PAUSE = 5.0
_AT_MOST = 4
_AT_MOST_OF_ALL = 200


@dataclass(frozen=True, slots=True)
class Plan:
    launcher: Launcher
    at_most: int


def read_plan(path: Path, here: Callable[[], Capabilities]) -> Plan:
    """What a file asks for; `here` describes this machine, for the local launcher.

    Raises: InvalidInputError, which says what is wrong with the file.
    """
    try:
        asked = tomllib.loads(path.read_text())
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(f"{path} is no TOML: {error}.") from error
    at_most = asked.get("at_most", _AT_MOST)
    if not isinstance(at_most, int) or not 1 <= at_most <= _AT_MOST_OF_ALL:
        raise InvalidInputError(f"{path}: at_most is a number from 1 to {_AT_MOST_OF_ALL}.")
    match asked.get("launcher"):
        case "kubernetes":
            return Plan(KubernetesLauncher(_settings(path, asked.get("kubernetes", {}))), at_most)
        case "local":
            return Plan(LocalLauncher(os.environ, here().model_copy(update={"no_quick": True})), at_most)  # noqa: TID251 - its processes are workers
        case other:
            raise InvalidInputError(f"{path}: the launcher is 'kubernetes' or 'local', not {other!r}.")


def _settings(path: Path, fields: dict[str, Any]) -> KubernetesSettings:
    try:
        return TypeAdapter(KubernetesSettings).validate_python(fields)
    except ValidationError as error:
        raise InvalidInputError(f"{path}, [kubernetes]: {faults_in_words(error)}.") from error


def launch_next(plan: Plan, next_job: Callable[..., NextJob]) -> float:
    """Launches a machine for one job that waits, if there is room. Returns seconds until it is worth trying again."""
    try:
        running = plan.launcher.running()
        if len(running) >= plan.at_most:
            return _PAUSE
        found = next_job(exclude=sorted(running))
        if found.job is None:
            return found.again_seconds
        plan.launcher.launch(found.job, found.needs)
        _log.info("a machine for job %s: %s", found.job, found.needs.in_words() or "any will do")
    except LaunchError as error:
        _log.warning("%s", error)
        return _PAUSE
    return 0.0
