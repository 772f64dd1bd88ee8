"""From costs to the page that people read: medians, ratios to MLflow's, and what was aimed at."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

from benchmarks.transfer.measure import Cost
from benchmarks.transfer.rounds import START, STEPS, Costs, Step

PEERS = ["mlflow", "dvc", "git-lfs"]
CONTESTANTS = ["steelyard", "hf", *PEERS]
_RATIOS_TO = "mlflow"
_UNKNOWN = "-"
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Target:
    """`measured` is to be `limit` at most; None where a contestant was missing."""

    sentence: str
    measured: float | None
    limit: float
    shown: Callable[[float], str]

    @property
    def verdict(self) -> str:
        if self.measured is None:
            return "not measured"
        return "met" if self.measured <= self.limit else "**not met**"


def medians(timed: list[Costs], counted: Costs) -> Costs:
    """Over the timed rounds; what moved on the wire is known from the counted one alone."""
    return {
        name: {
            key: replace(_median([one[name][key] for one in timed]), moved=counted[name][key].moved)
            for key in timed[0][name]
        }
        for name in timed[0]
    }


def _median(costs: list[Cost]) -> Cost:
    figures: dict[str, float | None] = {}
    for field in fields(Cost):
        known = [value for cost in costs if (value := getattr(cost, field.name)) is not None]
        figures[field.name] = statistics.median(known) if known else None
    return Cost(**figures)  # type: ignore[arg-type]  # a median of bytes may be half a byte


def targets(costs: Costs, sizes: dict[str, int]) -> list[Target]:
    """What is aimed at, beside what was measured. `sizes`: each scenario's bytes."""
    wall, share = partial(_wall, costs), partial(_share, costs, sizes)
    fastest = [_wall(costs, "hf", "push head", peer) for peer in PEERS if peer in costs]
    return [
        Target("cold push, of MLflow's time", wall("steelyard", "push base"), 0.5, _times),
        Target("head-only push, of MLflow's time", wall("steelyard", "push head"), 0.12, _times),
        Target("head-only push, of the bytes", share("steelyard", "push head"), 0.025, _percent),
        Target("cold pull, of MLflow's time", wall("steelyard", "pull base"), 0.35, _times),
        Target("update to head-only, of MLflow's time", wall("steelyard", "pull head"), 0.12, _times),
        Target("update to head-only, of the bytes", share("steelyard", "pull head"), 0.025, _percent),
        Target("reordered, of the bytes", share("steelyard", "push reordered"), 0.005, _percent),
        Target("other metadata, of the bytes", share("steelyard", "push metadata"), 0.005, _percent),
        Target("the .pt twin, of the bytes", share("steelyard", "push pt"), 0.005, _percent),
        Target("hf: head-only push, of the bytes", share("hf", "push head"), 0.03, _percent),
        Target("hf: head-only push, of the fastest peer's time", max(_known(fastest), default=None), 1.0, _times),
        Target("memory of the web process", _web_peak(costs), 400 * _MB, _megabytes),
    ]


def _wall(costs: Costs, name: str, key: str, peer: str = _RATIOS_TO) -> float | None:
    if name not in costs or peer not in costs:
        return None
    return costs[name][key].wall / costs[peer][key].wall


def _share(costs: Costs, sizes: dict[str, int], name: str, key: str) -> float | None:
    moved = costs[name][key].moved if name in costs else None
    return None if moved is None else moved / sizes[key.split()[1]]


def _web_peak(costs: Costs) -> float | None:
    ours = (cost for name in ("steelyard", "hf") for cost in costs.get(name, {}).values())
    return max(_known([cost.web_peak for cost in ours]), default=None)


def _known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def page(costs: Costs, sizes: dict[str, int]) -> str:
    """Markdown: the targets, then one table for each kind of figure."""
    steps = [step for step in STEPS if step.act != START]
    pushes = [step for step in steps if step.act == "push"]
    return "\n\n".join(
        [
            "## Targets\n\n" + _target_table(targets(costs, sizes)),
            "## Wall time (and of MLflow's)\n\n" + _table(costs, STEPS, partial(_time_cell, costs)),
            "## Bytes moved (and of the weights')\n\n" + _table(costs, steps, partial(_moved_cell, sizes)),
            "## Bytes stored on the server (and of the weights')\n\n"
            + _table(costs, pushes, partial(_stored_cell, sizes)),
            "## Processor time, client + server\n\n" + _table(costs, STEPS, _processor_cell),
            "## Peak memory of a client / of a web process\n\n" + _table(costs, STEPS, _memory_cell),
        ]
    )


def _target_table(found: list[Target]) -> str:
    rows = [
        f"| {one.sentence} | {one.shown(one.limit)} | "
        f"{_UNKNOWN if one.measured is None else one.shown(one.measured)} | {one.verdict} |"
        for one in found
    ]
    return "\n".join(["| | at most | measured | |", "|---|--:|--:|---|", *rows])


def _table(costs: Costs, steps: list[Step], cell: Callable[[str, Step, Cost], str]) -> str:
    rows = []
    for step in steps:
        cells = [cell(name, step, costs[name][step.key]) if name in costs else "not installed" for name in CONTESTANTS]
        rows.append(f"| {step.title} | {' | '.join(cells)} |")
    head = f"| | {' | '.join(CONTESTANTS)} |"
    return "\n".join([head, "|---|" + "--:|" * len(CONTESTANTS), *rows])


def _time_cell(costs: Costs, name: str, step: Step, cost: Cost) -> str:
    ratio = _wall(costs, name, step.key)
    return f"{cost.wall:.2f} s" + ("" if ratio is None or name == _RATIOS_TO else f" ({_times(ratio)})")


def _moved_cell(sizes: dict[str, int], _name: str, step: Step, cost: Cost) -> str:
    return _bytes_cell(cost.moved, sizes[step.scenario])


def _stored_cell(sizes: dict[str, int], _name: str, step: Step, cost: Cost) -> str:
    return _bytes_cell(cost.stored, sizes[step.scenario])


def _bytes_cell(count: float | None, whole: int) -> str:
    return _UNKNOWN if count is None else f"{count / _MB:.1f} MB ({_percent(count / whole)})"


def _processor_cell(_name: str, _step: Step, cost: Cost) -> str:
    server = _UNKNOWN if cost.server_cpu is None else f"{cost.server_cpu:.2f}"
    return f"{cost.client_cpu:.2f} + {server} s"


def _memory_cell(_name: str, _step: Step, cost: Cost) -> str:
    web = _UNKNOWN if cost.web_peak is None else f"{cost.web_peak / _MB:.0f}"
    return f"{cost.client_peak / _MB:.0f} / {web} MB"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.01 else f"{share:.2%}"  # noqa: PLR2004 - two digits that say something


def _megabytes(count: float) -> str:
    return f"{count / _MB:.0f} MB"
