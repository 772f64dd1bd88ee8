"""Pushes and pulls that are interrupted at random points, and what must be true then.

    python -m tests.support.interruptions --megabytes 1024 --kills 30

A *round* moves one folder of random bytes into, or out of, a repository of its own. Its transfer is started, and
something is killed with SIGKILL when a random share of the bytes has passed: the client, the web
processes, or the S3 server. That is repeated, then the transfer is left alone. After each kill every version that is
listed must be whole, file by file; at the end both sides must hold the same bytes.

What moved is counted between the client and the servers, by relays, and not by what anybody says of it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from tests.support.installations import DATABASE, RunningInstallation
from tests.support.meter import Meter
from tests.support.s3 import S3Server

MB = 1_000_000
_BLOCK = 4 * MB
_PATIENCE = 240  # seconds for one attempt of a client
_SMALL = "what everybody sees first"

PUSH = """
import sys
from huggingface_hub import HfApi
HfApi().upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2], commit_message="all of it")
"""
PULL = """
import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], local_dir=sys.argv[2], max_workers=1)
"""


class Direction(StrEnum):
    PUSH = "push"
    PULL = "pull"


class Victim(StrEnum):
    CLIENT = "client"
    WEB = "web"
    STORE = "store"


class Protocol(StrEnum):
    XET = "xet"
    LFS = "lfs"


@dataclass(frozen=True, slots=True)
class Plan:
    """`kills` times `victim` is killed, then the transfer is left alone.

    `shares`: how much of the bytes has passed when it happens, at least and at most. `settings`: the client's.
    """

    direction: Direction
    protocol: Protocol
    victim: Victim
    sizes: tuple[int, ...]
    kills: int = 1
    seed: int = 0
    shares: tuple[float, float] = (0.05, 0.95)
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        return {"HF_HUB_DISABLE_XET": "0" if self.protocol is Protocol.XET else "1", **dict(self.settings)}

    def __str__(self) -> str:
        return f"{self.protocol} {self.direction}, {self.victim} killed"


@dataclass(slots=True)
class Attempt:
    """One run of the client."""

    planned: list[int]  # after how many bytes the victim is to be killed
    kills: int = 0
    moved: int = 0
    status: int = 0
    seconds: float = 0.0
    there: int = 0  # bytes that need not move any more when it began
    words: str = ""


@dataclass(slots=True)
class Outcome:
    plan: Plan
    size: int
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def last(self) -> Attempt:
        return self.attempts[-1]


class Surroundings:
    """S3, an installation that keeps its objects there, and relays in front of both."""

    def __init__(self, folder: Path, *, rate: int | None = None) -> None:
        self.folder = folder
        self.s3 = S3Server(folder / "s3")
        self._rate = rate
        self._bucket = f"interrupted-{time.time_ns()}"

    def start(self) -> None:
        self.s3.start()
        self.store_meter = Meter(self.s3.ports[3], rate=self._rate)
        settings = {
            **self.s3.settings(self._bucket),
            "STEELYARD_S3_PUBLIC_ENDPOINT": self.store_meter.url,
            "STEELYARD_WEB_PROCESSES": "1",
        }
        self.running = RunningInstallation(self.folder / "hub", settings)
        self.running.start("--without-compute")
        self.hub_meter = Meter(self.running.port, rate=self._rate)

    def stop(self) -> None:
        for meter in (self.hub_meter, self.store_meter):
            meter.close()
        self.running.kill()
        self.s3.stop()

    def moved(self, direction: Direction) -> int:
        meters = (self.hub_meter, self.store_meter)
        return sum(meter.up if direction is Direction.PUSH else meter.down for meter in meters)

    def objects(self) -> dict[str, tuple[int, str]]:
        """Key to (size, when it was written)."""
        found = self.s3.store(self._bucket).list_objects("")
        return {info.key: (info.size, info.modified.isoformat()) for info in found}

    def wait_for_chunks(self) -> None:
        """Until what earlier rounds sent whole is stored by chunks: its xorbs would be taken for this round's."""
        deadline = time.monotonic() + _PATIENCE
        with contextlib.closing(sqlite3.connect(self.running.var / DATABASE)) as database:
            while database.execute("SELECT count(*) FROM repos_wholefile").fetchone()[0]:
                assert time.monotonic() < deadline, "files that came whole are not stored by chunks"
                time.sleep(0.2)

    def kill(self, victim: Victim, client: subprocess.Popen[bytes], pause: float) -> None:
        match victim:
            case Victim.CLIENT:
                client.kill()
            case Victim.WEB:
                for pid in self.running.web_processes():
                    os.kill(pid, signal.SIGKILL)
                self.running.wait()  # its supervisor starts it again
            case Victim.STORE:
                self.s3.stop()
                time.sleep(pause)
                self.s3.start()

    @contextlib.contextmanager
    def client(self, script: str, home: Path, plan: Plan, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        environment = {
            **self.running.environment,
            **plan.environment,
            "HF_ENDPOINT": self.hub_meter.url,
            "HF_HOME": str(home),
        }
        log = home.with_suffix(".log")
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-c", script, *arguments], env=environment, stdout=out, stderr=out
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        with self._open(path, None if body is None else json.dumps(body).encode()) as answer:
            return json.load(answer)

    def digest_at(self, path: str) -> str:
        digest = hashlib.sha256()
        with self._open(path) as answer:
            while block := answer.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def _open(self, path: str, body: bytes | None = None) -> Any:
        """Straight from the server, past the relay, wherever it sends us."""
        headers = {"Authorization": f"Bearer {self.running.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.running.url}{path}", data=body, headers=headers)
        return _opener.open(request, timeout=60)


class _WithoutToken(urllib.request.HTTPRedirectHandler):
    """S3 takes one proof of who asks: the address."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        onward = super().redirect_request(req, fp, code, msg, headers, newurl)
        if onward is not None:
            onward.remove_header("Authorization")
        return onward


_opener = urllib.request.build_opener(_WithoutToken)


class Round:
    """One folder on its way. `run` returns what happened; it raises AssertionError for what must never happen."""

    def __init__(self, surroundings: Surroundings, plan: Plan, folder: Path) -> None:
        self.around, self.plan, self.folder = surroundings, plan, folder
        self.chance = random.Random(plan.seed)  # noqa: S311 - it chooses when to kill
        self.repository = f"lab/{plan.protocol}-{plan.direction}-{plan.victim}-{time.time_ns()}"
        self.source, self.target = folder / "source", folder / "target"
        self.homes = 0
        self.expected: dict[str, dict[str, str]] = {}
        self.before: dict[str, tuple[int, str]] = {}

    def run(self) -> Outcome:
        self._prepare()
        outcome = Outcome(self.plan, sum(self.plan.sizes))
        home = self._new_home()
        left = self.plan.kills
        while left > 0:
            former = self.around.objects()
            attempt = self._attempt(home, left)
            outcome.attempts.append(attempt)
            self.check_versions()
            self._check_what_was_stored(former)
            if attempt.status == 0:
                break  # it had the patience
            assert attempt.kills, attempt.words
            left -= attempt.kills
            home = self.chance.choice([home, self._new_home()])
        former = self.around.objects()
        outcome.attempts.append(self._attempt(home, 0))
        assert outcome.last.status == 0, outcome.last.words
        self.check_versions()
        self._check_what_was_stored(former)
        self._check_end()
        return outcome

    def check_versions(self) -> None:
        """Every version that is listed has all its files, and every file its bytes."""
        commits = self.around.ask(f"/api/models/{self.repository}/commits/main")
        for commit in commits:
            expected = self.expected[commit["title"]]
            tree = self.around.ask(f"/api/models/{self.repository}/tree/{commit['id']}?recursive=true")
            paths = {entry["path"] for entry in tree if entry["type"] == "file"}
            assert paths == set(expected), f"half a version: {commit['title']} has {paths}"
            for path, digest in expected.items():
                found = self.around.digest_at(f"/{self.repository}/resolve/{commit['id']}/{path}")
                assert found == digest, f"{path} of {commit['title']} is damaged"

    def _prepare(self) -> None:
        self.source.mkdir(parents=True)
        self.target.mkdir()
        write_random(self.source, self.plan.sizes)
        namespace, name = self.repository.split("/")
        self.around.ask("/api/repos/create", {"name": name, "organization": namespace, "type": "model"})
        first = self.folder / "first"
        first.mkdir()
        (first / "README.md").write_text(f"# {_SMALL}\n")
        self.expected = {
            "first": digests_of(first),
            "all of it": {**digests_of(first), **digests_of(self.source)},
        }
        self._quietly(PUSH.replace("all of it", "first"), first)
        if self.plan.direction is Direction.PULL:
            self._quietly(PUSH, self.source)
        else:
            self.around.wait_for_chunks()
        self.before = self.around.objects()

    def _quietly(self, script: str, folder: Path) -> None:
        home = self._new_home()
        with self.around.client(script, home, self.plan, self.repository, str(folder)) as client:
            assert client.wait(_PATIENCE) == 0, home.with_suffix(".log").read_text()

    def _new_home(self) -> Path:
        self.homes += 1
        return self.folder / f"home-{self.homes}"

    def _attempt(self, home: Path, kills: int) -> Attempt:
        """A client dies once; under one that lives, a server dies again and again."""
        direction, size = self.plan.direction, sum(self.plan.sizes)
        often = min(kills, 1) if self.plan.victim is Victim.CLIENT else kills
        planned = sorted(int(self.chance.uniform(*self.plan.shares) * size) for _ in range(often))
        attempt = Attempt(planned, there=self._there())
        script, folder = (PUSH, self.source) if direction is Direction.PUSH else (PULL, self.target)
        start, began = self.around.moved(direction), time.monotonic()
        with self.around.client(script, home, self.plan, self.repository, str(folder)) as client:
            while client.poll() is None and time.monotonic() - began < _PATIENCE:
                moved = self.around.moved(direction) - start
                if attempt.kills < often and moved >= planned[attempt.kills]:
                    attempt.kills += 1
                    self.around.kill(self.plan.victim, client, self.chance.uniform(0, 1.5))
                time.sleep(0.005)
            assert client.poll() is not None, f"the client hangs: {home.with_suffix('.log').read_text()[-2000:]}"
            attempt.status = client.returncode
        attempt.moved = self.around.moved(direction) - start
        attempt.seconds = time.monotonic() - began
        attempt.words = home.with_suffix(".log").read_text()[-2000:]
        return attempt

    def _there(self) -> int:
        """On S3, whole and not there before this round; or of finished files in the puller's folder."""
        if self.plan.direction is Direction.PULL:
            return sum((self.target / path).stat().st_size for path in digests_of(self.target))
        # What came whole is stored by chunks as well after a while, and can be copied just now: it counts once.
        prefixes = ("xorbs/",) if self.plan.protocol is Protocol.XET else ("staging/", "blobs/")
        new = {key: size for key, (size, _) in self.around.objects().items() if key not in self.before}
        return sum({key.rpartition("/")[2]: size for key, size in new.items() if key.startswith(prefixes)}.values())

    def _check_what_was_stored(self, former: dict[str, tuple[int, str]]) -> None:
        """It is still there and was not written again, but for copies within S3 that were not noted yet."""
        now = self.around.objects()
        for key, (size, written) in former.items():
            if not key.startswith("staging/"):
                assert key in now, f"{key} is gone"
                assert now[key] == (size, written) or key.startswith("blobs/"), f"{key} was written again"

    def _check_end(self) -> None:
        titles = [one["title"] for one in self.around.ask(f"/api/models/{self.repository}/commits/main")]
        assert titles == ["all of it", "first"], titles
        if self.plan.direction is Direction.PULL:
            assert digests_of(self.target) == self.expected["all of it"]


def write_random(folder: Path, sizes: tuple[int, ...]) -> None:
    for number, size in enumerate(sizes):
        with (folder / f"part-{number}.bin").open("wb") as file:
            for start in range(0, size, _BLOCK):
                file.write(os.urandom(min(_BLOCK, size - start)))


def digests_of(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".cache" not in path.parts:
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--kills", type=int, default=30, help="in all rounds together")
    parser.add_argument("--kills-in-a-round", type=int, default=4)
    parser.add_argument("--seed", type=int, default=None)
    for name, choices in (("direction", Direction), ("victim", Victim), ("protocol", Protocol)):
        parser.add_argument(f"--{name}", choices=list(choices), action="append", type=choices)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {seed}")
    chance = random.Random(seed)  # noqa: S311 - as above
    folder = Path(tempfile.mkdtemp(prefix="steelyard-interruptions-"))
    around = Surroundings(folder)
    around.start()
    kills = rounds = 0
    try:
        while kills < options.kills:
            plan = Plan(
                chance.choice(options.direction or list(Direction)),
                chance.choice(options.protocol or list(Protocol)),
                chance.choice(options.victim or list(Victim)),
                (options.megabytes * MB // options.files,) * options.files,
                min(options.kills_in_a_round, options.kills - kills),
                chance.randrange(1_000_000),
            )
            outcome = Round(around, plan, folder / f"round-{rounds}").run()
            report(outcome)
            kills += sum(attempt.kills for attempt in outcome.attempts)
            shutil.rmtree(folder / f"round-{rounds}")
            rounds += 1
    finally:
        around.stop()
        shutil.rmtree(folder, ignore_errors=True)


def report(outcome: Outcome) -> None:
    print(f"{outcome.plan}; {outcome.size / MB:.0f} MB, seed {outcome.plan.seed}")
    for one in outcome.attempts:
        killed = ", ".join(f"{point / MB:.0f}" for point in one.planned[: one.kills])
        print(
            f"    there {one.there / MB:8.1f}  moved {one.moved / MB:8.1f} MB  {one.seconds:6.1f} s  "
            f"status {one.status:4}  killed at {killed or 'no time'}",
            flush=True,
        )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
