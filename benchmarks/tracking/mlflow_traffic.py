"""MLflow's own `log_batch` traffic, sent to Steelyard and to MLflow's server: points a second, p99, memory.

    python -m benchmarks.tracking.mlflow_traffic                # needs PostgreSQL on 127.0.0.1:5432; four minutes
    python -m benchmarks.tracking.mlflow_traffic --seconds 3    # a quick look, which is printed and written nowhere

Both get the same bodies at the same addresses: each writer has a run of its own and sends batches of 50 metrics, a step
each, one after another. Both are the real servers with two web processes on the same PostgreSQL.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks.machine import machine
from benchmarks.scale.__main__ import database
from benchmarks.transfer.peer import ROOT, Command, Server, prepare, program_of, start_server
from benchmarks.transfer.peers.mlflow import PACKAGE, QUIET

RESULTS = Path(__file__).with_name("MLFLOW_TRAFFIC.md")
SECONDS, METRICS, WRITERS = 20.0, 50, (1, 8)
_WARM_UP = 2.0
_FOLDER = ROOT / "var" / "bench" / "mlflow-traffic"
_API = "/api/2.0/mlflow"
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """What so many writers got through. Milliseconds; `memory`: of all processes of the server afterwards, in MB."""

    points_per_second: float
    p50: float
    p99: float
    memory: float


def main() -> None:
    options = _options()
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    on = machine()
    ours, theirs = measure_ours(options), measure_mlflow(options)
    page = table(ours, theirs, options, on)
    print(f"\n{page}")
    if options.seconds == SECONDS:
        RESULTS.write_text(page)


def measure_ours(options: argparse.Namespace) -> dict[int, Traffic]:
    with database(options.postgresql, "steelyard_bench_traffic") as url:
        environment = {"STEELYARD_DATABASE_URL": url, "STEELYARD_VAR": str(_FOLDER / "steelyard")}
        manage = [sys.executable, str(ROOT / "manage.py")]
        prepare(Command([*manage, "migrate", "--verbosity", "0"], ROOT, environment))
        people = ["bootstrap", "--user", "ada", "--team", "lab", "--password=weighing-is-believing", "--print-token"]
        token = prepare(Command([*manage, *people], ROOT, environment)).strip().splitlines()[-1]
        application = "steelyard_platform.config.wsgi:application"
        # As `manage.py serve` starts it.
        serve = [
            sys.executable, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{options.port}",
            "--worker-class", "gthread", "--workers", "2", "--threads", "8", "--keep-alive", "15",
            "--no-control-socket",
        ]  # fmt: skip
        address = f"http://127.0.0.1:{options.port}"
        server = start_server(Command(serve, _FOLDER / "steelyard", environment), f"{address}/healthz", web="")
        try:
            return _measured(server, f"{address}/mlflow", {"Authorization": f"Bearer {token}"}, options)
        finally:
            server.stop()


def measure_mlflow(options: argparse.Namespace) -> dict[int, Traffic]:
    python = program_of(PACKAGE, "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "psycopg[binary]"], check=True)
    with database(options.postgresql, "mlflow_bench_traffic") as url:
        port = options.port + 1
        serve = [
            program_of(PACKAGE, "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port),
            "--backend-store-uri", url, "--workers", "2",
        ]  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        server = start_server(Command(serve, _FOLDER / "mlflow", QUIET), f"{address}/health", web="")
        try:
            return _measured(server, address, {}, options)
        finally:
            server.stop()


def _measured(server: Server, url: str, headers: dict[str, str], options: argparse.Namespace) -> dict[int, Traffic]:
    experiment = Writer(url, headers).post("experiments/create", {"name": "traffic"})["experiment_id"]
    found = {}
    for count in WRITERS:
        writers = [Writer(url, headers).begin(experiment) for _ in range(count)]
        _all_at_once(writers, _WARM_UP)
        for writer in writers:
            writer.times.clear()
        started = time.perf_counter()
        _all_at_once(writers, options.seconds)
        took = time.perf_counter() - started
        times = sorted(one for writer in writers for one in writer.times)
        for writer in writers:
            writer.check()
        found[count] = Traffic(
            len(times) * METRICS / took, statistics.median(times), times[int(len(times) * 0.99)], _memory(server)
        )
        print(f"{url}: {count} writers: {found[count]}", flush=True)
    return found


class Writer:
    """One training's logger: a connection that stays open, one request at a time."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=120)
        self._path, self._headers = parts.path, {"Content-Type": "application/json", **headers}
        self.times: list[float] = []
        self.step, self.run = 0, ""

    def begin(self, experiment: str) -> Writer:
        now = int(time.time() * 1000)
        made = self.post("runs/create", {"experiment_id": experiment, "start_time": now})
        self.run = made["run"]["info"]["run_id"]
        return self

    def post(self, address: str, body: dict[str, Any]) -> Any:
        return self._send("POST", address, json.dumps(body))

    def _send(self, method: str, address: str, body: str | None = None) -> Any:
        """Raises: RuntimeError for every answer but 200."""
        self._connection.request(method, f"{self._path}{_API}/{address}", body=body, headers=self._headers)
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{address}: {answer.status} {content[:300]!r}")
        return json.loads(content)

    def write(self, seconds: float) -> None:
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            at = int(time.time() * 1000)
            metrics = [
                {"key": f"metric{number}", "value": self.step / (number + 1), "timestamp": at, "step": self.step}
                for number in range(METRICS)
            ]
            self.post("runs/log-batch", {"run_id": self.run, "metrics": metrics})
            self.step += 1
            self.times.append(1000 * (time.perf_counter() - began))

    def check(self) -> None:
        """Every point that was accepted is there. Raises: RuntimeError."""
        found, token = 0, ""
        while True:
            query = f"metrics/get-history?run_id={self.run}&metric_key=metric7&max_results=25000{token}"
            answer = self._send("GET", query)
            found += len(answer.get("metrics", []))
            if not answer.get("next_page_token"):
                break
            token = f"&page_token={answer['next_page_token']}"
        if found != self.step:
            raise RuntimeError(f"{found} of {self.step} points are there")


def _all_at_once(writers: list[Writer], seconds: float) -> None:
    failed: list[BaseException] = []

    def guarded(work: Callable[[float], None]) -> None:
        try:
            work(seconds)
        except BaseException as error:  # noqa: BLE001 - a writer that failed must not look like a slow one
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(writer.write,)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _memory(server: Server) -> float:
    """What the server's processes hold of their own and their share of what they hold together (PSS)."""
    root = psutil.Process(server.process.pid)
    return float(sum(one.memory_full_info().pss for one in [root, *root.children(recursive=True)]) / _MB)


def table(ours: dict[int, Traffic], theirs: dict[int, Traffic], options: argparse.Namespace, on: str) -> str:
    lines = [
        "# MLflow's traffic",
        "",
        f"Written by `python -m benchmarks.tracking.mlflow_traffic`: `log_batch` of {METRICS} metrics each, for",
        f"{options.seconds:.0f} seconds, by hand over HTTP; each server with two web processes on the same PostgreSQL.",
        "Each writer's points were counted afterwards. Ours checks a token with every request; theirs knows none.",
        "",
        f"{on} {PACKAGE}.",
        "",
        "| | ours | MLflow | ratio |",
        "|---|---:|---:|---:|",
    ]
    for count, mine in ours.items():
        other, name = theirs[count], f"{count} writer{'s' if count > 1 else ''}"
        lines += [
            _line(f"{name}: points a second", mine.points_per_second, other.points_per_second, higher=True),
            _line(f"{name}: p50 of a batch, ms", mine.p50, other.p50),
            _line(f"{name}: p99 of a batch, ms", mine.p99, other.p99),
            _line(f"{name}: memory of the server, MB", mine.memory, other.memory),
        ]
    return "\n".join([*lines, "", "A ratio above 1 is in our favour.", ""])


def _line(what: str, ours: float, theirs: float, *, higher: bool = False) -> str:
    ratio = ours / theirs if higher else theirs / ours
    return f"| {what} | {ours:,.0f} | {theirs:,.0f} | {ratio:.1f} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="MLflow's log_batch traffic, to Steelyard and to MLflow.")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--postgresql", default="postgresql://postgres@127.0.0.1:5432", help="a server, no database")
    parser.add_argument("--port", type=int, default=8280, help="the first of two free ports")
    return parser.parse_args()


if __name__ == "__main__":
    main()
