"""Uploads that reuse what is just being collected, from many processes at once."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.end_to_end]

RECREATE = """
import sys
from huggingface_hub import HfApi
HfApi().delete_repo(sys.argv[1], missing_ok=True)
HfApi().create_repo(sys.argv[1])
"""
PUSH = """
import sys
from huggingface_hub import HfApi
HfApi().upload_file(path_or_fileobj=sys.argv[2], path_in_repo="w.bin", repo_id=sys.argv[1])
"""
READ = """
import os, sys, urllib.request
from pathlib import Path
request = urllib.request.Request(
    f"{os.environ['HF_ENDPOINT']}/{sys.argv[1]}/resolve/main/w.bin",
    headers={"Authorization": f"Bearer {os.environ['HF_TOKEN']}"},
)
assert urllib.request.urlopen(request).read() == Path(sys.argv[2]).read_bytes(), "damaged"
"""
ROUNDS, ATTEMPTS = 3, 8
COLLECTOR = """
import time
from datetime import timedelta
from steelyard_platform.repos.garbage import collect_garbage
from steelyard_platform.repos.restoring import empty_due
rounds = 0
while not done.exists():
    empty_due()
    collect_garbage(timedelta(0))
    rounds += 1
    ready.touch()
    time.sleep(0.2)
print(rounds)
"""

# What is deleted is nobody's at once, so that there is something to collect.
SETTINGS = {"STEELYARD_TRASH_DAYS": "0"}


def test_no_visible_file_ever_loses_a_chunk(racing, tmp_path):
    """With no grace period at all: what protects an upload is then the locking alone."""
    file = tmp_path / "w.bin"
    file.write_bytes(os.urandom(400_000) * 3)
    done, ready = tmp_path / "done", tmp_path / "ready"

    def collect():
        script = f"from pathlib import Path\ndone, ready = Path({str(done)!r}), Path({str(ready)!r})\n{COLLECTOR}"
        return int(racing.manage("shell", "--verbosity", "0", "-c", script).split()[-1])

    def push(repository):
        """Until it succeeds, each time from a machine that knows only what the server offers it.

        A client that remembers refers for weeks to what it has sent; the grace period is there for that, and none here.
        """
        for _ in range(ATTEMPTS):
            fresh = {"HF_HOME": tempfile.mkdtemp(dir=tmp_path)}
            done = racing.run("python", "-c", PUSH, repository, str(file), check=False, environment=fresh)
            if done.returncode == 0:
                return
        raise AssertionError(done.stderr)

    def work(number):
        """Pushes, reads, deletes, and again: each time the chunks were there a moment ago."""
        repository = f"lab/race-{number}"
        for _ in range(ROUNDS):
            racing.run("python", "-c", RECREATE, repository)
            push(repository)
            racing.run("python", "-c", READ, repository, str(file))

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
    for number in range(3):
        racing.run("python", "-c", READ, f"lab/race-{number}", str(file))
