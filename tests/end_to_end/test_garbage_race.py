"""Uploads that reuse what is just being collected, from many processes at once."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.support import services
from tests.support.installations import RunningInstallation

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(280)]

# Pushes until it succeeds, deletes what it pushed, pushes again: each time the chunks were there a moment ago.
WORKER = """
import os, sys, urllib.request
from pathlib import Path
from huggingface_hub import HfApi
api, repository, file = HfApi(), sys.argv[1], Path(sys.argv[2])
failures = 0
for _ in range(4):
    api.delete_repo(repository, missing_ok=True)
    api.create_repo(repository)
    for attempt in range(8):
        try:
            api.upload_file(path_or_fileobj=file, path_in_repo="w.bin", repo_id=repository)
            break
        except Exception as error:
            failures += 1
            print(repr(error)[:200], file=sys.stderr)
    else:
        raise SystemExit("never succeeded")
    request = urllib.request.Request(
        f"{os.environ['HF_ENDPOINT']}/{repository}/resolve/main/w.bin",
        headers={"Authorization": f"Bearer {os.environ['HF_TOKEN']}"},
    )
    assert urllib.request.urlopen(request).read() == file.read_bytes(), "damaged"
print(failures)
"""

COLLECTOR = """
import time
from datetime import timedelta
from steelyard_platform.repos.garbage import collect_garbage
rounds = 0
while not done.exists():
    collect_garbage(timedelta(0))
    rounds += 1
    ready.touch()
    time.sleep(0.2)
print(rounds)
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service("postgresql"))])
def racing(request, tmp_path):
    if request.param == "sqlite":
        running = RunningInstallation(tmp_path / "hub")
        running.start("--without-compute")
        yield running
        running.stop()
        return
    name = f"steelyard_race_{os.getpid()}_{time.time_ns()}"
    with psycopg.connect(f"{services.POSTGRESQL}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        running = RunningInstallation(tmp_path / "hub", {"STEELYARD_DATABASE_URL": f"{services.POSTGRESQL}/{name}"})
        running.start("--without-compute")
        yield running
        running.stop()
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_no_visible_file_ever_loses_a_chunk(racing, tmp_path):
    """With no grace period at all: what protects an upload is then the locking alone."""
    file = tmp_path / "w.bin"
    file.write_bytes(os.urandom(400_000) * 3)
    done, ready = tmp_path / "done", tmp_path / "ready"

    def collect():
        script = f"from pathlib import Path\ndone, ready = Path({str(done)!r}), Path({str(ready)!r})\n{COLLECTOR}"
        return int(racing.manage("shell", "--verbosity", "0", "-c", script).split()[-1])

    def work(number):
        home = {"HF_HOME": str(tmp_path / f"home-{number}")}
        return racing.run("python", "-c", WORKER, f"lab/race-{number}", str(file), environment=home).stdout

    with ThreadPoolExecutor(4) as pool:
        collecting = pool.submit(collect)
        while not ready.exists() and not collecting.done():
            time.sleep(0.05)
        working = [pool.submit(work, number) for number in range(3)]
        try:
            for one in working:
                one.result()
        finally:
            done.touch()
        assert collecting.result() > 3
    racing.manage("collect_garbage", "--grace-hours", "0")
    again = racing.run("python", "-c", WORKER.replace("range(4)", "range(1)"), "lab/after", str(file))
    assert again.returncode == 0
