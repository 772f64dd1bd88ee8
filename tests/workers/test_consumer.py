"""A worker that is at a job holds no message: neither its own, acknowledged before, nor one fetched in advance.

Nor does it need the broker meanwhile: it comes back to one that was away.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from kombu import Connection

from tests.support import services
from tests.support.switchboard import Switchboard

pytestmark = [pytest.mark.end_to_end]

APP = """
import os, pathlib, time
from celery import Celery

app = Celery("probe", broker=os.environ["PROBE_BROKER"])
app.conf.update(worker_consumer="steelyard_workers.consumer:OneAtATime", worker_prefetch_multiplier=1,
                broker_heartbeat=0, task_ignore_result=True, broker_connection_retry_on_startup=True)

@app.task(name="probe")
def probe(number):
    pathlib.Path(os.environ["PROBE_FOLDER"], str(number)).touch()
    time.sleep((0, 3, 600)[number])
"""


@pytest.mark.parametrize(
    "broker",
    [
        pytest.param(services.RABBITMQ, id="rabbitmq", marks=pytest.mark.service("rabbitmq")),
        pytest.param(services.REDIS, id="redis", marks=pytest.mark.service("redis")),
    ],
)
def test_a_worker_that_dies_at_a_job_takes_no_message_along_and_brings_none_back(broker, tmp_path):
    board = Switchboard(int(broker.rpartition(":")[2].partition("/")[0]))
    through = broker.replace(f":{broker.rpartition(':')[2].partition('/')[0]}/", f":{board.port}/")
    queue = f"probe-{os.getpid()}-{time.time_ns()}"
    (tmp_path / "probe_app.py").write_text(APP)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "PROBE_BROKER": through, "PROBE_FOLDER": str(tmp_path)}
    options = ["--queues", queue, "--pool", "solo", "--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", "--quiet", "--app", "probe_app", "worker", *options]
    with Connection(broker) as connection, (tmp_path / "log").open("wb") as log:
        simple = connection.SimpleQueue(queue)
        try:
            for number in range(5):
                headers = {"task": "probe", "id": f"{queue}-{number}", "lang": "py", "argsrepr": "", "kwargsrepr": ""}
                simple.put([[number], {}, {}], headers=headers)
            worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            _wait_for(tmp_path / "1")
            board.cut()
            time.sleep(0.5)
            board.mend()
            _wait_for(tmp_path / "2")
            worker.kill()
            worker.wait()
            left = []
            while (found := _next(simple)) is not None:
                left.append(found)
        finally:
            simple.queue.delete()
            board.close()
    assert left == [3, 4], (tmp_path / "log").read_text()


def _wait_for(path):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.1)


def _next(queue):
    """The first argument of the next message; None when there is no more."""
    try:
        message = queue.get(timeout=1)
    except queue.Empty:
        return None
    message.ack()
    return message.payload[0][0]
