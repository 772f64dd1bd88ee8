"""Lineage as a tree in the terminal."""

from __future__ import annotations

from steelyard.trees import lineage_tree, show_lineage
from steelyard_contracts.lineage import Direction, LineageEdge


def edge(target, relation, source, **more):
    return LineageEdge(relation=relation, source=source, target=target, **more)


def shown(capsys, root, edges, direction=Direction.ANCESTORS):
    show_lineage(root, edges, direction)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


DIAMOND = [
    edge("t/merged@v1", "merged-from", "t/a@v1"),
    edge("t/merged@v1", "merged-from", "t/b@v1"),
    edge("t/a@v1", "fine-tuned-from", "t/base@v1"),
    edge("t/b@v1", "fine-tuned-from", "t/base@v1", declared=True),
    edge("t/base@v1", "trained-on", "[red]far/[/red]away", external=True, declared=True),
]


def test_ancestors_come_below_and_what_is_met_twice_is_spelled_out_once(capsys):
    assert shown(capsys, "t/merged@v1", DIAMOND) == [
        "t/merged@v1",
        "├── merged-from t/a@v1",
        "│   └── fine-tuned-from t/base@v1",
        "│       └── trained-on [red]far/[/red]away (not here)",
        "└── merged-from t/b@v1",
        "    └── fine-tuned-from t/base@v1 (says the card) (see above)",
    ]


def test_descendants_come_below_with_the_same_words(capsys):
    assert shown(capsys, "t/base@v1", DIAMOND[:4], Direction.DESCENDANTS) == [
        "t/base@v1",
        "├── fine-tuned-from t/a@v1",
        "│   └── merged-from t/merged@v1",
        "└── fine-tuned-from t/b@v1 (says the card)",
        "    └── merged-from t/merged@v1",
    ]


def test_long_names_are_not_broken_and_a_circle_ends(capsys):
    long = "t/" + "x" * 90 + "@v1"
    lines = shown(capsys, long, [edge(long, "merged-from", "t/b@v1"), edge("t/b@v1", "merged-from", long)])
    assert lines == [long, "└── merged-from t/b@v1", f"    └── merged-from {long} (see above)"]


def test_a_very_deep_tree_says_where_the_rest_is(capsys):
    chain = [edge(f"t/m@v{n}", "fine-tuned-from", f"t/m@v{n - 1}") for n in range(1000, 1, -1)]
    lines = shown(capsys, "t/m@v1000", chain)
    assert lines[-1].endswith("… (--json has the rest)")
    assert len(lines) == 32
    assert lineage_tree("t/m@v1", [], Direction.ANCESTORS).children == []
