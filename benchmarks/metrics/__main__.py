"""Points of metrics: how fast they go in beside MLflow's `log_batch`, how a million are charted, what streams cost.

    python -m benchmarks.metrics                       # needs PostgreSQL on 127.0.0.1:5432; some ten minutes
    python -m benchmarks.metrics --points 20000        # a quick look, which is printed and written nowhere

Both are the real servers with two web processes on the same PostgreSQL, sent to over HTTP by one writer: a run of ten
series, in batches as large as each takes at once (10,000 points of ours, 1,000 of theirs).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import shutil
import statistics
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.scale.__main__ import database, running
from benchmarks.transfer.peer import ROOT, Command, prepare, program_of
from benchmarks.transfer.peers.mlflow import PACKAGE, QUIET

RESULTS = Path(__file__).with_name("RESULTS.md")
POINTS, SERIES, OUR_BATCH, THEIR_BATCH, READS, STREAMS = 1_000_000, 10, 10_000, 1_000, 20, 64
GOAL_MS = 100.0
_FOLDER = ROOT / "var" / "bench" / "metrics"


def main() -> None:
    options = _options()
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    lines = [
        "# Metrics",
        "",
        f"Written by `python -m benchmarks.metrics`. {options.points:,} points in {SERIES} series; the run that is",
        "charted has as many in one series more. Milliseconds are medians over HTTP, one reader.",
        "",
        machine(),
        "",
        "| | ours | MLflow |",
        "|---|---:|---:|",
    ]
    ours, theirs = measure_ours(options), {} if options.without_mlflow else measure_mlflow(options)
    lines += [f"| {what} | {value} | {theirs.get(what, '')} |" for what, value in ours.items()]
    page = "\n".join(lines) + "\n"
    print(f"\n{page}")
    if options.points == POINTS and not options.without_mlflow:
        RESULTS.write_text(page)


def measure_ours(options: argparse.Namespace) -> dict[str, str]:
    with database(options.postgresql, "steelyard_bench_metrics") as url:
        environment = {
            "STEELYARD_DATABASE_URL": url,
            "STEELYARD_VAR": str(_FOLDER / "steelyard"),
            "STEELYARD_WEB_WATCHERS": str(STREAMS),
            "STEELYARD_LEASE_SECONDS": "3600",
        }
        keys = json.loads(prepare(Command([sys.executable, "-m", "benchmarks.metrics.fill"], ROOT, environment)))
        address = f"http://127.0.0.1:{options.port}"
        serve = Command(_gunicorn(options.port), _FOLDER / "steelyard", environment)
        with running(serve, f"{address}/healthz"):
            found = {"points taken a second": f"{_send_ours(address, keys, options.points):,.0f}"}
            _send_one_long_series(address, keys, options.points)
            jobs = f"{address}/api/v1/jobs/{keys['job']}"
            head = {"Authorization": f"Bearer {keys['reader']}"}
            part = f"names=long/loss&after={options.points // 2}&upto={options.points // 2 + 1500}"
            for what, query in (
                (f"chart of {options.points:,} points of one series, ms", "names=long/loss"),
                ("a part of it with 1,500 points, ms", part),
                (f"charts of all {SERIES + 1} series, ms", ""),
            ):
                found[what] = f"{_median_ms(f'{jobs}/metrics?{query}', head):.0f}"
            found |= _measure_streams(address, keys)
        return found | {"bytes kept for each point": f"{_bytes_kept(url) / (2 * options.points):.1f}"}


def _gunicorn(port: int) -> list[str]:
    """As `manage.py serve` starts it."""
    return [
        sys.executable, "-m", "gunicorn", "steelyard_platform.config.wsgi:application",
        "--worker-class", "gthread", "--workers", "2", "--threads", str(8 + STREAMS), "--keep-alive", "15",
        "--no-control-socket", "--config", "python:steelyard_platform.config.web_server", "--bind", f"127.0.0.1:{port}",
    ]  # fmt: skip


def _values(points: int) -> Iterator[tuple[str, int, float]]:
    """(name, step, value) as a training would have them."""
    noise = random.Random(0)  # noqa: S311 - the same each time is what is wanted
    for step in range(points // SERIES):
        for number in range(SERIES):
            yield f"train/measure_{number}", step, math.exp(-step / points) + noise.gauss(0, 0.05)


def _batches(points: int, size: int) -> Iterator[list[tuple[str, int, float]]]:
    batch = []
    for one in _values(points):
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _send_ours(address: str, keys: dict[str, str], points: int) -> float:
    bodies = [
        {"points": [{"name": n, "step": s, "value": v, "timestamp": 1_700_000_000_000 + s} for n, s, v in batch]}
        for batch in _batches(points, OUR_BATCH)
    ]
    url = f"{address}/api/v1/jobs/{keys['job']}/metric-points"
    return points / _send(url, bodies, {"Authorization": f"Bearer {keys['writer']}"})


def _send_one_long_series(address: str, keys: dict[str, str], points: int) -> None:
    noise = random.Random(1)  # noqa: S311 - as above
    for start in range(0, points, OUR_BATCH):
        steps = range(start, min(start + OUR_BATCH, points))
        body = {"points": [{"name": "long/loss", "step": step, "value": noise.random()} for step in steps]}
        url = f"{address}/api/v1/jobs/{keys['job']}/metric-points"
        _send(url, [body], {"Authorization": f"Bearer {keys['writer']}"})


def _send(url: str, bodies: Sequence[dict[str, Any]], headers: dict[str, str]) -> float:
    """Seconds for all of them, their writing as JSON left out."""
    sent = [json.dumps(body).encode() for body in bodies]
    started = time.perf_counter()
    for data in sent:
        asked = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})  # noqa: S310 - a server of this run
        urllib.request.urlopen(asked).read()  # noqa: S310 - as above
    return time.perf_counter() - started


def _median_ms(url: str, headers: dict[str, str]) -> float:
    taken = []
    for _ in range(READS):
        started = time.perf_counter()
        urllib.request.urlopen(urllib.request.Request(url, headers=headers)).read()  # noqa: S310 - a server of this run
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def _measure_streams(address: str, keys: dict[str, str]) -> dict[str, str]:
    """What all the streams take together, of memory and of a core, while the job reports every second."""
    import psutil

    processes = [
        one for one in psutil.process_iter(["cmdline"]) if str(_port(address)) in " ".join(one.cmdline() or [])
    ]
    before, head = _resident(processes), {"Authorization": f"Bearer {keys['reader']}"}
    asked = urllib.request.Request(f"{address}/api/v1/jobs/{keys['job']}/events", headers=head)  # noqa: S310 - as above
    heard = _read_all([urllib.request.urlopen(asked) for _ in range(STREAMS)])  # noqa: S310 - as above
    busy, seconds = sum(map(_busy, processes)), 10
    for second in range(seconds):
        body = {"points": [{"name": "live/loss", "step": second, "value": 0.5}]}
        _send(
            f"{address}/api/v1/jobs/{keys['job']}/metric-points", [body], {"Authorization": f"Bearer {keys['writer']}"}
        )
        time.sleep(1)
    used, memory = (sum(map(_busy, processes)) - busy) / seconds, _resident(processes) - before
    told = statistics.median(heard())
    return {
        f"{STREAMS} streams: memory, MB": f"{memory / 1e6:.0f}",
        f"{STREAMS} streams: share of a core": f"{used:.2f}",
        f"{STREAMS} streams: events heard in {seconds} s, median": f"{told:.0f}",
    }


def _read_all(streams: Sequence[Any]) -> Callable[[], list[int]]:
    """Reads them in threads; the answer counts the changes that each has heard."""
    counts = [0] * len(streams)

    def read(number: int, stream: Iterator[bytes]) -> None:
        for line in stream:
            counts[number] += line.startswith(b"event: change")

    for number, stream in enumerate(streams):
        threading.Thread(target=read, args=(number, stream), daemon=True).start()
    return lambda: counts


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _resident(processes: Sequence[Any]) -> int:
    return sum(one.memory_info().rss for one in processes)


def _busy(process: Any) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _bytes_kept(url: str) -> int:
    import psycopg

    tables = ["jobs_metricseries", "jobs_loosepoint", "jobs_sealedchunk", "jobs_seriessummary"]
    with psycopg.connect(url, autocommit=True) as connection:
        for table in tables:
            connection.execute(f"VACUUM FULL {table}")
        rows = [connection.execute("SELECT pg_total_relation_size(%s)", [table]).fetchone() for table in tables]
    return sum(row[0] for row in rows if row)


def measure_mlflow(options: argparse.Namespace) -> dict[str, str]:
    import subprocess

    python = program_of(PACKAGE, "python")
    # Not among what MLflow brings along; its server cannot speak to PostgreSQL without.
    subprocess.run([python, "-m", "pip", "install", "--quiet", "psycopg[binary]"], check=True)
    with database(options.postgresql, "mlflow_bench_metrics") as url:
        port = options.port + 1
        serve = [
            program_of(PACKAGE, "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port),
            "--backend-store-uri", url, "--workers", "2",
        ]  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        with running(Command(serve, _FOLDER / "mlflow", QUIET), f"{address}/health"):
            return _measure_mlflow(f"{address}/api/2.0/mlflow", options.points)


def _measure_mlflow(api: str, points: int) -> dict[str, str]:
    def post(path: str, body: dict[str, object]) -> dict[str, dict[str, dict[str, str]]]:
        asked = urllib.request.Request(  # noqa: S310 - a server of this run
            f"{api}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        found: dict[str, dict[str, dict[str, str]]] = json.load(urllib.request.urlopen(asked))  # noqa: S310 - as above
        return found

    run = post("runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"]
    bodies: list[dict[str, object]] = [
        {
            "run_id": run,
            "metrics": [{"key": n, "step": s, "value": v, "timestamp": 1_700_000_000_000 + s} for n, s, v in b],
        }
        for b in _batches(points, THEIR_BATCH)
    ]
    rate = points / _send(f"{api}/runs/log-batch", bodies, {})
    chart = _median_ms(
        f"{api}/metrics/get-history-bulk-interval?run_ids={run}&metric_key=train/measure_0&max_results=500", {}
    )
    return {
        "points taken a second": f"{rate:,.0f}",
        f"charts of all {SERIES + 1} series, ms": f"{chart * SERIES:.0f} (10 of 1)",
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--port", type=int, default=8610)
    parser.add_argument("--postgresql", default="postgresql://postgres@127.0.0.1:5432")
    parser.add_argument("--without-mlflow", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
