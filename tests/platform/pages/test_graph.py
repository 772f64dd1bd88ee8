"""Where boxes and lines go."""

from __future__ import annotations

from itertools import combinations

import hypothesis
from hypothesis import strategies

from steelyard_platform.pages.graph import BOX_HEIGHT, BOX_WIDTH, lay_out

NAMES = "abcdefghijklmno"
lines_between = strategies.lists(strategies.tuples(strategies.sampled_from(NAMES), strategies.sampled_from(NAMES)))


def test_what_came_first_stands_left_and_short_lines_are_short():
    layout = lay_out("dabc", [("d", "c"), ("a", "b"), ("b", "c")])
    x = {name: point.x for name, point in layout.boxes.items()}
    assert x["a"] < x["b"] < x["c"]
    assert x["d"] == x["b"]  # right before what came of it, not at the far left
    assert len(layout.paths) == len(layout.labels) == 3
    assert all(path.startswith("M") for path in layout.paths)


def test_no_line_crosses_where_none_must():
    layout = lay_out("abxy", [("a", "y"), ("b", "x")])
    y = {name: point.y for name, point in layout.boxes.items()}
    assert (y["a"] < y["b"]) == (y["y"] < y["x"])


def test_a_long_line_runs_around_the_boxes_it_passes():
    layout = lay_out("abc", [("a", "b"), ("b", "c"), ("a", "c")])
    assert "L" not in layout.paths[0]
    assert layout.paths[2].count("L") == 1


def test_a_box_alone_and_no_box_at_all():
    assert lay_out("a", []).width > BOX_WIDTH
    assert lay_out("", []).boxes == {}


@hypothesis.given(lines_between)
@hypothesis.settings(deadline=None, max_examples=60)
def test_no_box_lies_on_another_or_outside_whatever_the_lines(lines):
    """Circles, lines to themselves and doubled lines included."""
    layout = lay_out(NAMES, lines)
    assert set(layout.boxes) == set(NAMES)
    for point in layout.boxes.values():
        assert 0 <= point.x <= layout.width - BOX_WIDTH
        assert 0 <= point.y <= layout.height - BOX_HEIGHT
    for one, other in combinations(layout.boxes.values(), 2):
        assert abs(one.x - other.x) >= BOX_WIDTH or abs(one.y - other.y) >= BOX_HEIGHT
