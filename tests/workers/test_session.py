"""A job's session when nobody answers: a checkpoint is lost, the run is not; and who must leave, leaves."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest

from steelyard_contracts.errors import LeaseLostError, UnavailableError
from steelyard_contracts.jobs import Claim, EvaluateSpec
from steelyard_workers.orders import JobLeftError
from steelyard_workers.session import JobSession


def _is_away(*_, **__):
    raise UnavailableError("The platform cannot be reached.")


@pytest.fixture
def session(tmp_path, monkeypatch):
    """One whose platform is away."""
    claim = Claim(
        id=uuid4(),
        attempt=1,
        spec=EvaluateSpec(model="lab/reader@v1", dataset="lab/digits@v1"),
        token="sy_x",
        lease_seconds=4,
        heartbeat_seconds=1,
        checkpoint=None,
        committed=[],
    )
    made = JobSession(claim, "http://127.0.0.1:9", tmp_path)
    for name in ("call", "post", "put_file"):
        monkeypatch.setattr(made._transport, name, _is_away)
    return made


def test_a_store_that_is_away_costs_a_checkpoint_and_not_the_run(session, tmp_path):
    (tmp_path / "state").write_bytes(b"weights")
    session.metric("train/loss", step=7, value=0.5)
    session.save_checkpoint(tmp_path / "state", step=7)
    session._courier.wait()
    assert session._lines[-1].text.startswith("The checkpoint of step 7 could not be saved, and the run goes on: ")
    assert ("train/loss", 7) in session._points  # it goes out later


def test_who_must_leave_leaves_after_the_try(session, tmp_path):
    (tmp_path / "state").write_bytes(b"weights")
    assert not session.should_save()
    session.orders.leave = True
    assert session.should_save()
    with pytest.raises(JobLeftError):
        session.save_checkpoint(tmp_path / "state", step=7)


def test_a_run_goes_on_while_its_checkpoint_is_sent_and_is_never_two_behind(session, tmp_path, monkeypatch):
    sent, may_go_on = [], threading.Event()

    def slowly(path, step):
        may_go_on.wait(60)
        sent.append((step, path.read_bytes()))

    monkeypatch.setattr(session, "_flush", lambda: None)
    monkeypatch.setattr(session, "_upload_checkpoint", slowly)
    for step in (1, 2):
        (tmp_path / f"state-{step}").write_bytes(b"weights %d" % step)
    session.save_checkpoint(tmp_path / "state-1", step=1)
    assert sent == []
    threading.Timer(0.1, may_go_on.set).start()
    session.save_checkpoint(tmp_path / "state-2", step=2)
    assert sent == [(1, b"weights 1")]
    session._courier.wait()
    assert sent[1] == (2, b"weights 2")
    assert not (tmp_path / "state-2").exists()


def test_what_went_wrong_with_a_checkpoint_is_heard_at_the_next_step_of_its_kind(session, tmp_path, monkeypatch):
    def refused(*_):
        raise LeaseLostError("The lease has ended.")

    monkeypatch.setattr(session, "_flush", refused)
    (tmp_path / "state").write_bytes(b"weights")
    session.save_checkpoint(tmp_path / "state", step=7)
    with pytest.raises(LeaseLostError):
        session.save_checkpoint(tmp_path / "state", step=8)
