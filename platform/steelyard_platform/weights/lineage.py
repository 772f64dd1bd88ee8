"""Where a version came from and what came of it, to any depth: one recursive query, in SQLAlchemy Core.

    edges_around(version, direction=Direction.ANCESTORS, actor=actor, limit=100)     a page of edges, and the cursor on
    made_from(version, actor)                                                        the same walk, for others' queries

The walk goes on from a version only if the reader may see its repository: what they may not see has no name in the
answer, and leads to nothing beyond it. It follows what made a version of another; that a version was measured on a
dataset is shown where it is met, and leads nowhere. A version is visited once, so a circle ends the walk.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CTE, Select, SelectBase, and_, func, literal_column, or_, select, union

from steelyard_contracts.errors import InvalidInputError
from steelyard_contracts.lineage import Direction, LineageEdge
from steelyard_contracts.refs import Ref, RepositoryKind
from steelyard_platform.accounts.models import Team
from steelyard_platform.accounts.permissions import Actor
from steelyard_platform.repos.models import Repository, Version
from steelyard_platform.repos.queries import visible_repositories
from steelyard_platform.storage.core_tables import fetch_all, keys_of, table_of
from steelyard_platform.weights.models import ExternalSource, Relation
from steelyard_platform.weights.models import LineageEdge as EdgeRow

MAX_DEPTH = 25  # with a depth, a version is met once at each that it has; without, it is met once
_MAX_LIMIT = 500
_NAMED = 5  # columns that name one end of an edge
_CURSOR = re.compile("([01])-([0-9]{1,18})")

_edges, _outside, _versions = table_of(EdgeRow), table_of(ExternalSource), table_of(Version)


@dataclass(frozen=True, slots=True)
class Page:
    edges: list[LineageEdge]
    following: str | None
    versions: dict[str, int]  # the key of each version that the edges name


def edges_around(
    version: Version,
    *,
    direction: Direction,
    actor: Actor,
    depth: int | None = None,
    cursor: str | None = None,
    limit: int = _MAX_LIMIT,
) -> Page:
    """The edges that lead to the version, or away from it, oldest first; those to other installations last.

    Args:
        version: the caller has checked the right to see it.
        direction: which way to walk.
        actor: the reader.
        depth: how many steps to walk, at most `MAX_DEPTH`; None walks to the end.
        cursor: where the former page ended.
        limit: edges of one page.

    Raises: InvalidInputError for a depth or a cursor that is none.
    """
    if depth is not None and not 1 <= depth <= MAX_DEPTH:
        raise InvalidInputError(f"A depth is from 1 to {MAX_DEPTH}; leave it out to walk to the end.", depth=depth)
    limit = max(1, min(limit, _MAX_LIMIT))
    readable = _readable(actor)
    parts: list[Select[Any]] = []
    if direction is not Direction.DESCENDANTS:
        above = _reached(version, Direction.ANCESTORS, readable, depth)
        parts += [_edges_at(_edges.c.target_id, _edges.c.source_id, above, readable), _external_at(above)]
    if direction is not Direction.ANCESTORS:
        below = _reached(version, Direction.DESCENDANTS, readable, depth)
        parts.append(_edges_at(_edges.c.source_id, _edges.c.target_id, below, readable))
    rows = fetch_all(_with_names(_page_of(parts, cursor, limit + 1)))
    following = f"{rows[limit - 1][0]}-{rows[limit - 1][1]}" if len(rows) > limit else None
    versions: dict[str, int] = {}
    edges = [_edge(versions, *row) for row in rows[:limit]]
    return Page(edges, following, versions)


def made_from(version: Version, actor: Actor) -> CTE:
    """The ids of the version and of everything that was made from it, trained on it included: a query's first part."""
    return _reached(version, Direction.DESCENDANTS, _readable(actor), None)


def _readable(actor: Actor) -> SelectBase:
    return keys_of(visible_repositories(actor))


def _reached(version: Version, direction: Direction, readable: SelectBase, depth: int | None) -> CTE:
    """The version and what the walk meets, in `id`. With a depth, `steps` counts; without, each id comes once."""
    is_upwards = direction is Direction.ANCESTORS
    here, there = (_edges.c.target_id, _edges.c.source_id) if is_upwards else (_edges.c.source_id, _edges.c.target_id)
    start = select(_versions.c.id).where(_versions.c.id == version.pk)
    if depth is not None:
        start = start.add_columns(literal_column("0").label("steps"))
    reached = start.cte(str(direction), recursive=True)
    step = (
        select(there)
        .select_from(reached)
        .join(_edges, here == reached.c.id)
        .join(_versions, _versions.c.id == there)
        .where(_edges.c.relation != Relation.EVALUATED_ON.value, _versions.c.repository_id.in_(readable))
    )
    if depth is not None:
        step = step.add_columns(reached.c.steps + literal_column("1")).where(reached.c.steps < depth - 1)
    return reached.union(step)


def _edges_at(near: Any, far: Any, reached: CTE, readable: SelectBase) -> Select[Any]:
    """The edges with one end at what was reached. Their far end must be readable too, wherever the walk stopped."""
    return (
        select(literal_column("0").label("is_external"), _edges.c.id)
        .join(_versions, _versions.c.id == far)
        .where(near.in_(select(reached.c.id)), _versions.c.repository_id.in_(readable))
    )


def _external_at(reached: CTE) -> Select[Any]:
    return select(literal_column("1"), _outside.c.id).where(_outside.c.target_id.in_(select(reached.c.id)))


def _page_of(parts: list[Select[Any]], cursor: str | None, count: int) -> CTE:
    """Which edges: (is_external, id), in that order."""
    found = union(*parts).subquery()
    wanted = select(found).order_by(found.c.is_external, found.c.id).limit(count)
    if cursor:
        is_external, last = _read(cursor)
        later = and_(found.c.is_external == is_external, found.c.id > last)
        wanted = wanted.where(or_(found.c.is_external > is_external, later))
    return wanted.cte("page")


def _with_names(page: CTE) -> Select[Any]:
    """Names are looked up for one page of edges, not for all that the walk has met."""
    source, target = _Named("source"), _Named("target")
    is_edge = and_(page.c.is_external == 0, _edges.c.id == page.c.id)
    is_outside = and_(page.c.is_external == 1, _outside.c.id == page.c.id)
    words = [func.coalesce(_edges.c.relation, _outside.c.relation), _edges.c.declared, _outside.c.name]
    return (
        select(page.c.is_external, page.c.id, *words, *source.columns, *target.columns)
        .select_from(page)
        .outerjoin(_edges, is_edge)
        .outerjoin(_outside, is_outside)
        .outerjoin(source.version, source.version.c.id == _edges.c.source_id)
        .outerjoin(source.repository, source.repository.c.id == source.version.c.repository_id)
        .outerjoin(source.team, source.team.c.id == source.repository.c.team_id)
        .join(target.version, target.version.c.id == func.coalesce(_edges.c.target_id, _outside.c.target_id))
        .join(target.repository, target.repository.c.id == target.version.c.repository_id)
        .join(target.team, target.team.c.id == target.repository.c.team_id)
        .order_by(page.c.is_external, page.c.id)
    )


class _Named:
    """One end of an edge, with what its name is made of."""

    def __init__(self, end: str) -> None:
        self.version = _versions.alias(f"{end}_version")
        self.repository = table_of(Repository).alias(f"{end}_repository")
        self.team = table_of(Team).alias(f"{end}_team")
        parts = (
            self.repository.c.kind,
            self.team.c.name,
            self.repository.c.name,
            self.version.c.number,
            self.version.c.id,
        )
        self.columns = [part.label(f"{end}_{number}") for number, part in enumerate(parts)]


def _edge(
    versions: dict[str, int], is_external: int, _id: int, relation: str, declared: Any, outside: str | None, *ends: Any
) -> LineageEdge:
    (*source, source_key), (*target, target_key) = ends[:_NAMED], ends[_NAMED:]
    from_name = outside or reference(*source)
    to_name = reference(*target)
    versions[to_name] = target_key
    if outside is None:
        versions[from_name] = source_key
    return LineageEdge(
        relation=relation,
        source=from_name,
        target=to_name,
        declared=bool(declared or is_external),
        external=bool(is_external),
    )


def reference(kind: str, team: str, name: str, number: int) -> str:
    """`team/model@v3`, `datasets:/team/digits@v1`."""
    return str(Ref(RepositoryKind(kind), team, name, f"v{number}"))


def _read(cursor: str) -> tuple[int, int]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise InvalidInputError(f"{cursor!r} is no cursor of this list; begin again without one.")
    return int(found[1]), int(found[2])
