"""What is shared with people outside the team: gated repositories, proposals and webhooks, by the Hub's own client."""

from __future__ import annotations

import http.server
import json
import os
import queue
import threading
from typing import Any

import pytest

from tests.support.installations import RunningInstallation

pytestmark = pytest.mark.end_to_end


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    settings = {"STEELYARD_WEBHOOKS_TO_PRIVATE_ADDRESSES": "true"}
    running = RunningInstallation(tmp_path_factory.mktemp("shared"), settings)
    running.start("--without-compute")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def visitor(shared):
    """The environment of somebody of another team."""
    return {**shared.environment, "HF_TOKEN": shared.bootstrap("grace", "elsewhere"), "HF_HOME": str(shared.var / "v")}


def run(shared, script, environment=None):
    return shared.run("python", "-c", script, environment=environment).stdout.strip()


def test_a_gated_repository_opens_for_whoever_was_let_in(shared, visitor):
    run(
        shared,
        "from huggingface_hub import HfApi; api = HfApi()\n"
        "api.create_repo('lab/gated', private=False)\n"
        "api.upload_file(path_or_fileobj=b'months', path_in_repo='w', repo_id='lab/gated')\n"
        "api.update_repo_settings('lab/gated', gated='manual')\n",
    )
    read = (
        "from huggingface_hub import hf_hub_download, errors\n"
        "try: print(open(hf_hub_download('lab/gated', 'w')).read())\n"
        "except errors.GatedRepoError as error: print('shut:', 'not in the authorized list' in str(error))\n"
    )
    assert run(shared, read, visitor) == "shut: True"
    run(shared, "from huggingface_hub import HfApi; HfApi().grant_access('lab/gated', 'grace')")
    assert run(shared, read, visitor) == "months"


def test_somebody_of_another_team_proposes_a_large_file(shared, visitor):
    run(shared, "from huggingface_hub import HfApi; HfApi().create_repo('lab/open', private=False)")
    (shared.var / "w.bin").write_bytes(os.urandom(3_000_000))
    done = run(
        shared,
        "from huggingface_hub import HfApi\n"
        f"done = HfApi().upload_file(path_or_fileobj={str(shared.var / 'w.bin')!r}, path_in_repo='w.bin',\n"
        "    repo_id='lab/open', create_pr=True, commit_message='A better one')\n"
        "print(done.pr_revision)\n",
        visitor,
    )
    assert done == "refs/pr/1"
    told = run(
        shared,
        "from huggingface_hub import HfApi, hf_hub_download; api = HfApi()\n"
        "[one] = api.get_repo_discussions('lab/open')\n"
        "path = hf_hub_download('lab/open', 'w.bin', revision='refs/pr/1')\n"
        f"print(one.title, one.author, open(path, 'rb').read() == open({str(shared.var / 'w.bin')!r}, 'rb').read())\n"
        "print(api.list_repo_files('lab/open'))\n",
    )
    assert told.splitlines() == ["A better one grace True", "[]"]


@pytest.fixture
def receiver():
    received: queue.Queue[tuple[str | None, dict[str, Any]]] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.put((self.headers.get("X-Webhook-Secret"), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/in", received
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_webhook_is_told_of_a_commit_in_the_shape_that_the_client_reads(shared, receiver):
    address, received = receiver
    commit = run(
        shared,
        "from huggingface_hub import HfApi; api = HfApi()\n"
        "api.create_repo('lab/told')\n"
        f"api.create_webhook(url={address!r}, watched=[dict(type='model', name='lab/told')], secret='s3cret')\n"
        "print(api.upload_file(path_or_fileobj=b'1', path_in_repo='a', repo_id='lab/told').oid)\n",
    )
    secret, body = received.get(timeout=240)
    assert secret == "s3cret"
    read = (
        "import sys, json; from huggingface_hub import WebhookPayload\n"
        f"told = WebhookPayload.model_validate_json({json.dumps(body)!r})\n"
        "print(told.event.scope, told.repo.name, told.updatedRefs[0].ref, told.updatedRefs[0].newSha)\n"
    )
    assert run(shared, read) == f"repo.content lab/told refs/heads/main {commit}"
