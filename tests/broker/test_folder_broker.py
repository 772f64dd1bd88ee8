"""The embedded broker: nothing lost, nothing doubled, nothing torn."""

from __future__ import annotations

import multiprocessing
from queue import Empty

import pytest
from kombu import Connection

import steelyard_broker


def connect(folder):
    steelyard_broker.register()
    return Connection("folder://localhost//", transport_options={"folder": str(folder)})


def publish(folder, start, count):
    with connect(folder) as connection:
        queue = connection.SimpleQueue("compute")
        for number in range(start, start + count):
            queue.put({"job": number})


def consume(folder, out):
    found = []
    with connect(folder) as connection:
        queue = connection.SimpleQueue("compute")
        while True:
            try:
                message = queue.get(timeout=1.5)
            except Empty:
                break
            found.append(message.payload["job"])
            message.ack()
    out.put(found)


def test_many_producers_and_consumers_lose_and_double_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    producers = [context.Process(target=publish, args=(tmp_path, 200 * n, 200)) for n in range(2)]
    consumers = [context.Process(target=consume, args=(tmp_path, out)) for _ in range(3)]
    for process in producers + consumers:
        process.start()
    received = [number for _ in consumers for number in out.get(timeout=60)]
    for process in producers + consumers:
        process.join(30)
    assert sorted(received) == list(range(400))


def test_messages_keep_their_order_and_can_be_purged(tmp_path):
    publish(tmp_path, 0, 3)
    with connect(tmp_path) as connection:
        queue = connection.SimpleQueue("compute")
        assert queue.qsize() == 3
        assert queue.get(timeout=1).payload == {"job": 0}
        queue.clear()
        with pytest.raises(Empty):
            queue.get(timeout=0.2)


def test_half_written_messages_are_not_seen(tmp_path):
    publish(tmp_path, 0, 1)
    (tmp_path / ".writing" / "torn").write_text('{"half"')
    with connect(tmp_path) as connection:
        assert connection.SimpleQueue("compute").qsize() == 1


def test_a_queue_cannot_leave_its_folder(tmp_path):
    with connect(tmp_path) as connection, pytest.raises(Exception, match="Invalid queue name"):
        connection.SimpleQueue("../elsewhere").put("x")
