"""What `run.log` costs a training: a loop at 1,000 points a second, and a run of 1,000 steps with 50 metrics.

    python -m benchmarks.tracking.loop                 # about a minute; starts a server of its own on SQLite
    python -m benchmarks.tracking.loop --seconds 3     # a quick look, which is printed and written nowhere

What it costs is processor time, of the calls themselves and of the thread that sends: in pure Python, where one thread
runs at a time, that is what the loop loses. A training on a GPU, or in torch's own threads, loses less. Wall clocks
with and without it differ by more than that from one second to the next, wherever something else runs too. What reading
the processor's clock costs is measured beside each call, and taken off.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import steelyard
from benchmarks.machine import machine
from steelyard.tracking import Run
from tests.support.installations import RunningInstallation

RESULTS = Path(__file__).with_name("LOOP.md")
SECONDS, ROUNDS, POINTS_A_SECOND = 5.0, 5, 1_000
STEPS, METRICS = 1_000, 50
GOAL_PERCENT = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each loop")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = RunningInstallation(Path(folder) / "server")
        server.start("--without-compute")
        try:
            page = measure(server, Path(folder), options)
        finally:
            server.stop()
    print(f"\n{page}")
    if options.seconds == SECONDS and options.rounds == ROUNDS:
        RESULTS.write_text(page)


def measure(server: RunningInstallation, folder: Path, options: argparse.Namespace) -> str:
    hub = steelyard.connect(server.url, server.token, quiet=True)
    # The run's own ways to its server, given by argument elsewhere and by the environment in a program.
    begin = _beginning(server, folder)
    lines = [
        "# What `run.log` costs",
        "",
        f"Written by `python -m benchmarks.tracking.loop`. {machine()}",
        "",
        f"{POINTS_A_SECOND:,} points a second for {options.seconds:g} s, {options.rounds} rounds, sent live to",
        "a server on the same machine. Processor time as a share of one core, medians.",
        "",
        "| | points of a call | in `log` | sending | together | µs of a call, median | 99% | goal |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_overhead(begin, options, points) for points in (1, METRICS)]
    lines += ["", *_long_run(begin, hub)]
    hub.close()
    return "\n".join(lines) + "\n"


def _beginning(server: RunningInstallation, folder: Path) -> Callable[[str], Run]:
    import os

    os.environ |= {"STEELYARD_URL": server.url, "STEELYARD_TOKEN": server.token}  # noqa: TID251 - as a person sets them

    def begin(name: str) -> Run:
        run = steelyard.init("lab/bench", name=name, folder=folder / "runs", quiet=True)
        time.sleep(1.5)  # what it finds out about the machine is no part of the loop
        return run

    return begin


def _overhead(begin: Callable[[str], Run], options: argparse.Namespace, points: int) -> str:
    calls = int(options.seconds * POINTS_A_SECOND / points)
    rounds = [_loop(begin(f"loop-{points}-{number}"), calls, points) for number in range(options.rounds)]
    shares = [100 * (logging + sending) / (calls * points / POINTS_A_SECOND) for logging, sending, _ in rounds]
    micro = sorted(one for _, _, took in rounds for one in took)
    print(f"{points} points a call: " + ", ".join(f"{share:.2f}%" for share in shares), flush=True)
    cells = [
        f"{POINTS_A_SECOND:,} points/s",
        str(points),
        f"{statistics.median(100 * logging / options.seconds for logging, _, _ in rounds):.2f}%",
        f"{statistics.median(100 * sending / options.seconds for _, sending, _ in rounds):.2f}%",
        f"{statistics.median(shares):.2f}%",
        f"{micro[len(micro) // 2]:.1f}",
        f"{micro[int(len(micro) * 0.99)]:.1f}",
        f"≤ {GOAL_PERCENT:g}%",
    ]
    return f"| {' | '.join(cells)} |"


def _loop(run: Run, calls: int, points: int) -> tuple[float, float, list[float]]:
    """(processor seconds in `log`, processor seconds of the other threads, µs of each call) at the wanted pace."""
    metrics = {f"metric/{number}": 0.1234567 * number for number in range(points)}
    pause, took, logging = points / POINTS_A_SECOND, list[float](), 0
    others = time.process_time_ns() - time.thread_time_ns()
    due = time.perf_counter()
    for _ in range(calls):
        due += pause
        while time.perf_counter() < due:
            pass  # the loop's own work
        nothing = _clocks()
        before = _clocks()
        run.log(metrics)
        after = _clocks()
        took.append((after[1] - before[1]) * 1e6)
        logging += (after[0] - before[0]) - (before[0] - nothing[0])
    sending = time.process_time_ns() - time.thread_time_ns() - others
    run.finish()
    return logging / 1e9, sending / 1e9, took


def _clocks() -> tuple[int, float]:
    return time.thread_time_ns(), time.perf_counter()


def _long_run(begin: Callable[[str], Run], hub: steelyard.Client) -> list[str]:
    """As fast as it goes: 1,000 steps of 50 metrics each."""
    run = begin("long")
    start = time.perf_counter()
    for step in range(STEPS):
        run.log({f"metric/{number}": step * 0.001 + number for number in range(METRICS)}, step=step)
    logged = time.perf_counter() - start
    run.finish(patience=120)
    done = time.perf_counter() - start
    there = sum(1 for number in range(METRICS) for _ in hub.runs.points(run.id, f"metric/{number}"))
    total = STEPS * METRICS
    return [
        f"{STEPS:,} steps of {METRICS} metrics, as fast as a loop can: logged in {logged:.2f} s, all there after",
        f"{done:.2f} s ({total / done:,.0f} points/s); {there:,} of {total:,} points are there.",
    ]


if __name__ == "__main__":
    main()
