"""A version's lineage as a picture: drawn on the server, moved and enlarged by `graph.js`, and a table of the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from steelyard_contracts.lineage import Direction, LineageEdge
from steelyard_contracts.refs import DEFAULT_REVISION, RepositoryKind, parse_ref
from steelyard_platform.accounts.authentication import page_actor
from steelyard_platform.accounts.permissions import Action, Actor
from steelyard_platform.fleet.lineage import deployments_of, running
from steelyard_platform.pages.graph import BOX_HEIGHT, BOX_WIDTH, Layout, lay_out
from steelyard_platform.pages.rendering import page
from steelyard_platform.pages.repositories import repository_context
from steelyard_platform.repos.models import Version
from steelyard_platform.repos.queries import find_repository
from steelyard_platform.repos.revisions import resolve
from steelyard_platform.weights.lineage import Page, edges_around

_MOST_EDGES, _MOST_DEVICES = 200, 100
_SHORTER = (None, 5, 2, 1)  # steps to try, until what is found can be drawn
_LONGEST_LINE = 22


@dataclass(frozen=True, slots=True)
class Box:
    """A version, something that is not here, or devices. Without an address it cannot be opened."""

    name: str
    kind: str
    title: str
    subtitle: str
    address: str = ""
    is_here: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    source: str
    target: str
    relations: tuple[str, ...]
    declared: bool


@dataclass(frozen=True, slots=True)
class Graph:
    boxes: list[Box]
    arrows: list[Arrow]


@page
def lineage(
    request: HttpRequest, kind: str, namespace: str, name: str, revision: str = DEFAULT_REVISION
) -> HttpResponseBase:
    actor = page_actor(request)
    repository = find_repository(actor, RepositoryKind(kind), f"{namespace}/{name}", Action.SEE)
    version = resolve(repository, revision).version
    context = repository_context(request, repository, "lineage") | {"version": version}
    if version is not None:
        found, depth = _around(version, actor)
        here = str(repository.ref.at(version.label))
        graph = graph_of(here, found, version, actor)
        deployments, more = deployments_of(version, actor=actor, limit=_MOST_DEVICES)
        context |= {
            "graph": drawn(graph),
            "rows": [(box_of(edge.source, external=edge.external), edge, box_of(edge.target)) for edge in found.edges],
            "depth": depth,
            "is_cut": found.following is not None,
            "most": _MOST_EDGES,
            "deployments": [(one, box_of(one.version)) for one in deployments],
            "more_devices": more is not None,
        }
    return render(request, "repository/lineage.html", context)


def _around(version: Version, actor: Actor) -> tuple[Page, int | None]:
    """The whole graph, or as many steps of it as can be drawn."""
    for depth in _SHORTER:
        found = edges_around(version, direction=Direction.BOTH, actor=actor, depth=depth, limit=_MOST_EDGES)
        if found.following is None:
            break
    return found, depth


def graph_of(here: str, found: Page, version: Version, actor: Actor) -> Graph:
    """Boxes for all that the edges name and for the devices that run it; one arrow between two boxes."""
    boxes = {here: box_of(here, is_here=True)}
    for edge in found.edges:
        boxes.setdefault(edge.source, box_of(edge.source, external=edge.external))
        boxes.setdefault(edge.target, box_of(edge.target))
    arrows = _arrows(found.edges)
    names = {key: name for name, key in found.versions.items()} | {version.pk: here}
    for key, teams in running(names, actor).items():
        for one in teams:
            title = one.device if one.count == 1 else f"{one.count} devices"
            name = f"{title} of {one.team}, running {names[key]}"
            boxes[name] = Box(name, "device", title, one.team, f"/fleet/{one.team}")
            arrows.append(Arrow(names[key], name, ("deployed-to",), declared=False))
    return Graph(list(boxes.values()), arrows)


def _arrows(edges: Iterable[LineageEdge]) -> list[Arrow]:
    found: dict[tuple[str, str], list[LineageEdge]] = {}
    for edge in edges:
        found.setdefault((edge.source, edge.target), []).append(edge)
    return [
        Arrow(*ends, tuple(edge.relation for edge in same), declared=all(edge.declared for edge in same))
        for ends, same in found.items()
    ]


def box_of(name: str, *, external: bool = False, is_here: bool = False) -> Box:
    if external:
        return Box(name, "external", shortened(name), "not on this installation")
    ref = parse_ref(name)
    prefix = "" if ref.kind is RepositoryKind.MODEL else f"/{ref.kind.plural}"
    return Box(
        name=name,
        kind=str(ref.kind),
        title=shortened(f"{ref.name}@{ref.revision}"),
        subtitle=f"{ref.kind} of {shortened(ref.namespace, 18)}",
        address=f"{prefix}/{ref.repository}/versions/{ref.revision}",
        is_here=is_here,
    )


def shortened(text: str, longest: int = _LONGEST_LINE) -> str:
    """Both ends of it: names begin alike, and versions stand at their end."""
    if len(text) <= longest:
        return text
    kept = longest - 1
    return f"{text[: kept // 2]}…{text[-(kept - kept // 2) :]}"


def drawn(graph: Graph) -> dict[str, object]:
    """What the template writes down as SVG."""
    layout: Layout = lay_out(
        [box.name for box in graph.boxes], [(arrow.source, arrow.target) for arrow in graph.arrows]
    )
    return {
        "width": round(layout.width),
        "height": round(layout.height),
        "box_width": BOX_WIDTH,
        "box_height": BOX_HEIGHT,
        "boxes": [(box, layout.boxes[box.name]) for box in graph.boxes],
        "arrows": list(zip(graph.arrows, layout.paths, layout.labels, strict=True)),
    }
