"""Unmodified Xet clients against a real server: what moves, what is stored, and who can read it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.support.installations import RunningInstallation
from tests.support.xet import xorb_of

pytestmark = pytest.mark.end_to_end

PUSH = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[2], exist_ok=True)
api.upload_file(path_or_fileobj=sys.argv[1], path_in_repo="w.bin", repo_id=sys.argv[2])
"""
PULL = """
import sys
from huggingface_hub import hf_hub_download
print(hf_hub_download(sys.argv[1], "w.bin", local_dir=sys.argv[2]))
"""


class Client:
    """A machine with nothing cached, unless `home` is one that was there before."""

    def __init__(self, installation, home, **environment):
        self.installation = installation
        self.environment = {**installation.environment, "HF_HOME": str(home), **environment}

    def run(self, script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def stored(installation, repository):
    """Bytes that are stored for a repository. Not the folder's: another test's files may be converted just now."""
    address = f"{installation.url}/api/v1/models/{repository}/storage"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {installation.token}"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["stored"]


def whole(installation, repository, **headers):
    address = f"{installation.url}/{repository}/resolve/main/w.bin"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {installation.token}", **headers})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def weights():
    """20 MB that do not compress away."""
    return np.random.default_rng(7).standard_normal(5_000_000).astype("float32")


def test_a_fine_tune_moves_and_stores_only_what_changed(installation, tmp_path):
    # Of its own: what another test had pushed before would be stored already.
    weights = np.random.default_rng().standard_normal(5_000_000).astype("float32")
    file = tmp_path / "w.bin"
    file.write_bytes(weights.tobytes())
    Client(installation, tmp_path / "first").run(PUSH, file, "lab/head-tuned")
    cold = stored(installation, "lab/head-tuned")
    assert 15_000_000 < cold < 21_000_000
    grown = []
    tuned = weights.copy()
    for number in range(3):
        tuned[-100_000:] += 1  # a head of 2 percent
        file.write_bytes(tuned.tobytes())
        before = stored(installation, "lab/head-tuned")
        Client(installation, tmp_path / f"tuner-{number}").run(PUSH, file, "lab/head-tuned")
        grown.append(stored(installation, "lab/head-tuned") - before)
    assert max(grown) < 0.04 * cold, grown
    pulled = Client(installation, tmp_path / "third").run(PULL, "lab/head-tuned", tmp_path / "down")
    assert Path(pulled).read_bytes() == tuned.tobytes()


def test_what_a_client_says_of_its_transfers_is_heard(installation, tmp_path):
    file = tmp_path / "w.bin"
    file.write_bytes(os.urandom(2_000_000))
    told = Client(installation, tmp_path / "home", HF_HUB_DISABLE_TELEMETRY="0")
    told.run(PUSH, file, "lab/heard")
    told.run(PULL, "lab/heard", tmp_path / "down")
    # A client that is kept waiting says the same once more.
    assert set(heard(installation, "heard")) == {"xet_download_summary", "xet_upload_summary"}


def heard(installation, name):
    """The reports of a repository's transfers."""
    script = f"""
import json
from steelyard_platform.repos.models import Repository
from steelyard_platform.storage.models import TransferReport
reports = TransferReport.objects.filter(repository=Repository.objects.get(name={name!r}).pk)
print(json.dumps(sorted(reports.values_list("event", flat=True))))
"""
    printed = installation.manage("shell", "--verbosity", "0", "--command", script)
    return json.loads(printed.strip().splitlines()[-1])


def test_one_machine_pushes_the_same_file_to_two_namespaces_and_after_the_server_began_anew(tmp_path, weights):
    """Clients remember for weeks what a server has, and refer to it without asking."""
    file, home = tmp_path / "w.bin", tmp_path / "home"
    file.write_bytes(weights.tobytes())
    running = RunningInstallation(tmp_path / "hub")
    for number, var in enumerate((tmp_path / "hub", tmp_path / "anew")):
        running.var, running.token = var, ""
        running.settings["STEELYARD_VAR"] = str(var)
        running.start("--without-compute")
        try:
            running.bootstrap("ada", "annex")
            for namespace in ("lab", "annex"):
                client = Client(running, home)
                client.run(PUSH, file, f"{namespace}/same")
                pulled = client.run(PULL, f"{namespace}/same", tmp_path / f"{namespace}-{number}")
                assert Path(pulled).read_bytes() == weights.tobytes()
        finally:
            running.stop()


def test_who_does_not_speak_xet_reads_what_came_by_xet(installation, tmp_path, weights):
    file = tmp_path / "w.bin"
    file.write_bytes(weights.tobytes())
    Client(installation, tmp_path / "a").run(PUSH, file, "lab/mixed")
    plain = Client(installation, tmp_path / "b", HF_HUB_DISABLE_XET="1")
    assert Path(plain.run(PULL, "lab/mixed", tmp_path / "down")).read_bytes() == weights.tobytes()
    assert whole(installation, "lab/mixed") == weights.tobytes()
    assert whole(installation, "lab/mixed", Range="bytes=7000001-9000000") == weights.tobytes()[7000001:9000001]


def test_who_speaks_xet_reads_what_came_whole(installation, tmp_path, weights):
    file = tmp_path / "w.bin"
    file.write_bytes(weights[::-1].tobytes())
    Client(installation, tmp_path / "a", HF_HUB_DISABLE_XET="1").run(PUSH, file, "lab/reversed")
    pulled = Client(installation, tmp_path / "b").run(PULL, "lab/reversed", tmp_path / "down")
    assert Path(pulled).read_bytes() == weights[::-1].tobytes()


def test_a_xorb_that_breaks_off_leaves_nothing(installation):
    address = f"{installation.url}/api/models/lab/broken-off/xet-write-token/main"
    headers = {"Authorization": f"Bearer {installation.token}"}
    body = json.dumps({"name": "broken-off", "organization": "lab", "type": "model"}).encode()
    create = urllib.request.Request(f"{installation.url}/api/repos/create", data=body, headers=headers, method="POST")
    urllib.request.urlopen(create).close()
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
        told = json.load(answer)
    access, store = told["accessToken"], told["casUrl"]
    name, xorb = xorb_of(*(os.urandom(60_000) for _ in range(200)))
    path = f"{store.removeprefix(installation.url)}/v1/xorbs/default/{name}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {access}\r\n"
        f"Content-Length: {len(xorb)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", installation.port)) as connection:
        connection.sendall(head.encode() + xorb[: len(xorb) // 2])
    time.sleep(1)
    assert not (installation.var / "objects" / "xorbs" / name[:2] / name).exists()
    again = urllib.request.Request(
        installation.url + path,
        data=xorb,
        headers={"Authorization": f"Bearer {access}"},
        method="POST",
    )
    with urllib.request.urlopen(again) as answer:
        assert json.load(answer) == {"was_inserted": True}


@pytest.mark.service("s3")
def test_chunks_go_straight_from_s3_to_the_client(tmp_path, s3_server, weights):
    running = RunningInstallation(tmp_path / "hub", s3_server.settings(f"xet-{time.time_ns()}"))
    running.start()
    try:
        file = tmp_path / "w.bin"
        file.write_bytes(weights.tobytes())
        Client(running, tmp_path / "a").run(PUSH, file, "lab/far")
        pulled = Client(running, tmp_path / "b").run(PULL, "lab/far", tmp_path / "down")
        assert Path(pulled).read_bytes() == weights.tobytes()
        assert whole(running, "lab/far", Range="bytes=5-9000000") == weights.tobytes()[5:9000001]
        assert not (running.var / "objects").exists()
    finally:
        running.stop()
