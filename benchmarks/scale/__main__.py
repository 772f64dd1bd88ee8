"""Lists, searches and pages over 10,000 repositories and 100,000 versions, beside MLflow's registry with as many.

    make bench-scale                                     # needs PostgreSQL on 127.0.0.1:5432; some ten minutes
    make bench-scale ARGS="--repositories 500"           # a quick look, which is printed and written nowhere

Both are the real servers on the same PostgreSQL, asked over HTTP by one reader, one request at a time: gunicorn as
`manage.py serve` starts it, and `mlflow server`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from benchmarks.machine import machine
from benchmarks.scale.corpus import RARE, VERSIONS, Made, common_word, corpus
from benchmarks.scale.measure import Latency, Reader
from benchmarks.transfer.peer import ROOT, Command, Server, prepare, program_of, start_server
from benchmarks.transfer.peers.mlflow import PACKAGE, QUIET

RESULTS = Path(__file__).with_name("RESULTS.md")
REPOSITORIES, REQUESTS, GOAL_MS = 10_000, 100, 150.0
PREAMBLE = """\
# Many repositories

Written by `make bench-scale`. {repositories:,} repositories with {versions:,} versions, a card, tags and measures; as
many registered models and versions in MLflow. Milliseconds over HTTP, one reader, one request at a time, {requests} of
each: ours through gunicorn as `manage.py serve` starts it, theirs through `mlflow server`, both with two web processes
on the same PostgreSQL.

- MLflow's `search_registered_models` and `search_model_versions` are asked through their REST addresses. It checks no
  reader's rights; ours leaves out what this one may not read, a quarter of all.
- Its descriptions cannot be searched, and a registered model has no measures: those rows have no counterpart.
- A ratio is their p95 by ours: above 1, ours is faster.

{machine}

| | p50 | p95 | MLflow p50 | MLflow p95 | ratio |
|---|---:|---:|---:|---:|---:|"""
_PAGE = 50
_FOLDER = ROOT / "var" / "bench" / "scale"


@dataclass(frozen=True, slots=True)
class Row:
    """`theirs`: what MLflow can be asked that comes nearest."""

    what: str
    ours: Latency
    theirs: Latency | None = None


def main() -> None:
    options = _options()
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    on, made = machine(), list(corpus(options.repositories))
    ours = measure_ours(options, made)
    theirs = {} if options.without_mlflow else measure_mlflow(options, made)
    rows = [Row(what, latency, theirs.get(what)) for what, latency in ours.items()]
    page = table(rows, options, on)
    print(f"\n{page}")
    if options.results:
        options.results.write_text(page)


def measure_ours(options: argparse.Namespace, made: list[Made]) -> dict[str, Latency]:
    with database(options.postgresql, "steelyard_bench_scale") as url:
        environment = {"STEELYARD_DATABASE_URL": url, "STEELYARD_VAR": str(_FOLDER / "steelyard")}
        print(f"filling a Steelyard with {options.repositories} repositories", flush=True)
        fill = [sys.executable, "-m", "benchmarks.scale.fill", str(options.repositories)]
        filled = prepare(Command(fill, ROOT, environment))
        keys = json.loads(filled)
        address = f"http://127.0.0.1:{options.port}"
        with running(Command(_gunicorn(options.port), _FOLDER / "steelyard", environment), f"{address}/healthz"):
            pages = Reader(address, {"Cookie": f"sessionid={keys['session']}"})
            api = Reader(address, {"Authorization": f"Bearer {keys['token']}"})
            return _ask(pages, our_pages(made)) | _ask(api, our_api(made, api))


def _gunicorn(port: int) -> list[str]:
    """As `manage.py serve` starts it. The light jobs stay out: they would look into 100,000 new versions meanwhile."""
    options = [
        "--worker-class",
        "gthread",
        "--workers",
        "2",
        "--threads",
        "8",
        "--keep-alive",
        "15",
        "--no-control-socket",
    ]
    application = "steelyard_platform.config.wsgi:application"
    return [sys.executable, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}", *options]


def our_pages(made: list[Made]) -> dict[str, list[str]]:
    models = [one for one in made if one.is_public and not one.is_dataset]
    chosen = _some(models)
    named = [f"/{one.full_name}" for one in chosen]
    return {
        "page: list": ["/models"] * REQUESTS,
        "page: list, by size": ["/models?sort=size"] * REQUESTS,
        "page: list, by name": ["/models?sort=name"] * REQUESTS,
        "page: search, a rare word": [f"/models?q={RARE}"] * REQUESTS,
        "page: search, a common word": [f"/models?q={common_word()}"] * REQUESTS,
        "page: search, two words' beginnings": [
            f"/models?q={one.words.split()[0][:4]}+{one.words.split()[1][:4]}" for one in chosen
        ],
        "page: search, word, tag, task and size": [
            "/models?" + urlencode({"q": f"{one.words.split()[0]} tag:{one.tags[0]} task:{one.task} size<50MB"})
            for one in chosen
        ],
        "page: search, a measure, best first": [
            "/models?" + urlencode({"q": f"accuracy>{0.5 + one.number % 50 / 100}", "sort": "metric"}) for one in chosen
        ],
        "page: search that finds nothing": ["/models?q=nothingofthekind"] * REQUESTS,
        "page: datasets": ["/datasets"] * REQUESTS,
        "page: card": named,
        "page: versions": [f"{name}/versions" for name in named],
        "page: a version": [f"{name}/versions/v{VERSIONS - 1}" for name in named],
        "page: files": [f"{name}/tree/main" for name in named],
    }


def our_api(made: list[Made], reader: Reader) -> dict[str, list[str]]:
    chosen = _some([one for one in made if one.is_public and not one.is_dataset])
    return {
        "list": [f"/api/v1/models?limit={_PAGE}"] * REQUESTS,
        "list, the twentieth page": _deep(reader, f"/api/v1/models?limit={_PAGE}", "cursor"),
        "search by a part of the name": [
            f"/api/v1/models?limit={_PAGE}&text={quote(one.name.partition('-')[0])}" for one in chosen
        ],
        "search by a tag": [f"/api/v1/models?limit={_PAGE}&tag={one.tags[0]}" for one in chosen],
        "versions of one": [f"/api/v1/models/{one.full_name}/versions?limit={_PAGE}" for one in chosen],
        "search by a word of the card": [f"/api/v1/models?limit={_PAGE}&q={one.words.split()[0]}" for one in chosen],
        "search by a measure": [
            f"/api/v1/models?limit={_PAGE}&sort=metric&metric=" + quote(f"accuracy>{0.5 + one.number % 50 / 100}")
            for one in chosen
        ],
    }


def measure_mlflow(options: argparse.Namespace, made: list[Made]) -> dict[str, Latency]:
    python = program_of(PACKAGE, "python")
    # Not among what MLflow brings along; its server cannot speak to PostgreSQL without.
    subprocess.run([python, "-m", "pip", "install", "--quiet", "psycopg[binary]"], check=True)
    with database(options.postgresql, "mlflow_bench_scale") as url:
        print(f"filling MLflow with {options.repositories} registered models", flush=True)
        described = _FOLDER / "described.jsonl"
        described.write_text("\n".join(json.dumps(_described(one)) for one in made))
        fill = [python, str(Path(__file__).with_name("fill_mlflow.py")), url, str(described)]
        prepare(Command(fill, _FOLDER, QUIET))
        port = options.port + 1
        serve = [
            program_of(PACKAGE, "mlflow"), "server",
            "--host", "127.0.0.1", "--port", str(port),
            "--backend-store-uri", url,
            "--workers", "2",  # as many as ours
        ]  # fmt: skip
        address = f"http://127.0.0.1:{port}"
        with running(Command(serve, _FOLDER / "mlflow", QUIET), f"{address}/health"):
            reader = Reader(address)
            return _ask(reader, their_api(made, reader))


def their_api(made: list[Made], reader: Reader) -> dict[str, list[str]]:
    chosen = _some([one for one in made if one.is_public and not one.is_dataset])
    models = f"/api/2.0/mlflow/registered-models/search?max_results={_PAGE}"
    versions = f"/api/2.0/mlflow/model-versions/search?max_results={_PAGE}"
    order = "&order_by=last_updated_timestamp+DESC"
    return {
        "list": [f"{models}{order}"] * REQUESTS,
        "list, the twentieth page": _deep(reader, f"{models}{order}", "page_token"),
        "search by a part of the name": [
            f"{models}{order}&filter=" + quote(f"name ILIKE '%{one.name.partition('-')[0]}%'") for one in chosen
        ],
        "search by a tag": [f"{models}{order}&filter=" + quote(f"tags.`{one.tags[0]}` = 'yes'") for one in chosen],
        "versions of one": [f"{versions}&filter=" + quote(f"name = '{_flat(one)}'") for one in chosen],
    }


def _described(one: Made) -> dict[str, object]:
    tags = {"task": one.task, "library": one.library, "license": one.license, **dict.fromkeys(one.tags, "yes")}
    return {"number": one.number, "name": _flat(one), "card": one.card, "tags": tags, "versions": VERSIONS}


def _flat(one: Made) -> str:
    """MLflow takes no slash in a name."""
    return one.full_name.replace("/", ".")


def _some(made: list[Made]) -> list[Made]:
    return random.Random(0).choices(made, k=REQUESTS)  # noqa: S311 - the same each time is what is wanted


def _deep(reader: Reader, address: str, name: str) -> list[str]:
    """The twentieth page's address, found by following; asked for again and again."""
    following = address
    for _ in range(19):
        answer = json.loads(reader.get(following))
        token = answer.get("next") or answer.get("next_page_token")
        if not token:
            break
        following = f"{address}&{name}={quote(token)}"
    return [following] * REQUESTS


def _ask(reader: Reader, asked: dict[str, list[str]]) -> dict[str, Latency]:
    found = {}
    for what, addresses in asked.items():
        found[what] = reader.measure(addresses)
        print(f"{what}: {found[what]}", flush=True)
    return found


@contextlib.contextmanager
def running(command: Command, health: str) -> Iterator[None]:
    server: Server = start_server(command, health, web="")
    try:
        yield
    finally:
        server.stop()


@contextlib.contextmanager
def database(server: str, name: str) -> Iterator[str]:
    """A database of its own, gone afterwards."""
    _administer(server, sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    _administer(server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield f"{server}/{name}"
    finally:
        _administer(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _administer(server: str, statement: sql.Composed) -> None:
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(statement)


def table(rows: list[Row], options: argparse.Namespace, on: str) -> str:
    """The page that people read."""
    slowest = max(row.ours.p95 for row in rows)
    head = PREAMBLE.format(
        repositories=options.repositories,
        versions=options.repositories * VERSIONS,
        requests=REQUESTS,
        machine=f"{on} {PACKAGE}.",
    )
    verdict = "met" if slowest < GOAL_MS else "**not met**"
    goal = f"The goal, a p95 below {GOAL_MS:.0f} ms of every list, search and page: {verdict}; the slowest has"
    return "\n".join([head, *(_line(row) for row in rows), "", f"{goal} {slowest:.0f} ms.", ""])


def _line(row: Row) -> str:
    ours = f"| {row.what} | {row.ours.p50:.1f} | {row.ours.p95:.1f}"
    if row.theirs is None:
        return f"{ours} | - | - | - |"
    return f"{ours} | {row.theirs.p50:.1f} | {row.theirs.p95:.1f} | {row.theirs.p95 / row.ours.p95:.1f} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-scale", description="Lists, searches and pages at scale.")
    parser.add_argument("--repositories", type=int, default=REPOSITORIES)
    parser.add_argument("--postgresql", default="postgresql://postgres@127.0.0.1:5432", help="a server, no database")
    parser.add_argument("--port", type=int, default=8180, help="the first of two free ports")
    parser.add_argument("--without-mlflow", action="store_true")
    parser.add_argument("--results", type=Path, help="where to write the page; a full run writes RESULTS.md")
    options = parser.parse_args()
    if options.results is None and options.repositories == REPOSITORIES and not options.without_mlflow:
        options.results = RESULTS
    return options


if __name__ == "__main__":
    main()
