"""What every recipe begins and ends with: a network from a base, a version from a network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from steelyard_contracts.jobs import EvaluationReport, LineageReport
from steelyard_contracts.refs import RepositoryKind
from steelyard_contracts.training import TrainSpec
from steelyard_workers import networks
from steelyard_workers.cards import model_card
from steelyard_workers.processors import Normalisation, write_processor
from steelyard_workers.session import JobSession, environment_of
from steelyard_workers.training.adapters import merge, save_adapter
from steelyard_workers.training.batch_norm import reestimate
from steelyard_workers.training.loop import Fitted, Recipe, fit
from steelyard_workers.training.machine import Machine
from steelyard_workers.training.start import Start, start

# BatchNorm's statistics: a mean over the most is as good as one over all, and over the fewest already good. Between
# them it is a share of the pictures that were learned from, so that a short training does not end with a long pause.
_FEWEST_TELLING, _MOST_TELLING, _SHARE_TELLING = 256, 2_048, 0.02


@dataclass(frozen=True, slots=True)
class Trained:
    """A network as it is saved, what it measures on the validation split, and how it came about."""

    network: Any
    measures: dict[str, float]
    fitted: Fitted
    seconds: float


class PlainRecipe(Recipe, Protocol):
    """A recipe that can also show its training pictures as they are."""

    def plain_batches(self, most: int) -> Iterator[Tensor]:
        """(B, C, H, W) of `most` pictures, as the network sees them, without augmentation."""
        ...


def fetch_base(session: JobSession, spec: TrainSpec) -> Path | None:
    return session.fetch(spec.base, RepositoryKind.MODEL) if spec.base is not None else None


def begin(session: JobSession, spec: TrainSpec, *, labels: list[str], base: Path | None, channels: int = 3) -> Start:
    """The network before its first step, and what it took from a base. Raises: InvalidInputError."""
    begun = start(spec, channels=channels, labels=labels, base=base)
    if begun.report is not None:
        session.log(f"from {spec.base}: {begun.report.sentence()}")
        for line in begun.report.lines():
            session.log(f"  {line}")
    return begun


def train_network(session: JobSession, spec: TrainSpec, recipe: PlainRecipe, network: Any, machine: Machine) -> Trained:
    """The loop; then BatchNorm's statistics anew, kept when the network measures no worse with them."""
    started = time.monotonic()
    fitted = fit(session, spec, recipe, network, machine)
    network, measures = fitted.network, fitted.measures
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    telling = recipe.plain_batches(_telling(fitted, spec))
    if reestimate(network, telling, lambda pictures: network(pixel_values=pictures)):
        again = recipe.validate(network)
        if recipe.headline.is_better(again, measures):
            session.log(f"with BatchNorm's statistics estimated anew: {_told(again)}")
            measures = again
        else:
            network.load_state_dict(before)
    if spec.adapter is not None and not spec.keeps_adapter:
        network = merge(network)
        measures = recipe.validate(network)
    seconds = time.monotonic() - started
    session.log(f"done in {seconds:.1f} s, epoch {fitted.epoch} is kept: {_told(measures)}")
    return Trained(network, {name: round(value, 6) for name, value in measures.items()}, fitted, seconds)


def _telling(fitted: Fitted, spec: TrainSpec) -> int:
    learned_from = fitted.steps * fitted.batch_size * spec.accumulate
    return min(max(_FEWEST_TELLING, round(_SHARE_TELLING * learned_from)), _MOST_TELLING)


def _told(measures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in measures.items())


def leave(
    session: JobSession, spec: TrainSpec, trained: Trained, begun: Start, machine: Machine, how: Normalisation
) -> dict[str, Any]:
    """Commits the version, reports where it came from and what it measures; returns the job's result."""
    session.progress(0.97, "committing the version")
    folder: Path = session.scratch / "model"
    folder.mkdir()
    labels = networks.labels_of(trained.network)
    save(trained.network, folder, spec, how)
    history = _history(begun, trained.fitted)
    card = model_card(spec, labels=labels, metrics=trained.measures, history=history)
    (folder / "README.md").write_text(card)
    origin = f"fine-tuned from {spec.base}" if spec.base else "trained from scratch"
    is_of_same_model = spec.base is not None and spec.base.startswith(f"{spec.output}@")
    stands_on = spec.base.partition("@")[2] if spec.base and is_of_same_model else None
    title = f"{origin[0].upper()}{origin[1:]} on {spec.dataset}"
    version = session.commit(folder, spec.output, branch=spec.branch, start=stands_on, title=title)
    _report(session, spec, f"{spec.output}@{version}", trained.measures, machine)
    return _result(f"{spec.output}@{version}", trained, begun)


def save(network: Any, folder: Path, spec: TrainSpec, how: Normalisation) -> None:
    """What `from_pretrained` loads: the network, or the adapter alone."""
    network.cpu()
    if spec.keeps_adapter:
        save_adapter(network, folder)
    else:
        network.save_pretrained(folder)
        write_processor(folder, network, spec.task, side=spec.side, normalisation=how)


def _report(session: JobSession, spec: TrainSpec, made: str, measures: dict[str, float], machine: Machine) -> None:
    session.lineage(LineageReport(relation="trained-on", source=f"datasets:/{spec.dataset}", target=made))
    if spec.base:
        session.lineage(LineageReport(relation="fine-tuned-from", source=spec.base, target=made))
    session.evaluation(
        EvaluationReport(
            model=made,
            dataset=spec.dataset,
            runtime=f"torch-{machine.device.type}",
            metrics=measures,
            environment=environment_of(torch=torch.__version__),
        )
    )


def _result(version: str, trained: Trained, begun: Start) -> dict[str, Any]:
    fitted = trained.fitted
    return {
        "version": version,
        **trained.measures,
        "train_seconds": round(trained.seconds, 2),
        "kept_epoch": fitted.epoch,
        "steps": fitted.steps,
        "batch_size": fitted.batch_size,
        "optimizers": fitted.optimizers,
        **({"transfer": begun.report.counts()} if begun.report else {}),
        **({"stopped_early": fitted.stopped} if fitted.stopped else {}),
    }


def _history(begun: Start, fitted: Fitted) -> list[str]:
    """Sentences for the card."""
    told = [f"Epoch {fitted.epoch} of {fitted.steps} steps is kept, with batches of {fitted.batch_size}."]
    told += [f"It stopped early: {fitted.stopped}."] if fitted.stopped else []
    shares = ", ".join(f"{name} {count}" for name, count in fitted.optimizers.items())
    told.append(f"Numbers by optimizer: {shares}.")
    if begun.report is not None:
        told.append(f"From the base: {begun.report.sentence()}.")
        told += [f"{line}." for line in begun.report.lines()]
    return told
