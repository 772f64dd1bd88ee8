"""Where the boxes and lines of a graph go: columns from the left, so that what came first stands first. Pure.

    columns     each box one column behind the last of those it came from; a circle is opened where it closes
    rows        boxes of a column in the order of their neighbours, so that few lines cross
    positions   each box as near to the height of its neighbours as the others in its column allow

A line that passes a column has a place in it (a waypoint), as a box has, so that it runs around the boxes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

BOX_WIDTH, BOX_HEIGHT = 190, 50
_COLUMN, _ROW, _WAYPOINT_ROW, _MARGIN = 310, 74, 30, 16
_SWEEPS = 6

Line = tuple[str, str]  # from, to
# A box is itself; a waypoint is its line, by number, in a column.
_Place = str | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Layout:
    """`boxes`: the upper left corner of each. For each line, in their order, an SVG path and the place of its label."""

    width: float
    height: float
    boxes: Mapping[str, Point]
    paths: Sequence[str]
    labels: Sequence[Point]


def lay_out(names: Sequence[str], lines: Sequence[Line]) -> Layout:
    """Places every name once. Lines between the same two, and from a box to itself, are allowed."""
    column = _columns(names, lines)
    routes = [_route(number, line, column) for number, line in enumerate(lines)]
    rows = _rows(names, routes, column)
    heights = _positions(rows, _neighbours(routes))
    lowest = min(heights.values(), default=0.0)
    boxes = {name: Point(_MARGIN + column[name] * _COLUMN, _MARGIN + heights[name] - lowest) for name in names}
    drawn = [_draw([_point(place, column, heights, lowest) for place in route]) for route in routes]
    return Layout(
        width=2 * _MARGIN + max(column.values(), default=0) * _COLUMN + BOX_WIDTH,
        height=2 * _MARGIN + max(heights.values(), default=0.0) - lowest + BOX_HEIGHT,
        boxes=boxes,
        paths=[path for path, _ in drawn],
        labels=[label for _, label in drawn],
    )


def _columns(names: Sequence[str], lines: Sequence[Line]) -> dict[str, int]:
    order = _order(names, lines)
    rank = {name: number for number, name in enumerate(order)}
    forward = [(source, target) for source, target in lines if rank[source] < rank[target]]
    before, after = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for source, target in forward:
        before[target].append(source)
        after[source].append(target)
    column: dict[str, int] = {}
    for name in order:
        column[name] = max((column[source] + 1 for source in before[name]), default=0)
    # What came from nothing stands right before the first thing that came from it.
    for name in order:
        if not before[name] and after[name]:
            column[name] = min(column[target] for target in after[name]) - 1
    return column


def _order(names: Sequence[str], lines: Sequence[Line]) -> list[str]:
    """Sources before targets, as far as there is no circle: a depth-first search, in the order of leaving."""
    after = defaultdict[str, list[str]](list)
    for source, target in lines:
        after[source].append(target)
    left: list[str] = []
    seen: set[str] = set()
    for name in names:
        if name in seen:
            continue
        seen.add(name)
        trail = [(name, iter(after[name]))]
        while trail:
            current, targets = trail[-1]
            following = next((target for target in targets if target not in seen), None)
            if following is None:
                left.append(current)
                trail.pop()
            else:
                seen.add(following)
                trail.append((following, iter(after[following])))
    return left[::-1]


def _route(number: int, line: Line, column: Mapping[str, int]) -> list[_Place]:
    """The line's ends, and a waypoint in each column between them."""
    source, target = line
    step = 1 if column[source] < column[target] else -1
    return [source, *((number, passed) for passed in range(column[source] + step, column[target], step)), target]


def _column_of(place: _Place, column: Mapping[str, int]) -> int:
    return column[place] if isinstance(place, str) else place[1]


def _neighbours(routes: Sequence[Sequence[_Place]]) -> defaultdict[_Place, list[_Place]]:
    found = defaultdict[_Place, list[_Place]](list)
    for route in routes:
        for one, other in pairwise(route):
            found[one].append(other)
            found[other].append(one)
    return found


def _rows(names: Sequence[str], routes: Sequence[Sequence[_Place]], column: Mapping[str, int]) -> list[list[_Place]]:
    """The places of each column from top to bottom: sorted by the mean row of their neighbours, in both directions."""
    waypoints = dict.fromkeys(place for route in routes for place in route if not isinstance(place, str))
    rows: list[list[_Place]] = [[] for _ in range(max(column.values(), default=-1) + 1)]
    places: list[_Place] = [*names, *waypoints]
    for place in places:
        rows[_column_of(place, column)].append(place)
    near = _neighbours(routes)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            position = {place: number / len(one) for one in rows for number, place in enumerate(one)}
            wished = {place: _mean(near[place], position, position[place]) for place in row}
            row.sort(key=wished.__getitem__)
    return rows


def _mean(places: Sequence[_Place], values: Mapping[_Place, float], otherwise: float) -> float:
    return fmean(values[place] for place in places) if places else otherwise


def _positions(rows: Sequence[Sequence[_Place]], near: Mapping[_Place, list[_Place]]) -> dict[_Place, float]:
    """The upper edge of each place."""
    heights: dict[_Place, float] = {}
    for row in rows:
        heights |= _spread(row, [0.0] * len(row))
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wished = [_mean(near[place], heights, heights[place]) for place in row]
            heights |= _spread(row, wished)
    return heights


def _spread(row: Sequence[_Place], wished: Sequence[float]) -> dict[_Place, float]:
    """As near to what is wished as the order and the room between them allow."""
    placed: list[float] = []
    for place, wish in zip(row, wished, strict=True):
        least = placed[-1] + _room(row[len(placed) - 1], place) if placed else wish
        placed.append(max(wish, least))
    shift = fmean(wish - height for wish, height in zip(wished, placed, strict=True)) if placed else 0.0
    return {place: height + shift for place, height in zip(row, placed, strict=True)}


def _room(above: _Place, below: _Place) -> float:
    return _ROW if isinstance(above, str) and isinstance(below, str) else (_ROW + _WAYPOINT_ROW) / 2


def _point(place: _Place, column: Mapping[str, int], heights: Mapping[_Place, float], lowest: float) -> Point:
    """The middle of a box's left side, or of a waypoint."""
    return Point(_MARGIN + _column_of(place, column) * _COLUMN, _MARGIN + heights[place] - lowest + BOX_HEIGHT / 2)


def _draw(points: Sequence[Point]) -> tuple[str, Point]:
    """A curve that leaves each box on its right, passes the waypoints, and arrives on the left."""
    start, *between, end = points
    stops = [Point(start.x + BOX_WIDTH, start.y)]
    for point in between:
        stops += [point, Point(point.x + BOX_WIDTH, point.y)]
    stops.append(end)
    path = f"M{start.x + BOX_WIDTH:.0f} {start.y:.1f}"
    for number, (one, other) in enumerate(pairwise(stops)):
        if number % 2:
            path += f"L{other.x:.0f} {other.y:.1f}"
        else:
            bend = max(abs(other.x - one.x) / 2, _ROW / 2)
            path += f"C{one.x + bend:.0f} {one.y:.1f} {other.x - bend:.0f} {other.y:.1f} {other.x:.0f} {other.y:.1f}"
    last, arrival = stops[-2], stops[-1]
    return path, Point((last.x + arrival.x) / 2, (last.y + arrival.y) / 2)
