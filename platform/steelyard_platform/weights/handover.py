"""Names with their history, measures and lineage, as an import brings them, and evaluations as an export reads them.

What was recorded elsewhere is brought once: a record that is there is left as it is. An alias comes to stand where the
import says only if the gates that guard it here let it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from steelyard_contracts.errors import (
    ForbiddenError,
    InvalidInputError,
    InvalidNameError,
    NotFoundError,
    RevisionNotFoundError,
)
from steelyard_contracts.evaluation import Measures, Replicates, WorstSample
from steelyard_contracts.handover import AliasMoveRecord, AliasRecord, EdgeRecord, EvaluationRecord
from steelyard_contracts.jobs import EvaluationReport
from steelyard_contracts.refs import Ref, RepositoryKind, parse_ref
from steelyard_platform.accounts import audit
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.repos.handover import demand_import
from steelyard_platform.repos.locking import lock_repository, lock_version
from steelyard_platform.repos.models import Alias, AliasMove, Repository, Version
from steelyard_platform.repos.queries import find_existing_version
from steelyard_platform.repos.revisions import ALIAS_PREFIX
from steelyard_platform.repos.services import check_alias_name, tidy_reason
from steelyard_platform.repos.webhooks import announce_ref
from steelyard_platform.weights.evaluations import may_see_pictures
from steelyard_platform.weights.models import (
    Evaluation,
    EvaluationSample,
    ExternalSource,
    GateRule,
    LineageEdge,
    Relation,
)
from steelyard_platform.weights.models import (
    EvaluationRecord as RecordRow,
)
from steelyard_platform.weights.search import index_measures
from steelyard_platform.weights.services import gated, pass_gates, record_evaluation, sign_if_asked

_REASON = "imported"
_AS_FINE_AS = timedelta(milliseconds=1)


def evaluation_record(evaluation: Evaluation, actor: Actor) -> EvaluationRecord:
    """All that was reported; the pictures for those who may read the dataset's files."""
    row = RecordRow.objects.filter(evaluation=evaluation).first()
    samples = EvaluationSample.objects.filter(evaluation=evaluation).order_by("rank")
    version, dataset = evaluation.version, evaluation.dataset
    report = EvaluationReport(
        model=str(version.repository.ref.at(version.label)),
        dataset=str(dataset.repository.ref.at(dataset.label)),
        split=evaluation.split,
        runtime=evaluation.runtime,
        task=evaluation.task,
        pictures=evaluation.pictures,
        metrics=evaluation.metrics,
        intervals=evaluation.intervals,
        environment=evaluation.environment,
        measures=Measures.model_validate({**row.measures, "classes": row.classes}) if row else None,
        replicates=Replicates.model_validate(row.replicates) if row and row.replicates else None,
        samples=[_sample(sample) for sample in samples] if may_see_pictures(evaluation, actor) else [],
    )
    return EvaluationRecord(at=evaluation.created_at, report=report)


@transaction.atomic
def import_evaluation(*, version: Version, record: EvaluationRecord, actor: Actor) -> bool:
    """Whether it is new. Raises: ForbiddenError; RepositoryNotFoundError, RevisionNotFoundError for the dataset."""
    repository = lock_version(version)
    demand_import(actor, repository)
    report = record.report
    ref = parse_ref(report.dataset, kind=RepositoryKind.DATASET)
    dataset = find_existing_version(actor, ref, Action.SEE)
    same = Evaluation.objects.filter(version=version, dataset=dataset, split=report.split, runtime=report.runtime)
    start = _moment(record.at)
    if same.filter(created_at__gte=start, created_at__lt=start + _AS_FINE_AS).exists():
        return False
    made = record_evaluation(version=version, dataset=dataset, report=report, job=None)
    Evaluation.objects.filter(pk=made.pk).update(created_at=record.at)
    index_measures(repository)  # again: which is the newest follows from the date
    audit.record(
        actor, "import evaluation", repository.full_name, version=version.label, measured_at=record.at.isoformat()
    )
    return True


@transaction.atomic
def import_alias_moves(*, repository: Repository, moves: Sequence[AliasMoveRecord], actor: Actor) -> int:
    """How many are new. Raises: ForbiddenError, InvalidNameError, RevisionNotFoundError."""
    repository = lock_repository(repository.pk)
    demand_import(actor, repository)
    for name in {move.alias for move in moves}:
        check_alias_name(repository, name)
    versions = _versions(repository, (label for move in moves for label in (move.from_version, move.to_version)))
    known = _known_moves(repository, moves)
    new = [move for move in moves if (move.alias, _moment(move.at)) not in known]
    rows = AliasMove.objects.bulk_create(_move_row(repository, move, versions) for move in new)
    for row, move in zip(rows, new, strict=True):
        row.at = move.at  # creating them has set today's
    AliasMove.objects.bulk_update(rows, ["at"])
    if new:
        aliases = sorted({move.alias for move in new})
        audit.record(actor, "import alias history", repository.full_name, moves=len(new), aliases=aliases)
    return len(new)


def import_alias(*, repository: Repository, record: AliasRecord, actor: Actor) -> bool:
    """Makes the alias stand where it stood; whether that is new.

    Raises: ForbiddenError, InvalidNameError, RevisionNotFoundError; GateRefusedError when a gate here refuses.
    """
    demand_import(actor, repository)
    if record.name == GateRule.RELEASE:
        raise InvalidNameError(f"Gates mean releases to devices by {record.name!r}; it cannot be an alias.")
    version = _versions(repository, [record.version])[record.version]
    version.repository = repository
    sign_if_asked(version, record.name)
    with gated(repository, actor):
        alias = Alias.objects.select_related("version").filter(repository=repository, name=record.name).first()
        before = alias.version if alias else None
        if alias is not None and (before, alias.is_protected) == (version, record.protected):
            return False
        if before != version:
            what = f"{repository.full_name}@{version.label} cannot become {record.name!r}"
            pass_gates(what, version, record.name, override=False, reason="", actor=actor)
        check_alias_name(repository, record.name)
        alias = alias or Alias(repository=repository, name=record.name)
        alias.version, alias.is_protected = version, record.protected
        alias.save()
        if before != version:
            _explain(repository, record.name, before, version, actor)
            announce_ref(repository, f"{ALIAS_PREFIX}{record.name}", before=before, after=version)
        audit.record(actor, "import alias", repository.full_name, alias=record.name, to=version.label)
    return True


@transaction.atomic
def import_lineage(*, repository: Repository, edges: Sequence[EdgeRecord], actor: Actor) -> int:
    """How many are new. A source that is not here, or that the actor may not see, stays as words.

    Raises: ForbiddenError, RevisionNotFoundError; InvalidInputError for what is no relation.
    """
    repository = lock_repository(repository.pk)
    demand_import(actor, repository)
    versions = _versions(repository, (edge.target for edge in edges))
    added = sum(_add_edge(versions[edge.target], edge, actor) for edge in edges)
    if added:
        audit.record(actor, "import lineage", repository.full_name, edges=added)
    return added


def _known_moves(repository: Repository, moves: Sequence[AliasMoveRecord]) -> set[tuple[str, datetime]]:
    if not moves:
        return set()
    moments = [_moment(move.at) for move in moves]
    there = AliasMove.objects.filter(repository=repository, alias__in={move.alias for move in moves})
    there = there.filter(at__gte=min(moments), at__lt=max(moments) + _AS_FINE_AS)
    return {(alias, _moment(at)) for alias, at in there.values_list("alias", "at")}


def _moment(at: datetime) -> datetime:
    """As the API shows it: what comes back here must be known again."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _add_edge(target: Version, edge: EdgeRecord, actor: Actor) -> bool:
    try:
        relation = Relation(edge.relation)
    except ValueError as error:
        raise InvalidInputError(
            f"{edge.relation!r} is no relation between versions.", relation=edge.relation
        ) from error
    source = None if edge.external else _source(edge.source, relation, actor)
    if source is not None:
        _, is_new = LineageEdge.objects.get_or_create(
            source=source, target=target, relation=relation, defaults={"declared": edge.declared}
        )
        return is_new
    kind = RepositoryKind.DATASET if relation is Relation.TRAINED_ON else RepositoryKind.MODEL
    name = edge.source.replace("\0", "")[:200]
    _, is_new = ExternalSource.objects.get_or_create(target=target, relation=relation, kind=kind, name=name)
    return is_new


def _source(name: str, relation: Relation, actor: Actor) -> Version | None:
    kind = RepositoryKind.DATASET if relation in {Relation.TRAINED_ON, Relation.EVALUATED_ON} else RepositoryKind.MODEL
    try:
        ref: Ref = parse_ref(name, kind=kind)
        return find_existing_version(actor, ref, Action.SEE) if ref.revision else None
    except (InvalidInputError, NotFoundError, ForbiddenError):
        return None


def _versions(repository: Repository, labels: Iterable[str | None]) -> Mapping[str, Version]:
    """By label, in one query. Raises: RevisionNotFoundError."""
    wanted = {label for label in labels if label is not None}
    numbers = [int(label[1:]) for label in wanted if label[:1] == "v" and label[1:].isascii() and label[1:].isdigit()]
    rows = Version.objects.filter(repository=repository, number__in=numbers).select_related("branch")
    found = {row.label: row for row in rows}
    if missing := wanted - found.keys():
        first = min(missing)
        raise RevisionNotFoundError(
            f"{repository.full_name} has no version {first!r}; import it first.", revision=first
        )
    return found


def _move_row(repository: Repository, move: AliasMoveRecord, versions: Mapping[str, Version]) -> AliasMove:
    return AliasMove(
        repository=repository,
        alias=move.alias,
        from_version=versions[move.from_version] if move.from_version else None,
        to_version=versions[move.to_version] if move.to_version else None,
        actor=move.actor.replace("\0", ""),
        reason=tidy_reason(move.reason),
        verdicts=[verdict.model_dump() for verdict in move.verdicts],
    )


def _explain(repository: Repository, name: str, before: Version | None, version: Version, actor: Actor) -> None:
    """A row of history, unless the imported history ends with this very move."""
    last = AliasMove.objects.filter(repository=repository, alias=name).order_by("-at", "-pk").first()
    if last is None or last.to_version_id != version.pk:
        AliasMove.objects.create(
            repository=repository,
            alias=name,
            from_version=before,
            to_version=version,
            actor=actor.name,
            reason=_REASON,
        )


def _sample(row: EvaluationSample) -> WorstSample:
    picture = base64.b64encode(bytes(row.picture)).decode()
    return WorstSample(path=row.path, truth=row.truth, answer=row.answer, cost=row.cost, picture=picture)
