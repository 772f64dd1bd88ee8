"""From what a person asked for to what a job may do: references pinned to versions, rights as grants.

A job's data cannot change under it, and its token opens exactly what its spec names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.jobs import (
    CompareSpec,
    ConvertSpec,
    EvaluateSpec,
    InspectSpec,
    JobSpec,
    JoinSpec,
    OptimiseSpec,
    PredictSpec,
    UnpackSpec,
)
from steelyard_contracts.names import check_reference_name
from steelyard_contracts.refs import RepositoryKind, parse_ref
from steelyard_contracts.run_specs import RunSpec
from steelyard_contracts.tasks import Task
from steelyard_contracts.training import TrainSpec
from steelyard_platform.accounts.permissions import OPERATOR, PLATFORM, Action, Actor, demand
from steelyard_platform.accounts.services import team_named
from steelyard_platform.datasets.checks import check_for_task
from steelyard_platform.datasets.services import existing_summary
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.queries import find_existing_version, find_repository
from steelyard_platform.repos.revisions import Snapshot
from steelyard_platform.repos.services import create_repository
from steelyard_platform.repos.tree import entry_at
from steelyard_platform.weights.architecture import is_adapter, onnx_version_of, task_of
from steelyard_platform.weights.quarantine import check_download


@dataclass(frozen=True, slots=True)
class Pinned:
    """A spec with its references pinned, where it belongs, and what its token may do."""

    spec: JobSpec
    home: Repository
    grants: frozenset[tuple[UUID, Action]]


def pin(spec: JobSpec, actor: Actor) -> Pinned:
    """Raises: the errors of looking things up as `actor`, and DatasetUnusableError."""
    if isinstance(spec, RunSpec):
        raise InvalidInputError("A run is no job for a worker: the program that trains reports to it.")
    return _PINS[type(spec)](spec, actor)


# What the platform asks for of its own accord.
OWN_KINDS = frozenset({"inspect", "compare"})


def reader_for(spec: JobSpec) -> Actor:
    """The platform itself, with the right to read the models that a job of its own names, and no other.

    Raises: RepositoryNotFoundError.
    """
    named = []
    if isinstance(spec, InspectSpec):
        named = [spec.model]
    elif isinstance(spec, CompareSpec):
        named = [spec.left, spec.right]
    found = [find_repository(OPERATOR, RepositoryKind.MODEL, parse_ref(text).repository) for text in named]
    return Actor(name=PLATFORM.name, grants=frozenset(_reading(found)))


def pin_run(spec: RunSpec, actor: Actor) -> RunSpec:
    """Raises: the errors of looking up its datasets and its base as `actor`."""
    datasets = [_pinned_text(_dataset(text, actor)) for text in dict.fromkeys(spec.datasets)]
    base = _pinned_text(_model(spec.base, actor)) if spec.base else None
    return spec.model_copy(update={"datasets": datasets, "base": base})


def _pin_train(spec: TrainSpec, actor: Actor) -> Pinned:
    check_reference_name(spec.branch, "branch")
    dataset = _dataset(spec.dataset, actor)
    check_for_task(existing_summary(dataset), dataset.repository.full_name, spec.task)
    base = _model(spec.base, actor) if spec.base else None
    if base is not None:
        _check_is_network(base)
    output = _output(spec.output, actor)
    pinned = spec.model_copy(
        update={
            "dataset": _pinned_text(dataset),
            "base": _pinned_text(base) if base else None,
            "output": output.full_name,
        }
    )
    reads = [dataset.repository, output, *([base.repository] if base else [])]
    return Pinned(pinned, output, frozenset({*_reading(reads), (output.pk, Action.WRITE)}))


def _pin_evaluate(spec: EvaluateSpec, actor: Actor) -> Pinned:
    dataset, model = _dataset(spec.dataset, actor), _model(spec.model, actor)
    _check_is_network(model)
    summary = existing_summary(dataset)
    task = task_of(model) or next(iter(summary.tasks), Task.CLASSIFICATION)
    check_for_task(summary, dataset.repository.full_name, task, needs=[spec.split])
    home = find_repository(actor, RepositoryKind.MODEL, model.repository.full_name, Action.RUN_JOBS)
    pinned = spec.model_copy(update={"dataset": _pinned_text(dataset), "model": _pinned_text(model)})
    return Pinned(pinned, home, frozenset(_reading([dataset.repository, home])))


def _pin_optimise(spec: OptimiseSpec, actor: Actor) -> Pinned:
    dataset, model = _dataset(spec.dataset, actor), _model(spec.model, actor)
    _check_is_network(model)
    if (task := task_of(model)) not in {None, Task.CLASSIFICATION}:
        raise InvalidInputError(f"{_pinned_text(model)} is for {task}; variants are made of classifiers alone so far.")
    check_for_task(existing_summary(dataset), dataset.repository.full_name)
    home = find_repository(actor, RepositoryKind.MODEL, model.repository.full_name, Action.RUN_JOBS)
    pinned = spec.model_copy(update={"dataset": _pinned_text(dataset), "model": _pinned_text(model)})
    return Pinned(pinned, home, frozenset({*_reading([dataset.repository, home]), (home.pk, Action.WRITE)}))


def _check_is_network(model: Version) -> None:
    """Raises: InvalidInputError for an adapter, which is run with its base, by PEFT."""
    if is_adapter(model):
        raise InvalidInputError(
            f"{_pinned_text(model)} is an adapter and no network by itself. Take its base, or train without "
            "keep_adapter: merged into its base it is measured, optimised, asked and trained further as any version."
        )


def _pin_inspect(spec: InspectSpec, actor: Actor) -> Pinned:
    model = _model(spec.model, actor)
    pinned = spec.model_copy(update={"model": _pinned_text(model)})
    grants = {*_reading([model.repository]), (model.repository.pk, Action.INSPECT)}
    return Pinned(pinned, model.repository, frozenset(grants))


def _pin_convert(spec: ConvertSpec, actor: Actor) -> Pinned:
    model = _model(spec.model, actor)
    home = find_repository(actor, RepositoryKind.MODEL, model.repository.full_name, Action.RUN_JOBS)
    if spec.path is not None:
        entry_at(model, spec.path)
    pinned = spec.model_copy(update={"model": _pinned_text(model)})
    # It is the way out of quarantine: what could be dangerous is done in its sandbox, and safetensors come of it.
    return Pinned(pinned, home, frozenset({*_reading([home]), (home.pk, Action.INSPECT), (home.pk, Action.WRITE)}))


def _pin_compare(spec: CompareSpec, actor: Actor) -> Pinned:
    left, right = _model(spec.left, actor), _model(spec.right, actor)
    pinned = spec.model_copy(update={"left": _pinned_text(left), "right": _pinned_text(right)})
    both = [left.repository, right.repository]
    # Like an inspection, it looks into files that may be in quarantine, and hands on numbers alone.
    grants = {*_reading(both), *((repository.pk, Action.INSPECT) for repository in both)}
    return Pinned(pinned, left.repository, frozenset(grants))


def _pin_predict(spec: PredictSpec, actor: Actor) -> Pinned:
    """Whoever may read the files may ask what they say."""
    model = _model(spec.model, actor)
    check_download(Snapshot(model.repository, model), actor)
    _check_is_network(model)
    if task_of(model) is None:
        raise InvalidInputError(
            f"{_pinned_text(model)} has no config.json that names a classifier, a detector or a segmentation; "
            "only those can be asked about pictures."
        )
    runs = onnx_version_of(model) or model
    check_download(Snapshot(runs.repository, runs), actor)
    pinned = spec.model_copy(update={"model": _pinned_text(model), "runs": _pinned_text(runs)})
    return Pinned(pinned, model.repository, frozenset(_reading([model.repository])))


def _pin_unpack(spec: UnpackSpec, actor: Actor) -> Pinned:
    home = find_repository(actor, RepositoryKind.DATASET, spec.dataset, Action.WRITE)
    pinned = spec.model_copy(update={"dataset": home.full_name})
    return Pinned(pinned, home, frozenset({*_reading([home]), (home.pk, Action.WRITE)}))


def _pin_join(spec: JoinSpec, actor: Actor) -> Pinned:
    """It reads what the training reads; the one that leads writes."""
    led = _pin_train(spec.train, actor)
    return Pinned(spec, led.home, frozenset(grant for grant in led.grants if grant[1] is Action.READ))


_PINS: dict[type, Callable[[Any, Actor], Pinned]] = {
    TrainSpec: _pin_train,
    EvaluateSpec: _pin_evaluate,
    OptimiseSpec: _pin_optimise,
    InspectSpec: _pin_inspect,
    ConvertSpec: _pin_convert,
    CompareSpec: _pin_compare,
    PredictSpec: _pin_predict,
    UnpackSpec: _pin_unpack,
    JoinSpec: _pin_join,
}


def _dataset(text: str, actor: Actor) -> Version:
    return _version(text, RepositoryKind.DATASET, actor)


def _model(text: str, actor: Actor) -> Version:
    return _version(text, RepositoryKind.MODEL, actor)


def _version(text: str, kind: RepositoryKind, actor: Actor) -> Version:
    ref = parse_ref(text, kind=kind)
    if ref.kind is not kind:
        raise InvalidInputError(f"{text!r} names a {ref.kind}; a {kind} is needed here.")
    return find_existing_version(actor, ref)


def _output(text: str, actor: Actor) -> Repository:
    """The model repository to commit to, made if it is not there and the actor may."""
    ref = parse_ref(text)
    team = team_named(ref.namespace)
    known = Repository.objects.filter(team=team, kind=RepositoryKind.MODEL, name__iexact=ref.name)
    # The right comes first: who may not create here learns nothing of what is there.
    demand(actor, Action.CREATE, team.resource)
    if known.exists():
        return find_repository(actor, RepositoryKind.MODEL, ref.repository, Action.WRITE)
    return create_repository(team=team, name=ref.name, kind=RepositoryKind.MODEL, actor=actor)


def _reading(repositories: list[Repository]) -> Iterator[tuple[UUID, Action]]:
    return ((repository.pk, Action.READ) for repository in repositories)


def _pinned_text(version: Version) -> str:
    return f"{version.repository.full_name}@{version.label}"
