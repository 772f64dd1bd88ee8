"""Lineage as a tree in the terminal. What is reached on several ways is spelled out once, and named again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from steelyard_contracts.lineage import Direction, LineageEdge

_DEEPEST = 30  # deeper trees leave no room for names
_WIDEST = 1000


def show_lineage(root: str, edges: Iterable[LineageEdge], direction: Direction) -> None:
    # Wider than any line: a name that is cut or broken in two is no use to whoever reads the lines of a pipe.
    Console(width=_WIDEST).print(lineage_tree(root, edges, direction), soft_wrap=True)


def lineage_tree(root: str, edges: Iterable[LineageEdge], direction: Direction) -> Tree:
    """The tree below `root`, towards its ancestors or its descendants."""
    is_upwards = direction is Direction.ANCESTORS
    following: dict[str, list[LineageEdge]] = defaultdict(list)
    for edge in edges:
        following[edge.target if is_upwards else edge.source].append(edge)
    tree = Tree(Text(root, style="bold"))
    spelled_out: set[str] = set()
    waiting = [(root, Text(), tree, 0)]
    while waiting:
        name, label, branch, depth = waiting.pop()
        if not following[name]:
            continue
        if name in spelled_out:
            label.append(" (see above)", style="dim")
            continue
        spelled_out.add(name)
        if depth == _DEEPEST:
            branch.add(Text("… (--json has the rest)", style="dim"))
            continue
        below = []
        for edge in following[name]:
            end = edge.source if is_upwards else edge.target
            line = _label(edge, end)
            below.append((end, line, branch.add(line), depth + 1))
        waiting += reversed(below)  # in the order in which they are read
    return tree


def _label(edge: LineageEdge, end: str) -> Text:
    """Plain text: what a card says is never read as markup."""
    note = " (not here)" if edge.external else " (says the card)" if edge.declared else ""
    return Text.assemble((f"{edge.relation} ", "dim"), end, (note, "dim"))
