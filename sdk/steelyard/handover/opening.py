"""Which source an address means.

FOLDER                      an export of ours, or whatever the folder turns out to be
mlflow:http://host#name     a registered model or an experiment of an MLflow server; without a name, all of it
hf:owner/name               a model of a Hub; hf:datasets/owner/name is a dataset
wandb:FOLDER, ultralytics:PATH, folder:FOLDER
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from steelyard.handover.archive import Archive
from steelyard.handover.hub import Hub
from steelyard.handover.layout import is_export
from steelyard.handover.mlflow import MLflow
from steelyard.handover.plain import PlainFolder
from steelyard.handover.source import Source
from steelyard.handover.ultralytics import Ultralytics, is_ultralytics
from steelyard.handover.wandb import WandB, is_wandb
from steelyard_contracts.errors import InvalidInputError

SCHEMES = ("mlflow", "hf", "wandb", "ultralytics", "folder")


@dataclass(frozen=True, slots=True)
class Options:
    """`endpoint`: of a Hub; `newest_only`: its newest state in place of its history; `dataset`: of a plain folder."""

    endpoint: str | None = None
    token: str | None = None
    newest_only: bool = False
    dataset: bool = False


def open_source(address: str, options: Options) -> Source:
    """Raises: InvalidInputError for what is no source, or is not there."""
    scheme, colon, rest = address.partition(":")
    if not colon or scheme not in SCHEMES:
        return _of_folder(_existing(address), options)
    if not rest:
        raise InvalidInputError(f"Say what to import behind {scheme}:.")
    match scheme:
        case "mlflow":
            return MLflow(rest, token=options.token)
        case "hf":
            return Hub(rest, endpoint=options.endpoint, token=options.token, newest_only=options.newest_only)
        case "wandb":
            return WandB(_existing(rest))
        case "ultralytics":
            return Ultralytics(_existing(rest))
        case _:
            return PlainFolder(_existing(rest), dataset=options.dataset)


def _of_folder(path: Path, options: Options) -> Source:
    if path.is_dir() and is_export(path):
        return Archive(path)
    if is_ultralytics(path):
        return Ultralytics(path)
    if is_wandb(path):
        return WandB(path)
    return PlainFolder(path, dataset=options.dataset)


def _existing(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        known = ", ".join(f"{scheme}:…" for scheme in SCHEMES)
        raise InvalidInputError(f"{text} does not exist. A source is a folder, or one of {known}")
    return path
