"""Where a network comes from: the zoo, an architecture of one's own, or a base with all that fits of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.training import Architecture, TrainSpec
from steelyard_workers import networks
from steelyard_workers.training.adapters import ADAPTER_CONFIG, adapt, base_of_adapter
from steelyard_workers.training.transfer import TransferReport, read_weights, transfer


@dataclass(frozen=True, slots=True)
class Start:
    """A network that has not trained yet, and what it took over."""

    network: Any
    report: TransferReport | None = None


def with_side(spec: TrainSpec, base: Path | None) -> TrainSpec:
    """The spec with the side of its pictures settled: a base's own, unless another is asked for."""
    side = spec.image_size or (networks.known_image_size(base) if base is not None else None) or spec.side
    return spec.model_copy(update={"image_size": side})


def start(spec: TrainSpec, *, channels: int, labels: list[str], base: Path | None) -> Start:
    """A network for these pictures and classes.

    Args:
        spec: names the network, and what is to learn of a base.
        channels: of the pictures.
        labels: the classes, in the order of the network's answers.
        base: the folder of the version to start from.

    Raises: InvalidInputError when the base is of another architecture, or for other pictures.
    """
    if base is not None and (base / ADAPTER_CONFIG).exists():
        raise InvalidInputError(
            f"{spec.base} is an adapter and no network by itself; start from {base_of_adapter(base)} instead, or from "
            "a version that was trained without keep_adapter, which has it merged."
        )
    config = _config(spec, channels=channels, labels=labels, base=base)
    network = networks.from_config(config, spec.task)
    if base is None:
        return Start(network)
    known = networks.saved_tensors(base) if spec.base_file is None else None
    report = transfer(known if known is not None else read_weights(base, spec.base_file), network)
    if spec.adapter is not None:
        network = adapt(network, spec.adapter, base=spec.base or "")
    return Start(network, report)


def _config(spec: TrainSpec, *, channels: int, labels: list[str], base: Path | None) -> Any:
    if spec.zoo is not None:
        return networks.zoo_config(spec.zoo, channels=channels, labels=labels, side=spec.side)
    if spec.architecture is not None or base is None:
        return networks.resnet_config(spec.architecture or Architecture(), channels=channels, labels=labels)
    if not (base / "config.json").exists():
        raise InvalidInputError(
            f"The base {spec.base} does not say what network its weights are of: it has no config.json. Name the "
            "network with model or architecture."
        )
    return networks.base_config(base, channels=channels, labels=labels, side=spec.side)
